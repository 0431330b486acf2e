"""`detector diagnose` as a process while each source in turn takes the connection and never answers, or drips for ever."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.doorway import Doorway

BUDGET_SECONDS = 30.0
PATIENCE_SECONDS = 90.0  # a command that hangs fails here, and says so, before the test's own end
STARTUP_SECONDS = 25.0  # of three processes at once on a slow machine
RULES = """\
rules:
  - name: errors
    by: [service]
    signals: {error_rate: {ratio: [failed, requests]}}
    open: error_rate > 0.01
"""
BODIES = {
    "/api/v1/query": b'{"status":"success","data":{"resultType":"vector","result":[]}}',
    "/api/v1/query_range": b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
    "/api/v1/deploys": b"[]",
    "/api/v2/summary.json": b'{"status":{"indicator":"none","description":"All Systems Operational"}}',
    "/loki/api/v1/query_range": b'{"status":"success","data":{"resultType":"streams","result":[]}}',
}


@asynccontextmanager
async def serve(how: str) -> AsyncIterator[str]:
    """A server for every source: "well" answers, "silent" never does, "drip" sends a byte now and then."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = BODIES.get(head.split(b" ")[1].split(b"?")[0].decode(), b"{}")
        if how == "well":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            writer.close()
        elif how == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.3)

    doorway = Doorway(answer)
    try:
        yield f"http://127.0.0.1:{await doorway.open()}"
    finally:
        await doorway.end()


def write_rules(folder: Path, text: str) -> None:
    """The only rule file of a folder of its own."""
    folder.mkdir()
    (folder / "shop.yaml").write_text(text)


async def diagnose(folder: Path, well: str, sick: str, source: str) -> tuple[float, dict[str, Any]]:
    """Seconds it took, and the checks, with one source sick."""
    at = {name: sick if name == source else well for name in ("prometheus", "daemon", "statuspage", "probe", "loki")}
    third = {"statuspages": {"pay": f"{at['statuspage']}/api/v2/summary.json"}, "probes": {"tax": f"{at['probe']}/health"}}
    diagnosis = {"third_parties": third, "recent_errors": {"loki": at["loki"]}, "configuration": {"environment": ["PATH"]}}
    write_rules(folder, f"services: {json.dumps({'shop': {'diagnosis': diagnosis}})}\n{RULES}")
    env = {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR_") or name == "DETECTOR_TEST_WHEEL"}
    env |= {"DETECTOR_PROMETHEUS_URL": at["prometheus"], "DETECTOR_URL": at["daemon"], "DETECTOR_RULES": str(folder)}
    started = time.monotonic()
    argv = (sys.executable, "-m", "detector", "diagnose", "shop", "--json")
    process = await asyncio.create_subprocess_exec(*argv, env=env, cwd=folder, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return time.monotonic() - started, {check["name"]: check for check in json.loads(out)["checks"]}


@pytest.mark.parametrize("how", ["silent", "drip"])
async def test_the_command_ends_in_time_whatever_hangs(tmp_path: Path, how: str) -> None:
    """One source hangs: only what rests on it is unknown or bad for it, the rest is as ever, within the time of a diagnosis."""
    hit = {
        "prometheus": {
            "recent deploy",
            "traffic spike",
            "database",
            "configuration",
            "resources",
            "concurrency",
            "error rate",
            "p99",
        },
        "daemon": {"recent deploy"},
        "statuspage": {"third parties"},
        "probe": {"third parties"},
        "loki": {"concurrency", "recent errors"},
    }
    async with serve("well") as well, serve(how) as sick:
        sources = ["", *hit]
        runs = [diagnose(tmp_path / (source or "none"), well, sick, source) for source in sources]
        (_, usual), *found = await asyncio.gather(*runs)
    assert usual["recent errors"]["verdict"] == "ok"
    for source, (seconds, checks) in zip(sources[1:], found, strict=True):
        assert seconds < BUDGET_SECONDS + STARTUP_SECONDS, source
        changed = {
            name for name, check in checks.items() if check["message"].split(" in ")[0] != usual[name]["message"].split(" in ")[0]
        }
        assert changed == hit[source], source
        assert not [name for name in changed if "no such metric" in checks[name]["message"]], source
        assert checks["configuration"]["verdict"] == ("unknown" if source == "prometheus" else "ok")
