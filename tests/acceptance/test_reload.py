"""Reloading the rules of a running daemon: by signal, by request, by the file itself; and what it refuses."""

import asyncio
import os
import shutil
import subprocess
import sys

import pytest

from tests.kit.house import Booth, EnterBooth
from tests.kit.rule import PLAIN_RULES

BAD_RULES = PLAIN_RULES.replace("error_rate > 0.01", "eror_rate > 0.01")
SECOND = PLAIN_RULES.replace("name: errors", "name: second")


async def _names(booth: Booth) -> set[str]:
    return {rule["name"] for rule in await booth.daemon.get("/api/v1/rules")}


async def _page(booth: Booth) -> str:
    """A daemon that has paged for one service; the key."""
    await booth.daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    return booth.pagerduty.alerts()[0].dedup_key


async def _check_unharmed(booth: Booth, key: str) -> None:
    """The old rules go on: the same page, and it still ends."""
    assert [alert.dedup_key for alert in booth.pagerduty.open_alerts()] == [key]
    evaluated = await booth.daemon.metric("detector_evaluations_total", rule="errors", outcome="ok")
    await booth.daemon.wait_metric("detector_evaluations_total", evaluated + 2, rule="errors", outcome="ok")
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_reload_by_request(enter_booth: EnterBooth) -> None:
    """200 with nothing for a good set; 400 with the findings of `check` for a bad one, which changes nothing."""
    booth = await enter_booth()
    key = await _page(booth)
    booth.daemon.write_rules(second=SECOND)
    assert await booth.daemon.post("/-/reload") == (200, [])
    assert await _names(booth) == {"errors", "second"}
    booth.daemon.write_rules(second=BAD_RULES.replace("name: errors", "name: second"))
    status, findings = await booth.daemon.post("/-/reload")
    assert status == 400
    (finding,) = findings
    assert finding.keys() == {"file", "line", "column", "message"}
    assert finding["file"].endswith("second.yaml")
    assert (finding["line"], finding["column"]) == (6, 11)
    assert "eror_rate" in finding["message"]
    assert "error_rate" in finding["message"]
    assert await booth.daemon.metric("detector_config_last_reload_successful") == 0
    assert await _names(booth) == {"errors", "second"}
    await _check_unharmed(booth, key)


async def test_reload_by_signal(enter_booth: EnterBooth) -> None:
    """SIGHUP reads the files; a bad one is refused with a line that names the place."""
    booth = await enter_booth()
    key = await _page(booth)
    loaded = len(booth.daemon.lines("rules loaded"))
    booth.daemon.hang_up()
    await booth.daemon.wait_line("rules loaded", count=loaded + 1)
    booth.daemon.write_rules(errors=BAD_RULES)
    booth.daemon.hang_up()
    line = await booth.daemon.wait_line("rules refused", "errors.yaml:6:11")
    assert "eror_rate" in line
    await _check_unharmed(booth, key)


FAULTY = {
    "a syntax error": (SECOND + "  broken: [", "second.yaml"),
    "an unknown key": (SECOND.replace("open:", "opne:"), "opne"),
    "bad PromQL": (SECOND.replace("error_rate: errors", "error_rate: 'sum by ('"), "second.yaml"),
    "bad CEL": (SECOND.replace("error_rate > 0.01", "error_rate >"), "second.yaml"),
    "a duplicate name": (PLAIN_RULES, "errors"),
    "a routing key that the settings lack": (f"services: {{checkout: {{pagerduty: payments}}}}\n{SECOND}", "payments"),
}


async def test_every_fault_of_a_rule_file_is_refused(enter_booth: EnterBooth) -> None:
    """Six kinds of fault: 400 with the place, metric 0, `detector check` fails; the old rules and their page go on."""
    booth = await enter_booth()
    daemon = booth.daemon
    key = await _page(booth)
    for name, (text, word) in FAULTY.items():
        daemon.write_rules(second=text)
        status, findings = await daemon.post("/-/reload")
        assert (status, bool(findings)) == (400, True), name
        assert any(word in f"{each['file']} {each['message']}" for each in findings), (name, findings)
        assert await daemon.metric("detector_config_last_reload_successful") == 0
        assert await _names(booth) == {"errors"}
        argv = [sys.executable, "-m", "detector", "check", str(daemon.rules)]
        env = {"PATH": os.environ["PATH"], **daemon.settings}
        done = await asyncio.to_thread(
            subprocess.run, argv, capture_output=True, text=True, check=False, env=env, cwd=daemon.folder
        )
        assert done.returncode == 1, (name, done)
        assert word in done.stdout + done.stderr, name
        (daemon.rules / "second.yaml").unlink()
    assert await daemon.post("/-/reload") == (200, [])  # the watch may not have seen a file that came and went
    assert await daemon.metric("detector_config_last_reload_successful") == 1
    await _check_unharmed(booth, key)


async def test_reload_by_file(enter_booth: EnterBooth) -> None:
    """A file that is written, changed or removed is enough; metric and log tell what came of it."""
    booth = await enter_booth()
    key = await _page(booth)
    booth.daemon.write_rules(second=SECOND)
    await booth.daemon.wait_metric("detector_evaluations_total", 1, rule="second")
    booth.daemon.write_rules(second=BAD_RULES)
    await booth.daemon.wait_line("rules refused", "second.yaml")
    assert await booth.daemon.metric("detector_config_last_reload_successful") == 0
    (booth.daemon.rules / "second.yaml").unlink()
    await booth.daemon.wait_metric("detector_config_last_reload_successful", 1)
    assert await _names(booth) == {"errors"}
    assert [alert.dedup_key for alert in booth.pagerduty.open_alerts()] == [key]


@pytest.mark.parametrize("how", ["emptied", "vanished", "moved away"])
async def test_rules_that_are_gone_are_refused(enter_booth: EnterBooth, how: str) -> None:
    """Without its files the old set goes on, the metric is 0, nothing resolves; when they are back, the same page goes on."""
    booth = await enter_booth()
    daemon = booth.daemon
    key = await _page(booth)
    aside = daemon.folder / "aside"
    if how == "emptied":
        (daemon.rules / "errors.yaml").unlink()
    elif how == "vanished":
        shutil.rmtree(daemon.rules)
    else:
        daemon.rules.rename(aside)
    await daemon.wait_line("rules refused")
    assert await daemon.metric("detector_config_last_reload_successful") == 0
    status, findings = await daemon.post("/-/reload")
    assert status == 400
    assert len(findings) == 1
    assert await _names(booth) == {"errors"}
    assert [alert.dedup_key for alert in booth.pagerduty.open_alerts()] == [key]
    if how == "moved away":
        aside.rename(daemon.rules)
    else:
        daemon.rules.mkdir(exist_ok=True)
        daemon.write_rules(errors=PLAIN_RULES)
    await daemon.wait_metric("detector_config_last_reload_successful", 1)
    await _check_unharmed(booth, key)


async def test_reload_that_only_moves_a_rule(enter_booth: EnterBooth) -> None:
    """Another file, another order, a comment: the same alert, the same incident, the same page."""
    booth = await enter_booth()
    key = await _page(booth)
    before = await booth.daemon.wait_incident("checkout")
    booth.daemon.write_rules(second=SECOND)
    (booth.daemon.rules / "errors.yaml").rename(booth.daemon.rules / "moved.yaml")
    booth.daemon.write_rules(moved="# moved\n" + PLAIN_RULES)
    assert await booth.daemon.post("/-/reload") == (200, [])
    (booth.daemon.rules / "second.yaml").unlink()
    assert await booth.daemon.post("/-/reload") == (200, [])
    (after,) = await booth.daemon.incidents()
    assert (after["id"], after["opened"], after["episode"]) == (before["id"], before["opened"], before["episode"])
    await _check_unharmed(booth, key)
