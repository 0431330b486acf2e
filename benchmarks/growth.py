"""How cost grows with services, rules and incidents: the daemon beside Prometheus' own engine and vmalert, in the same run.

All three evaluate the same condition every 5 s on the same Prometheus. Before it: `fleet`. After it: `plot` draws every
column as a line.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import yaml

from benchmarks.daemon import MEBIBYTE, Daemon, read_sum, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.latency import LIMIT, RATIO
from benchmarks.question import Figure, Question
from benchmarks.sidebyside.product import make_vmalert
from detector.standin.pagerduty import PagerDuty
from tests.kit.port import free_port
from tests.kit.web import get_json, request, request_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from benchmarks.question import Say

SERVICES = (200, 2_000, 20_000)
RULES = (10, 100, 1_000)
INCIDENTS = (20, 200, 2_000)
SECONDS = 45
NOTES = 20
EVERY = "5s"
RULES_EVERY = "15s"  # what the configuration that Prometheus ships has: two cores also run Prometheus and both peers
_SETTLED_SECONDS = 180.0
_PATIENCE_SECONDS = 240.0


@dataclass(slots=True)
class Trial:
    """The three, running; evaluators' processes by name."""

    fleet: Fleet
    daemon: Daemon
    vmalert_pid: int
    prometheus_port: int
    vmalert_port: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Counters of one moment: detector's evaluations, their wall seconds, CPU; the peers' likewise."""

    evaluations: float
    wall_seconds: float
    cpu_seconds: float
    prometheus: tuple[float, float]
    vmalert: tuple[float, float]
    vmalert_cpu_seconds: float


async def measure_services(folder: Path, say: Say) -> list[Figure]:
    """One rule over ever more services."""
    figures: list[Figure] = []
    for count in SERVICES:
        async with _run(folder / str(count), services=count, rules=1) as trial:
            await settle(trial.daemon, 3, _SETTLED_SECONDS)
            figures += await _compare(trial, f"{count:,} services", say)
    return figures


async def measure_rules(folder: Path, say: Say) -> list[Figure]:
    """Ever more rules, each with queries of its own over one service."""
    figures: list[Figure] = []
    for count in RULES:
        async with _run(folder / str(count), services=count, rules=count, every=RULES_EVERY) as trial:
            await settle(trial.daemon, 2 * count, _SETTLED_SECONDS)
            row = f"{count:,} rules"
            missed = await trial.daemon.count("detector_missed_evaluations_total")
            figures += await _compare(trial, row, say)
            missed = await trial.daemon.count("detector_missed_evaluations_total") - missed
            figures.append(Figure(row=row, column="detector, slots missed", value=missed, unit="", compared=False))
    return figures


async def measure_incidents(folder: Path, say: Say) -> list[Figure]:
    """All services break at once: until the last incident stands in the database, and what the next minute costs."""
    figures: list[Figure] = []
    for count in INCIDENTS:
        async with _run(folder / str(count), services=count, rules=1) as trial:
            await settle(trial.daemon, 3, _SETTLED_SECONDS)
            say(f"{count} services break")
            figures += await _break_all(trial, count)
    return figures


async def _break_all(trial: Trial, count: int) -> list[Figure]:
    daemon = trial.daemon
    cpu, wall = daemon.cpu_seconds, await daemon.count("detector_evaluation_duration_seconds_sum")
    for name in trial.fleet.names:
        trial.fleet.fail(name, 0.5)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (last := await daemon.count("detector_incidents_opened_total")) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{last:.0f} of {count} incidents after {_PATIENCE_SECONDS:g} s")
        await asyncio.sleep(0.1)
    opened = await daemon.count("detector_evaluation_duration_seconds_sum") - wall
    spent = daemon.cpu_seconds - cpu
    await asyncio.sleep(10)  # what follows a storm
    cpu, wall = daemon.cpu_seconds, await daemon.count("detector_evaluation_duration_seconds_sum")
    evaluations = await daemon.count("detector_evaluations_total")
    lag = 0.0
    for _ in range(SECONDS):
        lag = max(lag, await daemon.count("detector_event_loop_lag_seconds"))
        await asyncio.sleep(1)
    evaluations = await daemon.count("detector_evaluations_total") - evaluations
    wall = await daemon.count("detector_evaluation_duration_seconds_sum") - wall
    row, note = f"{count:,} incidents", await asyncio.to_thread(_time_notes, daemon.port)
    return [
        Figure(row=row, column="one commit while all are open", value=note, unit="ms"),
        Figure(row=row, column="evaluations until all stand in the database, wall", value=1000 * opened, unit="ms"),
        Figure(row=row, column="CPU until then", value=spent, unit="s"),
        Figure(row=row, column="one evaluation while all are open, wall", value=1000 * wall / evaluations, unit="ms"),
        Figure(row=row, column="CPU while all are open", value=100 * (daemon.cpu_seconds - cpu) / SECONDS, unit="% of a core"),
        Figure(row=row, column="loop late by at most", value=1000 * lag, unit="ms", compared=False),
        Figure(row=row, column="memory", value=daemon.resident_mebibytes, unit="MiB"),
    ]


def _time_notes(port: int) -> float:
    """Milliseconds until a note on an incident is committed, the median of some; the first loads the API and is not counted."""
    incident = get_json(port, "/api/v1/incidents", limit="1")[0]["id"]
    taken = []
    for number in range(NOTES + 1):
        began = time.monotonic()
        request_json(port, "POST", f"/api/v1/incidents/{incident}/note", {"by": "benchmark", "text": f"note {number}"})
        taken.append(1000 * (time.monotonic() - began))
    return statistics.median(taken[1:])


@asynccontextmanager
async def _run(folder: Path, *, services: int, rules: int, every: str = EVERY) -> AsyncIterator[Trial]:
    """Fleet, Prometheus with its own rules, vmalert and the daemon."""
    fleet = Fleet(services)
    await asyncio.to_thread(folder.mkdir)
    alerts = folder / "alerts.yml"
    await asyncio.to_thread(alerts.write_text, yaml.safe_dump(_write_groups(fleet.names, rules, every)))
    async with fleet.scraped(folder / "prometheus", every=EVERY, rule_files=[alerts]) as prometheus:
        port = free_port()
        vmalert = make_vmalert(folder / "vmalert", alerts, prometheus.url, ["127.0.0.1:9"], port=port, every=every)
        async with PagerDuty({"default": "b" * 32}) as account:
            storm = {"DETECTOR_STORM_THRESHOLD": "20"}  # the default
            written = await asyncio.to_thread(write_rules, folder / "rules", copies=rules)
            daemon = Daemon(
                folder / "daemon", written, prometheus=prometheus.url, pagerduty=account.url, every=every, settings=storm
            )
            with vmalert:
                async with daemon:
                    yield Trial(fleet, daemon, vmalert.pid, prometheus.port, port)


def _write_groups(names: Sequence[str], rules: int, every: str) -> dict[str, object]:
    """The condition as Prometheus and vmalert want it: one group a rule, so that groups run beside each other."""
    if rules == 1:
        return {"groups": [{"name": "fleet", "interval": every, "rules": [{"alert": "Errors", "expr": f"{RATIO} > {LIMIT}"}]}]}
    groups = []
    for name in names[:rules]:
        own = RATIO.replace("http_requests_total{", f'http_requests_total{{service="{name}",')
        own = own.replace("http_requests_total[", f'http_requests_total{{service="{name}"}}[')
        groups.append({"name": name, "interval": every, "rules": [{"alert": f"Errors-{name}", "expr": f"{own} > {LIMIT}"}]})
    return {"groups": groups}


async def _compare(trial: Trial, row: str, say: Say) -> list[Figure]:
    """What `SECONDS` of evaluations cost each of the three, an evaluation; memory at the end."""
    before = await _read(trial)
    say(f"{row}, {SECONDS} s")
    await asyncio.sleep(SECONDS)
    after = await _read(trial)
    count = after.evaluations - before.evaluations
    if count <= 0:
        raise RuntimeError(f"{row}: nothing was evaluated in {SECONDS} s")

    def mean(now: tuple[float, float], then: tuple[float, float]) -> float:
        return 1000 * (now[0] - then[0]) / max(1.0, now[1] - then[1])

    vmalert = psutil.Process(trial.vmalert_pid)
    cells = [
        ("detector, one evaluation, wall", 1000 * (after.wall_seconds - before.wall_seconds) / count, "ms"),
        ("detector, one evaluation, CPU", 1000 * (after.cpu_seconds - before.cpu_seconds) / count, "ms"),
        ("detector, memory", trial.daemon.resident_mebibytes, "MiB"),
        ("Prometheus, one evaluation, wall", mean(after.prometheus, before.prometheus), "ms"),
        ("vmalert, one evaluation, wall", mean(after.vmalert, before.vmalert), "ms"),
        (
            "vmalert, one evaluation, CPU",
            1000 * (after.vmalert_cpu_seconds - before.vmalert_cpu_seconds) / max(1.0, after.vmalert[1] - before.vmalert[1]),
            "ms",
        ),
        ("vmalert, memory", float(vmalert.memory_info().rss / MEBIBYTE), "MiB"),
    ]
    own = "detector"
    return [Figure(row=row, column=name, value=value, unit=unit, compared=name.startswith(own)) for name, value, unit in cells]


async def _read(trial: Trial) -> Spent:
    own = await asyncio.to_thread(trial.daemon.get, "/metrics")
    prometheus = await _fetch(trial.prometheus_port)
    vmalert = await _fetch(trial.vmalert_port)
    times = psutil.Process(trial.vmalert_pid).cpu_times()
    return Spent(
        evaluations=read_sum(own, "detector_evaluations_total"),
        wall_seconds=read_sum(own, "detector_evaluation_duration_seconds_sum"),
        cpu_seconds=trial.daemon.cpu_seconds,
        prometheus=(
            read_sum(prometheus, "prometheus_rule_evaluation_duration_seconds_sum"),
            read_sum(prometheus, "prometheus_rule_evaluation_duration_seconds_count"),
        ),
        vmalert=(
            read_sum(vmalert, "vmalert_iteration_duration_seconds_sum"),
            read_sum(vmalert, "vmalert_iteration_duration_seconds_count"),
        ),
        vmalert_cpu_seconds=float(times.user + times.system),
    )


async def _fetch(port: int) -> bytes:
    status, body = await asyncio.to_thread(request, port, "GET", "/metrics")
    if status != 200:
        raise RuntimeError(f"GET /metrics of port {port}: {status}")
    return body


_SAME = "detector, Prometheus' own rule engine and vmalert evaluate the same condition on the same Prometheus at the same time, "
QUESTIONS = (
    Question(
        name="services",
        text="How does the cost of one rule grow with its services?",
        method=f"{_SAME}every {EVERY}, {SECONDS} s a size. detector's wall time and vmalert's hold the query; Prometheus asks "
        "itself. The peers compare inside the query and keep nothing of a healthy service; detector tracks every one of them.",
        minutes=5.0,
        measure=measure_services,
        plot="ms",
    ),
    Question(
        name="rules",
        text="How does the cost grow with the number of rules?",
        method=f"{_SAME}every {RULES_EVERY}, {SECONDS} s a size; every rule asks about one service of its own, detector in "
        "two queries (numerator and denominator), the peers in one. Where many wait, it is for Prometheus, which all ask.",
        minutes=5.0,
        measure=measure_rules,
        plot="ms",
    ),
    Question(
        name="incidents",
        text="What do simultaneous incidents cost?",
        method="All services of one rule fail half of their requests from the same moment on; the storm folds the pages, "
        "every incident keeps its record. A commit is timed through the API, as a note on one incident.",
        minutes=5.5,
        measure=measure_incidents,
        plot="ms",
    ),
)
