"""Seven causes, each suffered by a shop of its own, and what `detector diagnose` says of them: the table of docs/diagnosis.md.

`make causes` prints and writes it; tests/acceptance/test_causes.py holds it to a run. The shops are those of `causeworld`. Only the
past is made up: two hours of a healthy shop, loaded before the start. All worlds live at once, and none sees another's database.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from detector.domain.check import Check
from tests.kit.causeworld import ORDERS_PER_SECOND, World
from tests.kit.history import History
from tests.kit.postgres import Postgres
from tests.kit.prometheus import Prometheus

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diagnosis.md"
BEGIN, END = "<!-- causes: begin -->", "<!-- causes: end -->"
MARKS = {"ok": "✅", "bad": "🔴", "unknown": "❔"}
SYMPTOMS = frozenset({Check.ERROR_RATE.value, Check.P99.value, Check.ERRORS.value})
PAST_SECONDS, STEP_SECONDS = 7500.0, 5.0
SPIKE_PER_SECOND = 30.0
WARM_SECONDS, STRIKE_SECONDS, PATIENCE_SECONDS = 4.0, 12.0, 60.0
KEEP_MIB = 4
SLOW = """\
CREATE OR REPLACE FUNCTION price(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN 42; END'
"""


async def release(world: World) -> None:
    """A deploy whose new version fails each fourth order, told by the pipeline."""
    await asyncio.gather(world.start_till("2.0.0", "--bug"), world.tell_deploy("2.0.0"))


async def spike(world: World) -> None:
    """Six times as many orders."""
    world.send_more(rate=SPIKE_PER_SECOND)


async def slow_down(world: World) -> None:
    """A query that takes 1.2 s in the database."""
    await world.execute(SLOW)


async def fail_provider(world: World) -> None:
    """The payment provider refuses, and says so on its status page."""
    world.provider.down = True


async def misconfigure(world: World) -> None:
    """Settings without the key that the shop cannot be without, reloaded."""
    world.write_settings("PAYMENT_KEYS=k1\n")
    await world.reload_till()


async def fill_memory(world: World) -> None:
    """Orders that are kept for ever, until the process may not have more memory."""
    world.send_more(keep_mib=KEEP_MIB)


async def hold_lock(world: World) -> None:
    """Another session holds the table."""
    await world.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")


Strike: TypeAlias = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Cause:
    """What strikes, which check should name it, and whether its world needs a database of its own."""

    name: str
    check: Check
    strike: Strike
    own_database: bool = False


CAUSES = (
    Cause("a deploy", Check.DEPLOY, release),
    Cause("a traffic spike", Check.TRAFFIC, spike),
    Cause("a slow database", Check.DATABASE, slow_down, own_database=True),
    Cause("a failing third party", Check.THIRD_PARTIES, fail_provider),
    Cause("a bad configuration", Check.CONFIGURATION, misconfigure),
    Cause("full memory", Check.RESOURCES, fill_memory),
    Cause("a lock", Check.CONCURRENCY, hold_lock, own_database=True),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the diagnosis said before a cause struck and after it."""

    cause: Cause
    before: list[dict[str, Any]]
    after: list[dict[str, Any]] = field(default_factory=list)

    @property
    def first_bad(self) -> str:
        """The first bad check after the strike; empty where there is none."""
        return next((check["name"] for check in self.after if check["verdict"] == "bad"), "")


async def find_causes(folder: Path) -> list[Finding]:
    """Let every cause strike its world, all at once, and diagnose each."""
    started = time.time()
    past = await asyncio.to_thread(write_past, folder, started)
    async with AsyncExitStack() as parts:
        shared = _start_postgres(parts)
        owned = [_start_postgres(parts) if cause.own_database else None for cause in CAUSES]
        databases = await asyncio.gather(shared, *(made for made in owned if made is not None))
        own = iter(databases[1:])
        worlds = [
            World(
                folder / re.sub(r"\W", "-", cause.name), next(own) if cause.own_database else databases[0], past, started - 86_400.0
            )
            for cause in CAUSES
        ]
        for world in worlds:
            parts.push_async_exit(world)
        await asyncio.gather(*(world.__aenter__() for world in worlds))
        await asyncio.sleep(WARM_SECONDS)
        return await asyncio.gather(*(_suffer(cause, world) for cause, world in zip(CAUSES, worlds, strict=True)))


def write_past(folder: Path, end: float) -> Path:
    """A data folder of Prometheus with a healthy shop in it up to `end`."""
    labels = {"job": "shop", "service": "shop", "instance": "shop-1"}
    history = History(end - PAST_SECONDS, end - STEP_SECONDS, STEP_SECONDS)
    history.add_counter("http_requests_total", {**labels, "code": "200"}, ORDERS_PER_SECOND)
    history.add_counter("http_requests_total", {**labels, "code": "500"}, 0.0)
    history.add_gauge("shop_build_info", {**labels, "version": "1.0.0"}, 1.0)
    maker = Prometheus(folder / "past")
    maker.load_openmetrics(history.render())
    return maker.data


async def _start_postgres(parts: AsyncExitStack) -> Postgres:
    postgres = Postgres()
    await asyncio.to_thread(postgres.__enter__)
    parts.push_async_callback(asyncio.to_thread, postgres.__exit__)
    return postgres


async def _suffer(cause: Cause, world: World) -> Finding:
    before = await world.diagnose()
    await cause.strike(world)
    await asyncio.sleep(STRIKE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        after = await world.diagnose()
        if any(check["verdict"] == "bad" and check["name"] not in SYMPTOMS for check in after) or time.monotonic() > deadline:
            return Finding(cause, before, after)


def write_table(findings: list[Finding]) -> str:
    """The table and what the first bad check said, in Markdown."""
    names = [check.value for check in Check]
    lines = [f"| cause | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for finding in findings:
        marks: Mapping[str, str] = {check["name"]: MARKS[check["verdict"]] for check in finding.after}
        lines.append(f"| {finding.cause.name} | {' | '.join(marks[name] for name in names)} |")
    lines += ["", "| cause | first bad check | what it said |", "|---|---|---|"]
    for finding in findings:
        said = next((check["message"] for check in finding.after if check["name"] == finding.first_bad), "")
        lines.append(f"| {finding.cause.name} | {finding.first_bad or 'none'} | {_quiet(said)} |")
    return "\n".join(lines)


def read_marks(page: str) -> dict[str, list[str]]:
    """The marks of the page's table, by cause."""
    rows = (line.strip("| ").split(" | ") for line in page.partition(BEGIN)[2].partition(END)[0].splitlines())
    return {row[0]: row[1:] for row in rows if set(row[1:]) & set(MARKS.values())}


def _quiet(message: str) -> str:
    """Ports are of this one run."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", message).replace("|", "\\|")


def main() -> int:
    """Print the table, and write it into the page."""
    folder = Path(tempfile.mkdtemp(prefix="detector-causes-"))
    try:
        findings = asyncio.run(find_causes(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = write_table(findings)
    sys.stdout.write(table + "\n")
    page = PAGE.read_text()
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    wrong = [finding.cause.name for finding in findings if finding.first_bad != finding.cause.check.value]
    sys.stdout.write(f"\nnot found first: {', '.join(wrong)}\n" if wrong else f"\n{len(findings)} of {len(findings)} found first\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
