"""`detector demo` as a user runs it: a process of its own, its output in a pipe."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from detector.adapters.binary import BinaryMissingError, find_binary
from tests.kit.wait import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

DEMO = [sys.executable, "-m", "detector", "demo"]
FOREIGN = {
    # what a machine that runs a real detector may have set: none of it may reach the demo's daemon
    "DETECTOR_PAGERDUTY__ROUTING_KEYS": '{"default": "R3A1KEY0000000000000000000000000"}',
    "DETECTOR_PAGERDUTY__EVENTS_URL": "http://127.0.0.1:9",
    "DETECTOR_RULES": "/nowhere",
    "DETECTOR_NO_SUCH_SETTING": "1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo keeps its files, given to it as TMPDIR."""
    found = tmp_path / "demo"
    found.mkdir()
    return found


@pytest.fixture
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's environment: its own TMPDIR, and a Prometheus."""
    try:
        monkeypatch.setenv("DETECTOR_PROMETHEUS_BIN", str(find_binary("prometheus")))
    except BinaryMissingError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("TMPDIR", str(folder))


def _find_left_over(folder: Path) -> list[list[str]]:
    """Command lines of processes whose files lie in the demo's folder; those just killed count until they are gone."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if str(folder) in " ".join([*words, process.info["cwd"] or ""]):
            found.append(words)
    return found


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*DEMO, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent)


@pytest.mark.usefixtures("environment")
def test_the_whole_demo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In under two minutes: breach, one page, repair, one resolve with the value at recovery; a picture; nothing left behind."""
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    picture = folder.parent / "demo.svg"
    done = subprocess.run(
        [*DEMO, "--record", str(picture)], capture_output=True, text=True, timeout=130, cwd=folder.parent, check=False
    )
    told = done.stdout
    assert (done.returncode, done.stderr) == (0, ""), told
    assert time.monotonic() - began < 120
    steps = [
        r"window 20s \(5m\)",
        r"recover_for 10s \(5m\)",
        r"shop +frontend breaks: it fails 30% of its requests",
        r"prometheus +frontend fails [\d.]+% of its requests",
        r"detector +incident [0-9a-f]+: HIGH, frontend: error_rate [\d.]+% > 1%",
        r"pagerduty +page received [\d.]+ s after the fault",
        r"event_action +trigger",
        r"summary +\[HIGH\] frontend",
        r"severity +error",
        r"dedup_key +(?P<key>\S+)",
        r"runbook +https://wiki\.example/frontend",
        r"breach +error_rate [\d.]+% > 1%",
        r"open for frontend alone; still one page",
        r"shop +frontend is repaired",
        r"errors leave the window: \d+ s of about",
        r"recovery verified: error_rate [\d.]+% \(peak 1\d[\d.]*%, threshold 1%\); incident resolved",
        r"event_action +resolve",
        r"dedup_key +(?P=key)",
        r"value_at_recovery +[\d.]+",
        r"frontend +▁+[▂▃▄▅▆▇█]+▁+ +peak",
        r"resolved [\d.]+ s after the repair; 1 page, 0 open",
        r"check rules\n",
        r"demo --keep\n",
    ]
    assert re.search(".*?".join(steps), told, re.DOTALL), told
    assert "\x1b" not in told
    assert _find_left_over(folder) == []
    assert list(folder.iterdir()) == []
    svg = picture.read_text()
    assert "PagerDuty" in svg
    assert set(re.findall(r"""(?:href|src|url)\s*[=(]\s*["']?\w+:[^"')\s]+""", svg)) == set()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_demo_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    """A signal in the middle ends the demo with 128 + its number, ends every process and removes every file."""
    demo = _start(folder)
    until(lambda: len(_find_left_over(folder)) >= 2, "Prometheus and the daemon run")
    demo.send_signal(number)
    _, complaint = demo.communicate(timeout=PATIENCE_SECONDS)
    assert (demo.returncode, complaint) == (128 + number, "")
    assert _find_left_over(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("environment")
def test_a_part_that_dies_is_named(folder: Path) -> None:
    """When Prometheus is killed the demo ends with 1 and one line that names it and the logs, which stay."""
    demo = _start(folder)
    until(lambda: len(_find_left_over(folder)) >= 2, "Prometheus and the daemon run")
    for process in psutil.Process(demo.pid).children():
        if "--config.file" in " ".join(process.cmdline()):
            process.kill()
    _, complaint = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == 1
    (logs,) = folder.iterdir()
    assert re.fullmatch(rf"detector: demo: prometheus ended with exit code -9: .*; logs: {re.escape(str(logs))}\n", complaint)
    assert {"prometheus.log", "detector.log"} <= {path.name for path in logs.iterdir()}
    assert _find_left_over(folder) == []


def test_missing_prometheus_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Prometheus binary the demo starts nothing, says so in one line and ends with 2."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("DETECTOR_PROMETHEUS_BIN", str(folder / "none"))
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=folder.parent, check=False)
    wanted = f"detector: DETECTOR_PROMETHEUS_BIN={folder / 'none'}: not an executable file; correct it or unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)
    assert list(folder.iterdir()) == []
