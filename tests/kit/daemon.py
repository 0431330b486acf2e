"""The real daemon as a child process with its settings in the environment: started, killed, asked over HTTP, read in its log."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.kit.command import list_foreign, run_detector
from tests.kit.haunted import Haunt
from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.wait import PATIENCE_SECONDS, wait_until
from tests.kit.web import is_answering, request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.kit.standin import PagerDuty

STOP_SECONDS = 30.0


def list_settings(pagerduty: PagerDuty | None, **settings: str) -> dict[str, str]:
    """Environment of a daemon that pages to this stand-in; `settings` are names without DETECTOR_, in lower case."""
    paging = {}
    if pagerduty is not None:
        paging = {"pagerduty__routing_keys": json.dumps(pagerduty.routing_keys), "pagerduty__events_url": pagerduty.url}
    return {f"DETECTOR_{name}".upper(): value for name, value in {**paging, **settings}.items()}


class Daemon:
    """`detector run` in `folder`, where its rules (folder/rules), state (folder/state) and log lie.

    Settings may be changed between stops and starts through `settings` (names as in the environment), and `argv`, what is started.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.rules = folder / "rules"
        self.log = folder / "detector.log"
        self.port = free_port()
        self.token = ""  # sent with what is asked here, where a test set one
        self.settings = {
            "DETECTOR_RULES": str(self.rules),
            "DETECTOR_STATE_DIR": str(folder / "state"),
            "DETECTOR_LISTEN": f"127.0.0.1:{self.port}",
            **settings,
        }
        self.argv = [sys.executable, "-m", "detector", "run"]
        self.rules.mkdir(parents=True, exist_ok=True)
        self.process = self._make_process()

    def haunt(self) -> Haunt:
        """Have the next starts run where the test commands clock, names and loop."""
        haunt = Haunt(self.folder / "haunt")
        self.argv = [sys.executable, "-m", "tests.kit.haunted", "run"]
        self.settings |= haunt.environment
        return haunt

    def write_rules(self, **files: str) -> None:
        """Write rule files by their names without the suffix; each appears whole, as an editor or git would do it."""
        for name, text in files.items():
            draft = self.rules / f".{name}.draft"
            draft.write_text(text)
            draft.replace(self.rules / f"{name}.yaml")

    async def start(self) -> None:
        """Start and wait until it is ready."""
        await self.launch()
        await self.process.wait_ready(lambda: is_answering(self.port, "/-/ready"), seconds=PATIENCE_SECONDS)

    async def launch(self) -> None:
        """Start without waiting."""
        self.process = self._make_process()
        await asyncio.to_thread(self.process.start)

    async def run_to_end(self, *, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Start a daemon that is expected to end by itself; its exit code and what it wrote since."""
        before = len(self.read())
        await self.launch()
        code = await asyncio.to_thread(self.process.wait, seconds=seconds)
        return code, self.read()[before:]

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.process.kill)

    async def stop(self, *, seconds: float = STOP_SECONDS) -> int | None:
        """SIGTERM; its exit code. AssertionError when it takes longer."""
        return await asyncio.to_thread(self.process.stop, seconds=seconds)

    async def end(self) -> None:
        """After the test: gone, however it stands."""
        if self.process.is_running:
            self.process.signal(signal.SIGCONT)
            await self.kill()

    def hang_up(self) -> None:
        """SIGHUP."""
        self.process.signal(signal.SIGHUP)

    async def run(self, *words: str) -> tuple[int, str, str]:
        """`detector ...` with the daemon's settings; exit code, output, errors."""
        return await asyncio.to_thread(run_detector, *words, cwd=self.folder, settings=self.settings)

    async def fetch(self, path: str) -> tuple[int, bytes]:
        """GET; status and body."""
        return await asyncio.to_thread(request, self.port, "GET", path, token=self.token)

    async def get(self, path: str) -> Any:
        """GET that must answer 200 with JSON."""
        status, body = await self.fetch(path)
        assert status == 200, f"GET {path}: {status} {body[:300]!r}"
        return json.loads(body)

    async def post(self, path: str) -> tuple[int, Any]:
        """POST without a body; status and JSON."""
        status, body = await asyncio.to_thread(request, self.port, "POST", path, token=self.token)
        return status, json.loads(body)

    async def incidents(self) -> list[dict[str, Any]]:
        """Every incident, as the API has it."""
        found: list[dict[str, Any]] = await self.get("/api/v1/incidents?limit=1000")
        return found

    async def incident(self, service: str) -> dict[str, Any] | None:
        """The only incident of that service, None where there is none yet. AssertionError where there are several."""
        found = [each for each in await self.incidents() if each["service"] == service]
        assert len(found) <= 1, f"{len(found)} incidents of {service}: {found}"
        return found[0] if found else None

    async def timeline(self, incident: str) -> list[dict[str, Any]]:
        """The timeline of one incident."""
        events: list[dict[str, Any]] = (await self.get(f"/api/v1/incidents/{incident}"))["timeline"]
        return events

    async def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of that name that carry these labels. AssertionError where there is none."""
        values = await self._list_samples(name, labels)
        assert values, f"no series {name} {labels}"
        return sum(values)

    async def wait_metric(self, name: str, least: float, *, seconds: float = PATIENCE_SECONDS, **labels: str) -> None:
        """Until the metric is at least that."""

        async def is_there() -> bool:
            return sum(await self._list_samples(name, labels)) >= least

        await wait_until(is_there, f"{name} {labels} >= {least:g}", seconds=seconds)

    async def wait_incident(self, service: str, status: str = "open", *, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Until the incident of that service has that status; the incident."""
        found: dict[str, Any] | None = None

        async def is_there() -> bool:
            nonlocal found
            found = await self.incident(service)
            return found is not None and found["status"] == status

        await wait_until(is_there, f"an incident of {service} that is {status}", seconds=seconds)
        assert found is not None
        return found

    def read(self) -> str:
        """Its whole log, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, *words: str) -> list[str]:
        """Log lines that hold all these words."""
        return [line for line in self.read().splitlines() if all(word in line for word in words)]

    async def wait_evaluations(self, rule: str, count: int, *, outcome: str = "ok", seconds: float = PATIENCE_SECONDS) -> None:
        """Until the rule was evaluated so often more with that outcome."""
        seen = await self.metric("detector_evaluations_total", rule=rule, outcome=outcome)
        await self.wait_metric("detector_evaluations_total", seen + count, rule=rule, outcome=outcome, seconds=seconds)

    async def wait_line(self, *words: str, count: int = 1, seconds: float = PATIENCE_SECONDS) -> str:
        """Until the log has so many lines with all these words; the last of them."""
        await wait_until(lambda: len(self.lines(*words)) >= count, f"{count} log line(s) with {words}", seconds=seconds)
        return self.lines(*words)[-1]

    async def _list_samples(self, name: str, labels: Mapping[str, str]) -> list[float]:
        status, body = await self.fetch("/metrics")
        assert status == 200, f"GET /metrics: {status}"
        samples = (sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples)
        return [sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()]

    def _make_process(self) -> Process:
        foreign = dict.fromkeys(list_foreign(), "")  # an empty value counts as not set
        env = {**foreign, "PYTHONWARNINGS": "default", "STATE_DIRECTORY": "", "NOTIFY_SOCKET": "", **self.settings}
        return Process(self.argv, log=self.log, env=env, cwd=self.folder)
