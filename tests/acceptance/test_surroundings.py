"""What the system does to the running daemon: a clock that is set, names that do not resolve, a blocked loop, few files."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.kit.badprometheus import Answer, vector
from tests.kit.wait import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.house import Booth, EnterBooth

HOUR_SECONDS = 3600.0
FILES = 64
CALLERS = 80

# neither 40 minutes is reached by an honest clock here
CLOCK_RULES = """\
rules:
  - name: errors
    by: [service]
    every: 500ms
    severity: {high: "true"}
    signals: {error_rate: errors}
    open: error_rate > 0.01
    recover_for: 2s
  - name: patient
    by: [service]
    every: 500ms
    severity: {high: "true"}
    signals: {error_rate: errors}
    open: error_rate > 0.01
    for: 40m
  - name: thorough
    by: [service]
    every: 500ms
    severity: {high: "true"}
    signals: {share: shares}
    open: share > 0.5
    recover: share < 0.1
    recover_for: 40m
"""


async def test_the_wall_clock_is_set_by_an_hour_both_ways(enter_booth: EnterBooth) -> None:
    """An hour ahead, an hour behind, back: what waits for 40 minutes still waits, nothing resolves, the times told are sane."""
    booth = await enter_booth(rules={"errors": CLOCK_RULES})
    daemon, haunt = booth.daemon, booth.daemon.haunt()
    haunt.set_clock(0.0)
    haunt.set_names(localhost="127.0.0.1")
    began = time.time()
    booth.show(checkout=0.9)
    await daemon.start()
    await booth.wait_open(1)
    booth.source.by_query["shares"] = booth.source.answer  # broken, then recovering for forty minutes
    await daemon.wait_line("transition", "rule=thorough", "change=fired")
    booth.source.by_query["shares"] = _healthy()
    for ahead in (HOUR_SECONDS, -HOUR_SECONDS, 0.0):
        haunt.set_clock(ahead)
        await asyncio.gather(*(daemon.wait_evaluations(rule, 4) for rule in ("errors", "patient", "thorough")))
        seen = await daemon.metric("detector_last_successful_evaluation_timestamp_seconds", rule="errors")
        assert abs(seen - time.time() - ahead) < 60.0, "the daemon sees the clock that was set"
        told = [alert.summary for alert in booth.pagerduty.alerts()]
        assert len(told) == len(booth.pagerduty.open_alerts()) == 1, f"clock {ahead:+g} s: {told}"
        assert (await daemon.fetch("/-/healthy"))[0] == 200
    assert not daemon.lines("transition", "rule=patient", "change=fired")
    assert not daemon.lines("transition", "rule=thorough", "change=ended")
    incident = await daemon.wait_incident("checkout")
    assert began - 1.0 <= incident["opened"] <= time.time()
    for event in await daemon.timeline(incident["id"]):
        assert began - HOUR_SECONDS - 1.0 <= event["at"] <= time.time() + HOUR_SECONDS
    await booth.check_oracle()


def _healthy() -> Answer:
    return vector(({"service": "checkout"}, "0.0"), at=time.time())


async def test_names_stop_resolving_while_it_runs(enter_booth: EnterBooth) -> None:
    """Prometheus and PagerDuty by name, and DNS fails in the middle: addresses are remembered, page and resolve arrive."""
    booth = await enter_booth()
    daemon, haunt = booth.daemon, booth.daemon.haunt()
    haunt.set_names(prometheus_example="127.0.0.1", pagerduty_example="127.0.0.1", localhost="127.0.0.1")
    for name, host in (("PROMETHEUS_URL", "prometheus.example"), ("PAGERDUTY__EVENTS_URL", "pagerduty.example")):
        address = daemon.settings[f"DETECTOR_{name}"]
        daemon.settings[f"DETECTOR_{name}"] = address.replace("127.0.0.1", host)
    booth.show(checkout=0.1, search=0.0)
    await daemon.start()
    await booth.wait_open(1)
    haunt.set_names()
    await wait_until(lambda: haunt.count_unresolved() >= 2, "lookups that fail")
    booth.show(search=0.1)
    await booth.wait_open(2)
    booth.show(checkout=0.0)
    await booth.wait_open(1)
    haunt.set_names(prometheus_example="127.0.0.1", pagerduty_example="127.0.0.1", localhost="127.0.0.1")
    booth.show(search=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


class Supervisor:
    """What systemd does with WatchdogSec: kills with SIGABRT the process that was silent for too long, and starts it anew."""

    def __init__(self, folder: Path, watchdog_seconds: float) -> None:
        self.path = folder / "notify"
        self.watchdog_seconds = watchdog_seconds
        self.said: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)  # noqa: FBT003 - the name of the method says it

    @property
    def environment(self) -> dict[str, str]:
        """For the daemon's process."""
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(int(self.watchdog_seconds * 1e6))}

    def listen(self) -> None:
        """Take what was said since."""
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return
            self.said.append((time.monotonic(), text))

    def count(self, word: str) -> int:
        """How many messages had it."""
        self.listen()
        return sum(word in text for _, text in self.said)

    def is_silent(self) -> bool:
        """Whether the watchdog's time has passed without a word."""
        self.listen()
        return time.monotonic() - max((at for at, text in self.said if "WATCHDOG=1" in text), default=0.0) > self.watchdog_seconds

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A service manager with a watchdog of six seconds."""
    manager = Supervisor(tmp_path, 6.0)
    yield manager
    manager.close()


async def test_a_loop_that_is_blocked_for_a_minute_is_replaced(enter_booth: EnterBooth, supervisor: Supervisor) -> None:
    """The watchdog is fed while all is well and not while the loop stands; the process that replaces it goes on with the page."""
    booth = await enter_booth()
    daemon, haunt = booth.daemon, booth.daemon.haunt()
    haunt.set_names(localhost="127.0.0.1")
    haunt.set_block(60.0)
    daemon.settings |= supervisor.environment
    booth.show(checkout=0.1)
    await daemon.start()
    await booth.wait_open(1)
    await wait_until(lambda: supervisor.count("READY=1") == 1, "the start is told")
    fed = supervisor.count("WATCHDOG=1")
    await wait_until(lambda: supervisor.count("WATCHDOG=1") >= fed + 2, "the watchdog is fed")
    daemon.process.signal(signal.SIGUSR1)
    await wait_until(supervisor.is_silent, "the watchdog is not fed")
    assert daemon.process.is_running
    daemon.process.signal(signal.SIGABRT)
    assert await asyncio.to_thread(daemon.process.wait) == -signal.SIGABRT
    booth.show(search=0.1)
    await daemon.start()
    await booth.wait_open(2)
    assert supervisor.count("READY=1") == 2
    booth.show(checkout=0.0, search=0.0)
    await booth.wait_open(0)
    assert await daemon.stop() == 0
    assert supervisor.count("STOPPING=1") == 1
    await daemon.start()
    await booth.check_oracle()


async def test_64_file_descriptors_of_which_callers_hold_all_they_get(enter_booth: EnterBooth) -> None:
    """Eighty idle connections to its port: some are refused, the page and its resolve go out, and all is well when they leave."""
    booth = await enter_booth()
    daemon = booth.daemon
    booth.show(calm=0.0)
    await daemon.start()
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    callers, process = [], psutil.Process(daemon.process.pid)
    try:
        for _ in range(CALLERS):
            caller = socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE_SECONDS)
            caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")  # and never the end
            callers.append(caller)
        await wait_until(lambda: process.num_fds() > FILES // 2, "callers hold more than half of its descriptors")
        assert process.num_fds() <= FILES
        booth.show(checkout=0.1)
        await booth.wait_open(1)
        booth.show(checkout=0.0)
        await booth.wait_open(0)
    finally:
        for caller in callers:
            caller.close()
    await wait_until(lambda: _is_answering(booth), "its port answers again")
    booth.show(search=0.1)
    await booth.wait_open(1)
    booth.show(search=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def _is_answering(booth: Booth) -> bool:
    try:
        return (await booth.daemon.fetch("/-/ready"))[0] == 200
    except OSError:
        return False
