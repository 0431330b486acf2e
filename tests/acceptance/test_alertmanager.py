"""The daemon in Alertmanager's place: a real Prometheus sends it alerts, real amtool works with it, Grafana reads its rules."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from detector.app.inbox import LOOK_SECONDS
from tests.kit.prometheus import Prometheus
from tests.kit.wait import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kit.house import Booth, EnterBooth

RULES = """\
groups:
  - name: elsewhere
    interval: 1s
    rules:
      - alert: DiskFull
        expr: vector({value}) > 0
        labels: {{service: db, severity: page}}
        annotations: {{summary: the disk of db is full}}
"""


class Amtool:
    """Real amtool against the daemon."""

    def __init__(self, binary: Path, booth: Booth) -> None:
        self._argv = [str(binary), f"--alertmanager.url=http://127.0.0.1:{booth.daemon.port}"]
        self._folder = booth.daemon.folder

    async def run(self, *words: str, code: int = 0) -> str:
        """What it says."""
        env = {"HOME": str(self._folder), "USER": "kim", "PATH": "/usr/bin:/bin"}
        done = await asyncio.to_thread(
            subprocess.run, [*self._argv, *words], capture_output=True, text=True, check=False, env=env, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip() + (done.stderr.strip() if code else "")

    async def ask(self, *words: str) -> list[dict[str, Any]]:
        """What it says as JSON."""
        found: list[dict[str, Any]] = json.loads(await self.run("-o", "json", *words))
        return found


class Elsewhere:
    """The other Prometheus: its one alert fires with 1, and not with 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, value: int) -> Path:
        """Its rule file; it has to be reloaded."""
        path = self.folder / "elsewhere.yaml"
        path.write_text(RULES.format(value=value))
        return path

    @asynccontextmanager
    async def alert(self, booth: Booth) -> AsyncIterator[Prometheus]:
        """Start the daemon, and the other Prometheus with the daemon as its Alertmanager; until the alert was paged."""
        await booth.daemon.start()
        prometheus = Prometheus(
            self.folder / "elsewhere",
            rule_files=[self.write(1)],
            alertmanagers=[f"127.0.0.1:{booth.daemon.port}"],
            options=["--rules.alert.resend-delay=1s"],
        )
        try:
            await asyncio.to_thread(prometheus.start)
            await booth.wait_open(1)
            yield prometheus
        finally:
            await asyncio.to_thread(prometheus.stop)


@pytest.fixture
def elsewhere(prometheus_bin: Path, tmp_path: Path) -> Elsewhere:
    """Another Prometheus."""
    del prometheus_bin  # asked for its skip
    return Elsewhere(tmp_path)


async def test_a_prometheus_that_alerts_here_opens_and_resolves_an_incident(enter_booth: EnterBooth, elsewhere: Elsewhere) -> None:
    """Its alert pages with its severity and summary; killed, the daemon knows it still; its resolve resolves the page."""
    booth = await enter_booth()
    async with elsewhere.alert(booth) as prometheus:
        (alert,) = booth.pagerduty.open_alerts()
        assert (alert.summary.endswith("the disk of db is full"), alert.severity) == (True, "error")
        incident = await booth.daemon.wait_incident("db")
        (shown,) = await booth.daemon.get("/api/v2/alerts?filter=service=%22db%22")
        assert shown["labels"] == {"alertname": "DiskFull", "service": "db", "severity": "page"}
        assert shown["generatorURL"].startswith("http")
        await booth.daemon.kill()
        await booth.daemon.start()
        assert len(await booth.daemon.get("/api/v2/alerts")) == 1
        elsewhere.write(0)
        prometheus.reload()
        await booth.wait_open(0)
        assert (await booth.daemon.wait_incident("db", "resolved"))["id"] == incident["id"]
        assert len(booth.pagerduty.alerts()) == 1


async def test_a_sender_that_vanishes_is_not_ok(enter_booth: EnterBooth, elsewhere: Elsewhere) -> None:
    """Frozen while its alert fires, past every endsAt: nothing resolves, where Alertmanager would; back, its resolve does."""
    booth = await enter_booth()
    async with elsewhere.alert(booth) as prometheus:
        await asyncio.to_thread(prometheus.freeze)

        (shown,) = await booth.daemon.get("/api/v2/alerts")
        late = datetime.fromisoformat(shown["endsAt"]).timestamp() + LOOK_SECONDS + 1.0
        await wait_until(lambda: time.time() > late, "its word holds no more, and was looked at since")
        incident = await booth.daemon.incident("db")
        assert incident is not None
        assert (incident["status"], booth.count_sent("resolve")) == ("open", 0)
        elsewhere.write(0)
        prometheus.thaw()
        prometheus.reload()
        await booth.wait_open(0)
        assert (await booth.daemon.wait_incident("db", "resolved"))["id"] == incident["id"]


async def test_amtool_adds_and_asks_for_alerts(amtool_bin: Path, enter_booth: EnterBooth) -> None:
    """`alert add` opens an incident, `alert query` shows ours and theirs and filters them, an end in the past resolves."""
    booth = await enter_booth()
    await booth.daemon.start()
    amtool = Amtool(amtool_bin, booth)
    assert await amtool.ask("alert", "query") == []
    await amtool.run("alert", "add", "alertname=Backup", "service=vault", "severity=critical", "--annotation=summary=no backup")
    booth.show(checkout=0.1)
    await booth.wait_open(2)
    assert (await booth.daemon.wait_incident("vault"))["severity"] == "critical"
    found = {each["labels"]["alertname"]: each for each in await amtool.ask("alert", "query")}
    assert set(found) == {"Backup", "errors"}
    assert found["errors"]["labels"]["service"] == "checkout"
    assert found["Backup"]["annotations"] == {"summary": "no backup"}
    assert [each["labels"]["alertname"] for each in await amtool.ask("alert", "query", "service=~ch.*")] == ["errors"]
    assert [each["labels"]["alertname"] for each in await amtool.ask("alert", "query", "Backup")] == ["Backup"]
    assert "Backup" in await amtool.run("alert", "query", "-o", "extended")
    await amtool.run(
        "alert",
        "add",
        "alertname=Backup",
        "service=vault",
        "severity=critical",
        "--start=2020-01-01T00:00:00Z",
        "--end=2020-01-02T00:00:00Z",
    )
    assert (await booth.daemon.incident("vault") or {})["status"] == "open"  # word of another firing, long ago


async def test_amtool_silences(amtool_bin: Path, enter_booth: EnterBooth) -> None:
    """`silence add` withholds the page and hides the alert, `query` lists it, `expire` lets the page out; faults are told."""
    booth = await enter_booth()
    await booth.daemon.start()
    amtool = Amtool(amtool_bin, booth)
    identity = await amtool.run(
        "silence", "add", "service=~check.*", "severity!=low", "--author=kim", "--comment=a deploy", "--duration=1h"
    )
    booth.show(checkout=0.1)
    await booth.daemon.wait_incident("checkout")

    async def is_muted() -> bool:
        return bool((await booth.daemon.incident("checkout") or {}).get("muted"))

    await wait_until(is_muted, "muted")
    assert await amtool.ask("alert", "query") == []
    (hidden,) = await amtool.ask("alert", "query", "--silenced")
    assert hidden["status"] == {"state": "suppressed", "silencedBy": [identity], "inhibitedBy": []}
    (kept,) = await amtool.ask("silence", "query", "service=~check.*")
    assert (kept["id"], kept["createdBy"], kept["comment"], kept["status"]["state"]) == (identity, "kim", "a deploy", "active")
    assert {(each["name"], each["value"], each["isRegex"], each["isEqual"]) for each in kept["matchers"]} == {
        ("service", "check.*", True, True),
        ("severity", "low", False, False),
    }
    assert await amtool.run("silence", "query", "-q", "service=elsewhere") == ""
    assert await amtool.run("silence", "update", identity, "--comment=a longer deploy", "--duration=2h")
    assert booth.count_sent("trigger") == 0
    await amtool.run("silence", "expire", identity)
    await booth.wait_open(1)
    assert await amtool.ask("silence", "query") == []
    assert [each["id"] for each in await amtool.ask("silence", "query", "--expired", "--within=1h")] == [identity]
    assert "was ended by" in await amtool.run("silence", "update", identity, "--duration=2h", code=1)
    assert "cover every alert" in await amtool.run("silence", "add", "service=~.+", "--comment=all", code=1)
    assert "404" in await amtool.run("silence", "expire", "00000000000000000000", code=1)


async def test_amtool_reads_status_and_routes(amtool_bin: Path, enter_booth: EnterBooth) -> None:
    """`config show`, `config routes test` and `cluster show` find what they read."""
    booth = await enter_booth()
    await booth.daemon.start()
    amtool = Amtool(amtool_bin, booth)
    assert "receiver: detector" in await amtool.run("config", "show")
    assert "detector" in await amtool.run("config", "routes", "test", "service=db")
    assert "disabled" in await amtool.run("cluster", "show")
    assert await booth.daemon.get("/api/v2/receivers") == [{"name": "detector"}]
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    (group,) = await booth.daemon.get("/api/v2/alerts/groups")
    assert (group["labels"], group["receiver"], len(group["alerts"])) == ({"service": "checkout"}, {"name": "detector"}, 1)


async def test_rules_and_alerts_in_prometheus_shapes(enter_booth: EnterBooth) -> None:
    """Groups by file, rules with state, health and alerts, filters by name; alerts alone; `detector_alerts` on /metrics."""
    booth = await enter_booth()
    began = time.monotonic()
    await booth.daemon.start()
    booth.show(checkout=0.1, cart=0.0)
    await booth.wait_open(1)
    answer = await booth.daemon.get("/prometheus/api/v1/rules?type=alert")
    (group,) = answer["data"]["groups"]
    (rule,) = group["rules"]
    assert (answer["status"], group["name"], group["file"].endswith("/rules/errors.yaml"), group["interval"], rule["type"]) == (
        "success",
        "errors.yaml",
        True,
        1.0,
        "alerting",
    )
    assert (rule["name"], rule["state"], rule["health"], rule["lastError"]) == ("errors", "firing", "ok", "")
    assert rule["query"] == "error_rate > 0.01"
    assert 0 < rule["evaluationTime"] < time.monotonic() - began  # in seconds
    assert rule["lastEvaluation"].endswith("Z")
    (alert,) = rule["alerts"]
    assert (alert["state"], alert["labels"]["service"], float(alert["value"])) == ("firing", "checkout", 0.1)
    assert (await booth.daemon.get("/prometheus/api/v1/alerts"))["data"]["alerts"][0]["labels"] == alert["labels"]
    assert (await booth.daemon.get("/prometheus/api/v1/rules?rule_name[]=other"))["data"]["groups"] == []
    assert (await booth.daemon.get("/prometheus/api/v1/rules?type=record"))["data"]["groups"] == []
    assert await booth.daemon.metric("detector_alerts", rule="errors", state="firing") == 1
    status, body = await booth.daemon.fetch("/prometheus/api/v1/query")
    assert (status, json.loads(body)["status"]) == (404, "error")
