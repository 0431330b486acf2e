"""The daemon under measurement: the real process on a free port, with what the kernel says of its CPU and memory."""

from __future__ import annotations

import asyncio
import sys
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Self

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.port import free_port
from tests.kit.process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ROUTING_KEY = "b" * 32
MEBIBYTE = 1 << 20
_STEP_SECONDS = 0.01


class Daemon:
    """`detector run` on a rules directory; what it asks and pages is given by URL. Use it as an async context manager."""

    def __init__(
        self,
        folder: Path,
        rules: Path,
        *,
        prometheus: str,
        pagerduty: str = "",
        every: str = "5s",
        settings: Mapping[str, str] | None = None,
        module: Sequence[str] = ("detector",),
        ready_seconds: float = 30.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ready_seconds = ready_seconds
        self.port = free_port()
        self.process = Process(
            [sys.executable, "-m", *module, "run"],
            log=folder / "detector.log",
            cwd=folder,
            env={
                "DETECTOR_RULES": str(rules),
                "DETECTOR_STATE_DIR": str(folder / "state"),
                "DETECTOR_LISTEN": f"127.0.0.1:{self.port}",
                "DETECTOR_EVERY": every,
                "DETECTOR_PROMETHEUS_URL": prometheus,
                "DETECTOR_PAGERDUTY__ROUTING_KEYS": f'{{"default": "{ROUTING_KEY}"}}',
                "DETECTOR_PAGERDUTY__EVENTS_URL": pagerduty or "http://127.0.0.1:9",
                "DETECTOR_STORM_THRESHOLD": "1000",
                **(settings or {}),
            },
        )

    async def __aenter__(self) -> Self:
        self.process.start()
        deadline = time.monotonic() + self._ready_seconds
        while self._get("/-/ready") is None:
            if not self.process.is_running or time.monotonic() > deadline:
                self.process.stop()
                raise RuntimeError(f"detector was not ready within {self._ready_seconds:g} s:\n{self.process.read_log()[-2000:]}")
            await asyncio.sleep(_STEP_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.process.stop)

    @property
    def cpu_seconds(self) -> float:
        """CPU spent so far, user and system, all threads; the kernel counts in steps of 10 ms."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def resident_mebibytes(self) -> float:
        """Resident memory, shared pages of its libraries included."""
        return float(psutil.Process(self.process.pid).memory_info().rss / MEBIBYTE)

    async def count(self, metric: str) -> float:
        """Sum over all series of one of its metrics."""
        return read_sum(await asyncio.to_thread(self.get, "/metrics"), metric)

    def get(self, path: str) -> bytes:
        """The body of a 200; RuntimeError for anything else."""
        body = self._get(path)
        if body is None:
            raise RuntimeError(f"GET {path}: no answer")
        return body

    def _get(self, path: str) -> bytes | None:
        """The body of a 200, None for anything else."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()


def read_sum(exposition: bytes, metric: str, **labels: str) -> float:
    """Sum over all series of a metric that carry these labels."""
    families = text_string_to_metric_families(exposition.decode())
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == metric and labels.items() <= sample.labels.items())


def read_by_rule(exposition: bytes, metric: str) -> dict[str, float]:
    """A metric of one series a rule, by the rule's name."""
    families = text_string_to_metric_families(exposition.decode())
    samples = (sample for family in families for sample in family.samples)
    return {sample.labels["rule"]: sample.value for sample in samples if sample.name == metric}


async def settle(daemon: Daemon, evaluations: int, seconds: float) -> None:
    """Return when the daemon has evaluated that often; RuntimeError after `seconds`."""
    deadline = time.monotonic() + seconds
    while await daemon.count("detector_evaluations_total") < evaluations:
        if time.monotonic() > deadline:
            raise RuntimeError(f"fewer than {evaluations} evaluations in {seconds:g} s:\n{daemon.process.read_log()[-2000:]}")
        await asyncio.sleep(1.0)
