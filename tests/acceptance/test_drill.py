"""Drill and doctor with the running daemon: each hop says whether it works, and what is missing is named."""

import json
import sys
from pathlib import Path

from tests.kit.daemon import Daemon
from tests.kit.house import EnterBooth

RULES = """\
services:
  checkout:
    core: true
    runbook: "{runbook}"
    mitigations:
      flag: {{summary: Disable the basket, run: ["{python}", "-c", "0"]}}
rules:
  - name: errors
    by: [service]
    every: 1s
    signals: {{error_rate: errors, p95: latency}}
    open: error_rate > 0.01
"""


async def test_a_drill_goes_through_every_channel_and_leaves_nothing_open(enter_booth: EnterBooth) -> None:
    """PagerDuty takes the marked incident and its end; the result is a metric that survives a restart, and no incident."""
    booth = await enter_booth()
    await booth.daemon.start()
    assert await booth.daemon.metric("detector_drill_last_success_timestamp_seconds") == 0
    code, out, err = await booth.daemon.run("drill", "--by", "ann")
    assert (code, err) == (0, ""), out
    assert "✅ pagerduty (default): accepted" in out
    alerts = booth.pagerduty.alerts()
    assert [(alert.summary.count("[DRILL]"), alert.is_open, alert.severity) for alert in alerts] == [(1, False, "info")]
    assert await booth.daemon.incidents() == []
    assert await booth.daemon.metric("detector_drill_last_success_timestamp_seconds") > 1e9
    await booth.daemon.stop()
    await booth.daemon.start()
    await booth.daemon.wait_metric("detector_drill_last_success_timestamp_seconds", 1e9)


async def test_a_drill_says_which_hop_fails(enter_booth: EnterBooth) -> None:
    """A webhook that nobody answers fails its hop alone."""
    booth = await enter_booth(webhook__url="http://127.0.0.1:9/hook")
    await booth.daemon.start()
    code, out, _ = await booth.daemon.run("drill", "--by", "ann", "--json")
    report = json.loads(out)
    assert (code, report["passed"]) == (1, False)
    assert {hop["channel"]: hop["ok"] for hop in report["hops"]} == {"pagerduty": True, "webhook": False}
    assert await booth.daemon.metric("detector_drill_last_success_timestamp_seconds") == 0


async def test_a_drill_runs_by_itself_where_a_schedule_is_set(enter_booth: EnterBooth) -> None:
    """DETECTOR_DRILL_EVERY is all it takes."""
    booth = await enter_booth(drill_every="1h")
    await booth.daemon.start()
    await booth.daemon.wait_metric("detector_drill_last_success_timestamp_seconds", 1e9)


async def test_doctor_is_content_only_when_nothing_is_missing(enter_booth: EnterBooth) -> None:
    """With a runbook, a flag, routing, coverage and a drill all is well; without them each is named."""
    booth = await enter_booth(rules={"shop": RULES.format(runbook="http://127.0.0.1:9/gone", python="/no/such/python")})
    booth.show(checkout=0.0)
    await booth.daemon.start()
    code, out, _ = await booth.daemon.run("doctor", "--json")
    found = {item["name"]: item for item in json.loads(out)}
    assert code == 1
    bad = {name for name, item in found.items() if item["verdict"] != "ok"}
    assert bad == {"runbooks", "mitigation commands", "drill"}
    assert "checkout: http://127.0.0.1:9/gone" in found["runbooks"]["message"]
    assert "/no/such/python" in found["mitigation commands"]["message"]

    runbook = f"http://127.0.0.1:{booth.daemon.port}/-/healthy"
    booth.daemon.write_rules(shop=RULES.format(runbook=runbook, python=sys.executable))
    assert (await booth.daemon.run("drill", "--by", "ann"))[0] == 0
    code, out, _ = await booth.daemon.run("doctor")
    assert code == 0, out
    assert [line[0] for line in out.splitlines()] == ["✅"] * 10


async def test_doctor_without_anything_names_it_all(tmp_path: Path) -> None:
    """No daemon, no Prometheus, no rules: no crash, nothing is called fine but the document."""
    daemon = Daemon(tmp_path, {"DETECTOR_PROMETHEUS_URL": "http://127.0.0.1:9"})
    code, out, err = await daemon.run("doctor", "--json")
    assert (code, err) == (1, "")
    assert [item["name"] for item in json.loads(out) if item["verdict"] == "ok"] == ["post-mortem"]
