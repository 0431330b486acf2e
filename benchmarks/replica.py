"""What replicas make of the work of one: 3,000 rules shared by three daemons on one PostgreSQL, beside one daemon alone.

Before it: `fleet`. Either part has a real Prometheus and a real PostgreSQL of its own, and the same rules.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.daemon import Daemon
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question
from detector.domain.shard import SHARDS
from tests.kit.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from benchmarks.question import Say

RULES = 3_000
REPLICAS = 3
EVERY_SECONDS = 30
ROUNDS = 2  # each rule is due that often while it is measured
_SCRAPE = "15s"
_READY_SECONDS = 240.0  # three daemons and a Prometheus on two cores
_SETTLED_SECONDS = 180.0
_COUNTED = ("detector_evaluations_total", "detector_missed_evaluations_total", "detector_leader")
_ACTIVITY = "SELECT xact_commit, active_time FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one replica counts: its evaluations by rule, slots missed, shards it leads."""

    evaluations: dict[str, float]
    missed: float
    shards: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Counters of one moment: CPU seconds of each replica; of the database commits, milliseconds in statements, CPU seconds."""

    replicas: tuple[float, ...]
    commits: float
    busy_milliseconds: float
    database: float


async def measure(folder: Path, say: Say) -> list[Figure]:
    """One alone, then three."""
    rules = await asyncio.to_thread(write_rules, folder / "rules", copies=RULES, alike=False)
    figures: list[Figure] = []
    for count in (1, REPLICAS):
        async with _run(folder / str(count), rules, count, say) as (daemons, postgres):
            figures += await _watch(daemons, postgres, say)
    return figures


@asynccontextmanager
async def _run(folder: Path, rules: Path, count: int, say: Say) -> AsyncIterator[tuple[Sequence[Daemon], Postgres]]:
    """So many replicas, each with its share of the shards, every rule evaluated where it is led."""
    await asyncio.to_thread(folder.mkdir)
    async with AsyncExitStack() as stack:
        prometheus = await stack.enter_async_context(Fleet(RULES).scraped(folder / "prometheus", every=_SCRAPE))
        postgres = Postgres()
        await asyncio.to_thread(postgres.__enter__)
        stack.push_async_callback(asyncio.to_thread, postgres.__exit__)
        daemons = [
            Daemon(
                folder / str(number),
                rules,
                prometheus=prometheus.url,
                every=f"{EVERY_SECONDS}s",
                settings={"DETECTOR_DATABASE_URL": postgres.url()},
                ready_seconds=_READY_SECONDS,
            )
            for number in range(count)
        ]
        for number, daemon in enumerate(daemons, 1):
            say(f"replica {number} of {count} starts")
            await stack.enter_async_context(daemon)
        say(f"{count} share the shards")
        await _wait_shared(daemons)
        await asyncio.sleep(1.5 * EVERY_SECONDS)
        yield daemons, postgres


async def _wait_shared(daemons: Sequence[Daemon]) -> None:
    most, deadline = -(-SHARDS // len(daemons)), time.monotonic() + _SETTLED_SECONDS
    while True:
        led = [(await _look(daemon)).shards for daemon in daemons]
        if sum(led) == SHARDS and max(led) <= most:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{led} of {SHARDS} shards are led after {_SETTLED_SECONDS:g} s")
        await asyncio.sleep(2)


async def _watch(daemons: Sequence[Daemon], postgres: Postgres, say: Say) -> list[Figure]:
    """What the rounds cost each replica, and all of them together with the database."""
    before = [await _look(daemon) for daemon in daemons]
    then, began = await asyncio.to_thread(_read_spent, daemons, postgres), time.monotonic()
    say(f"{len(daemons)} with {RULES:,} rules, {ROUNDS * EVERY_SECONDS} s")
    await asyncio.sleep(ROUNDS * EVERY_SECONDS)
    now, seconds = await asyncio.to_thread(_read_spent, daemons, postgres), time.monotonic() - began
    after = [await _look(daemon) for daemon in daemons]
    rows = []
    for number, (early, late) in enumerate(zip(before, after, strict=True)):
        grown = {rule: count - early.evaluations.get(rule, 0.0) for rule, count in late.evaluations.items()}
        rows.append(
            {
                "rules": float(sum(count > 0 for count in grown.values())),
                "evaluations": sum(grown.values()),
                "slots missed": late.missed - early.missed,
                "CPU": 100 * (now.replicas[number] - then.replicas[number]) / seconds,
                "memory": daemons[number].resident_mebibytes,
            }
        )
    together = {column: sum(row[column] for row in rows) for column in rows[0]} | {
        "CPU an evaluation": 1000 * (sum(now.replicas) - sum(then.replicas)) / max(1.0, sum(row["evaluations"] for row in rows)),
        "commits a second": (now.commits - then.commits) / seconds,
        "time in the database": (now.busy_milliseconds - then.busy_milliseconds) / (10 * seconds),
        "CPU of the database": 100 * (now.database - then.database) / seconds,
    }
    if len(daemons) == 1:
        return _make_row("one replica alone", together)
    parts = [_make_row(f"of {len(daemons)}, replica {number}", row) for number, row in enumerate(rows, 1)]
    return [*_make_row(f"{len(daemons)} replicas together", together), *(figure for part in parts for figure in part)]


_UNITS = {
    "CPU": "% of a core",
    "memory": "MiB",
    "CPU an evaluation": "ms",
    "time in the database": "% of the time",
    "CPU of the database": "% of a core",
}
_DESCRIBED = ("rules", "evaluations", "slots missed")  # they tell of the run


def _make_row(row: str, cells: dict[str, float]) -> list[Figure]:
    return [
        Figure(row=row, column=column, value=value, unit=_UNITS.get(column, ""), compared=column not in _DESCRIBED)
        for column, value in cells.items()
    ]


async def _look(daemon: Daemon) -> Sight:
    """Of a page of some ten thousand lines the few that are counted."""
    page = (await asyncio.to_thread(daemon.get, "/metrics")).decode()
    lines = "".join(f"{line}\n" for line in page.splitlines() if line.startswith(_COUNTED))
    evaluations: dict[str, float] = {}
    sums = dict.fromkeys(_COUNTED, 0.0)
    for sample in (sample for family in text_string_to_metric_families(lines) for sample in family.samples):
        sums[sample.name] += sample.value
        if sample.name == _COUNTED[0]:
            evaluations[sample.labels["rule"]] = evaluations.get(sample.labels["rule"], 0.0) + sample.value
    return Sight(evaluations, sums[_COUNTED[1]], sums[_COUNTED[2]])


def _read_spent(daemons: Sequence[Daemon], postgres: Postgres) -> Spent:
    with psycopg.connect(postgres.url()) as connection:
        row = connection.execute(_ACTIVITY).fetchone()
    if row is None:
        raise RuntimeError("PostgreSQL has no statistics of its own database")
    cpu = tuple(daemon.cpu_seconds for daemon in daemons)
    return Spent(cpu, float(row[0]), float(row[1]), _sum_cpu(psutil.Process(postgres.process.pid)))


def _sum_cpu(server: psutil.Process) -> float:
    """CPU seconds of a server and of its children, those that have ended included."""
    spent = 0.0
    for child in server.children():
        with suppress(psutil.NoSuchProcess):  # a session may end meanwhile: its time is among that of the ended ones
            times = child.cpu_times()
            spent += times.user + times.system
    own = server.cpu_times()
    return float(spent + own.user + own.system + own.children_user + own.children_system)


QUESTION = Question(
    name="replicas",
    text="What do three replicas make of 3,000 rules?",
    method=f"One daemon alone, then {REPLICAS}, each time with {RULES:,} rules every {EVERY_SECONDS} s, on a PostgreSQL and a "
    f"Prometheus of their own; {ROUNDS * EVERY_SECONDS} s are counted, in which {RULES * ROUNDS:,} evaluations are due. Every rule "
    "asks about one service of its own in two queries that cannot be merged with those of others: what is asked as one query is "
    "evaluated by one replica. Time in the database: of all sessions, as it counts its statements itself.",
    minutes=6.0,
    measure=measure,
)
