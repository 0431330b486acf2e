"""The post-mortem of the demo's incident, as docs/postmortem-demo.md and .svg: `make postmortem` writes them anew.

The shop, the rules and the fault are those of `detector demo`; beside them a deploy is told, somebody acknowledges, rolls back and
names the cause, and the rule is changed while the incident is open. The daemon writes the document; only its name changes here.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.demo.story import BROKEN, ERROR_RATIO
from detector.standin.rulebook import write_rules
from detector.standin.shop import SERVICES
from tests.kit.house import Household
from tests.kit.wait import wait_until
from tests.kit.web import request_json

if TYPE_CHECKING:
    from tests.kit.daemon import Daemon

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAME = "postmortem-demo"
TOKEN = "write-token-of-the-demo"
PAST_SECONDS, FAULT_SECONDS, PAUSE_SECONDS = 180.0, 12.0, 4.0
_REVERT = "mitigations: {revert: {summary: Roll back the release, run: [echo, rolled back to 41]}}"


def read_rules(folder: Path) -> dict[str, str]:
    """The demo's rule files; the broken service has a way to be rolled back."""
    book = write_rules(folder)
    files = {path.stem: path.read_text() for path in sorted(book.folder.glob("*.yaml"))}
    files["services"] = files["services"].replace(f"  {BROKEN}: {{", f"  {BROKEN}: {{{_REVERT}, ")
    return files


async def play(folder: Path) -> tuple[str, str, dict[str, str]]:
    """Run the incident; the document, the picture, and the rule files as they are at its end."""
    rules = read_rules(folder / "shipped")
    house = Household(folder, rules, SERVICES, past_seconds=PAST_SECONDS, write_token=TOKEN)
    async with house:
        daemon = house.daemon
        news = {"service": BROKEN, "version": "42", "at": time.time(), "by": "ann"}
        await asyncio.to_thread(request_json, daemon.port, "POST", "/api/v1/deploys", news, token=TOKEN)
        house.flip(BROKEN, error_ratio=ERROR_RATIO)
        await house.wait_alert(BROKEN)
        incident = str((await daemon.wait_incident(BROKEN))["id"])
        await asyncio.sleep(PAUSE_SECONDS)
        await run_command(daemon, "incidents", "ack", incident, "--by", "ann")
        rules["http"] = rules["http"].replace("recover_for: 10s", "recover_for: 12s")
        daemon.write_rules(http=rules["http"])
        await asyncio.sleep(FAULT_SECONDS)
        await run_command(daemon, "incidents", "mitigate", incident, "revert", "--by", "ann", "--yes")
        house.heal(BROKEN)
        await run_command(daemon, "incidents", "cause", incident, "release 42 fails three in ten requests", "--by", "ann")
        await house.wait_alert(BROKEN, is_open=False)
        path = folder / "state" / "postmortems" / f"{incident}.md"
        await wait_until(path.exists, "the draft")
        picture = path.with_suffix(".svg")
        text = path.read_text().replace(picture.name, f"{NAME}.svg").replace(f"{daemon.rules}/", "")
        return re.sub(r"\n<!-- draft [0-9a-f]+ -->\n", "", text), picture.read_text(), rules


async def run_command(daemon: Daemon, *words: str) -> None:
    """`detector ...` against the daemon, as a person does it."""
    code, out, errors = await daemon.run(*words)
    assert code == 0, f"{' '.join(words)}: {out}{errors}"


def main() -> int:
    """Write both files."""
    with tempfile.TemporaryDirectory() as folder:
        text, picture, _ = asyncio.run(play(Path(folder)))
    (DOCS / f"{NAME}.md").write_text(text)
    (DOCS / f"{NAME}.svg").write_text(picture)
    sys.stdout.write(f"{DOCS / NAME}.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
