"""How the process starts, and how it refuses to: one clear line on standard error, and an exit code that a script can use."""

import shutil
import socket

import pytest

from tests.kit.house import KEY, Booth, EnterBooth
from tests.kit.port import free_port
from tests.kit.rule import PLAIN_RULES
from tests.kit.secret import assert_no_secret

SECRET = "not-to-be-seen-" + "9" * 24
USAGE, FAILURE = 2, 1
BAD_RULES = PLAIN_RULES.replace("open:", "opne:")


async def _refuse(booth: Booth, code: int = USAGE) -> list[str]:
    """Start a daemon that must end by itself with that code; the lines it wrote."""
    found, text = await booth.daemon.run_to_end()
    assert found == code, text
    assert "Traceback" not in text
    return text.splitlines()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("DETECTOR_PROMETHEUS_URL", "prometheus:9090", "must be a URL such as"),
        ("DETECTOR_EVERY", "5 parsecs", "must be a duration"),
        ("DETECTOR_PROMETHEUS_ULR", "http://x", "did you mean DETECTOR_PROMETHEUS_URL?"),
        ("DETECTOR_LISTEN", "9911", "must be host:port"),
        ("DETECTOR_PAGERDUTY__ROUTING_KEYS", f'{{"default": "{SECRET}"}}', "must have 32 characters"),
        ("DETECTOR_PAGERDUTY__ROUTING_KEYS", SECRET, "must be a JSON object"),
        ("DETECTOR_DATABASE_URL", f"mysql://root:{SECRET}@db/x", "must be postgresql://"),
        ("DETECTOR_LOG_FORMAT", "xml", "console"),
    ],
)
async def test_wrong_setting(enter_booth: EnterBooth, name: str, value: str, line: str) -> None:
    """One line that names the setting and what would be right, exit 2, and no secret in it."""
    booth = await enter_booth()
    booth.daemon.settings[name] = value
    lines = await _refuse(booth)
    assert len(lines) == 1, lines
    assert name in lines[0]
    assert line in lines[0]
    assert_no_secret((SECRET,), lines[0])


async def test_all_wrong_settings_at_once(enter_booth: EnterBooth) -> None:
    """A line for each."""
    booth = await enter_booth()
    booth.daemon.settings |= {"DETECTOR_EVERY": "never", "DETECTOR_LISTEN": "here"}
    lines = await _refuse(booth)
    assert len(lines) == 2
    assert {name for name in ("DETECTOR_EVERY", "DETECTOR_LISTEN") if any(name in line for line in lines)} == {
        "DETECTOR_EVERY",
        "DETECTOR_LISTEN",
    }


async def test_port_taken(enter_booth: EnterBooth) -> None:
    """One line, exit 2."""
    booth = await enter_booth()
    with socket.create_server(("127.0.0.1", booth.daemon.port)):
        lines = await _refuse(booth)
    assert len(lines) == 1
    assert f"cannot listen on 127.0.0.1:{booth.daemon.port}" in lines[0]
    assert "DETECTOR_LISTEN" in lines[0]


async def test_second_daemon_on_the_same_state(enter_booth: EnterBooth) -> None:
    """Refused in one line that says who has it; the first one goes on."""
    first, second = await enter_booth(), await enter_booth()
    await first.daemon.start()
    second.daemon.settings["DETECTOR_STATE_DIR"] = first.daemon.settings["DETECTOR_STATE_DIR"]
    lines = await _refuse(second, FAILURE)
    told = [line for line in lines if "is in use by another detector" in line]
    assert len(told) == 1
    assert str(first.daemon.process.pid) in told[0]
    assert "DETECTOR_STATE_DIR" in told[0]
    first.show(checkout=0.1)
    await first.wait_open(1)


@pytest.mark.parametrize(
    ("files", "told"),
    [({"errors": BAD_RULES}, "errors.yaml:6:"), ({}, "no rules"), ({"catalogue": "services: {a: {core: true}}\n"}, "no rules")],
    ids=["a finding", "an empty directory", "a catalogue alone"],
)
async def test_no_rules_to_run_and_none_stored(enter_booth: EnterBooth, files: dict[str, str], told: str) -> None:
    """The findings, what to do, exit 2."""
    booth = await enter_booth(rules=files)
    lines = await _refuse(booth)
    assert any(told in line for line in lines), lines
    assert any("no rules to run" in line and "detector check" in line and "detector init" in line for line in lines), lines


async def test_rules_directory_that_does_not_exist(enter_booth: EnterBooth) -> None:
    """Named in the message, exit 2."""
    booth = await enter_booth()
    shutil.rmtree(booth.daemon.rules)
    lines = await _refuse(booth)
    assert any(str(booth.daemon.rules) in line for line in lines)


@pytest.mark.parametrize("fault", ["finding", "vanished"])
async def test_start_with_findings_runs_the_last_good_set(enter_booth: EnterBooth, fault: str) -> None:
    """The stored set pages; metric, log and one page say so; a restart adds none; all ends when the files are mended."""
    booth = await enter_booth()
    daemon = booth.daemon
    await daemon.start()
    await daemon.stop()
    if fault == "finding":
        daemon.write_rules(errors=BAD_RULES)
    else:
        shutil.rmtree(daemon.rules)
    for _ in range(2):
        await daemon.start()
        assert await daemon.metric("detector_config_last_reload_successful") == 0
        await daemon.wait_metric("detector_evaluations_total", 1, rule="errors")
        await booth.wait_open(1)
        await daemon.stop()
    assert daemon.lines("last good set runs")
    await daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(2)
    daemon.rules.mkdir(exist_ok=True)
    daemon.write_rules(errors=PLAIN_RULES)
    await daemon.wait_metric("detector_config_last_reload_successful", 1)
    await booth.wait_open(1)
    services = {alert.source: alert for alert in booth.pagerduty.alerts()}
    assert set(services) == {"detector", "checkout"}
    assert not services["detector"].is_open
    assert services["detector"].severity == "warning"
    assert "last good rules" in services["detector"].summary
    assert not booth.pagerduty.duplicates()


async def test_listens_where_it_was_told(enter_booth: EnterBooth) -> None:
    """Another port than the default, an answer under every address of the contract."""
    booth = await enter_booth()
    booth.daemon.port = free_port()
    booth.daemon.settings["DETECTOR_LISTEN"] = f"127.0.0.1:{booth.daemon.port}"
    await booth.daemon.start()
    for path in ("/-/healthy", "/-/ready", "/metrics", "/api/v1/incidents", "/api/v1/rules", "/api/v1/alerts", "/api/openapi.json"):
        status, _ = await booth.daemon.fetch(path)
        assert status == 200, path
    assert_no_secret((KEY,), booth.daemon.read())
