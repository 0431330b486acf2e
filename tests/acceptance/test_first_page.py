"""The README's first page, line by line as it stands there, with a real Prometheus, the real daemon and the PagerDuty stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.command import list_foreign
from tests.kit.port import free_port
from tests.kit.prometheus import static_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.prometheus import Prometheus

README = Path(__file__).resolve().parents[2] / "README.md"
_WAIT = 'for i in $(seq 100); do detector incidents list --json | grep -q \'"status": "{}"\' && break; sleep 0.3; done'


def _read_script() -> str:
    """All shell blocks of the chapter but the installation."""
    chapter = README.read_text().partition("## First page in five minutes")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE))


def test_the_first_page_of_the_readme(start_prometheus: Callable[..., Prometheus], tmp_path: Path) -> None:
    """Every line works: a good check, one incident that opens and is paged, an edit that resolves the page. Waits are shortened."""
    port = free_port()
    target = f"127.0.0.1:{port}"
    start_prometheus(port=port, scrape_configs=[static_job("first", target)])
    pager = f"127.0.0.1:{free_port()}"
    script = _read_script()
    for old, new in {
        "127.0.0.1:9090": target,
        "127.0.0.1:9095": pager,
        "--port 9095": f"--port {pager.partition(':')[2]}",
        "recover_for: 30s": "recover_for: 2s",
        "sleep 15\n": _WAIT.format("open") + "\n",
        "sleep 45\n": _WAIT.format("resolved") + "\n",
    }.items():
        assert old in script, f"the README does not say {old!r} any more"
        script = script.replace(old, new)
    script = f"trap 'kill $(jobs -p); wait' EXIT\n{script}\ncurl -s http://{pager}/alerts >after.json\n"
    clean = {name: value for name, value in os.environ.items() if name not in list_foreign()}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail"],
        input=script,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean | {"PATH": f"{Path(sys.executable).parent}:{clean['PATH']}", "DETECTOR_LISTEN": f"127.0.0.1:{free_port()}"},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: 1 rule, 0 services in 1 file" in done.stderr
    (alert,) = json.loads((tmp_path / "after.json").read_text())
    assert (alert["status"], alert["severity_at_open"]) == ("resolved", "warning")
    resolve = alert["log"][-1]["event"]["payload"]["custom_details"]
    assert resolve["value_at_recovery"] == 1
    listed = [line.split("\t") for line in done.stdout.splitlines() if "\tmedium\t" in line]
    assert [row[1] for row in listed] == ["open", "resolved"]
