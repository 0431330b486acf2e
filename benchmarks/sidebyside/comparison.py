"""The same faults, three products, one oracle: all trials at once, for they wait most of the time.

The verdicts in words go to docs/reliability-peers.json, where the table of faults reads them.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.question import Figure, Question
from benchmarks.sidebyside.condition import EVERY, FOR_SECONDS, WINDOW
from benchmarks.sidebyside.product import RESEND, Detector, Peer, list_versions
from benchmarks.sidebyside.row import FULL, QUICK, ROWS, Pace, Row, list_services
from benchmarks.sidebyside.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.question import Say
    from benchmarks.sidebyside.verdict import Verdict
    from benchmarks.sidebyside.world import Make

FILE = Path(__file__).resolve().parents[2] / "docs" / "reliability-peers.json"
COLUMNS = {"detector": "detector", "alertmanager": "Prometheus + Alertmanager", "vmalert": "vmalert + Alertmanager"}
_SPREAD_SECONDS = 2.0  # between two starts


async def measure(folder: Path, say: Say, *, pace: Pace = FULL, rows: Sequence[Row] = ROWS) -> list[Figure]:
    """Play these rows to every product; the file is written by a run at full length only, the rows that were played."""
    began, load = time.monotonic(), os.getloadavg()[0]
    places = [(row, column) for row in rows for column in COLUMNS]
    tasks = [
        asyncio.create_task(_try(row, column, folder / f"{row.number}-{column}", pace, place * _SPREAD_SECONDS))
        for place, (row, column) in enumerate(places)
    ]
    try:
        while not all(task.done() for task in tasks):
            say(f"{sum(task.done() for task in tasks)} of {len(tasks)} trials ended after {time.monotonic() - began:.0f} s")
            await asyncio.sleep(1)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    found = dict(zip(places, outcomes, strict=True))
    for (row, column), outcome in found.items():
        if isinstance(outcome, BaseException):
            raise RuntimeError(f"fault {row.number}, {column}: {outcome!r}") from outcome  # noqa: TRY004 - it is what a trial raised
    verdicts = {place: outcome for place, outcome in found.items() if not isinstance(outcome, BaseException)}
    for (row, column), (verdict, told) in verdicts.items():
        print(f"{row.number:>2} {column:<12} {told}: {verdict.describe()}")
    if pace is FULL:
        known = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.write_text(json.dumps(_merge(known, _describe(verdicts, load)), indent=2) + "\n")
    return [
        Figure(
            row=f"{row.number}: {row.text}",
            column=COLUMNS[column],
            value=float(verdict.faults),
            unit="",
            budget=0.0 if column == "detector" else None,
        )
        for (row, column), (verdict, _) in verdicts.items()
    ]


def choose_rows(numbers: Sequence[str]) -> Question:
    """The question for these faults alone; ValueError names one that is not played."""
    known = {row.number: row for row in ROWS}
    if unknown := [number for number in numbers if number not in known]:
        raise ValueError(f"fault {unknown[0]} is not played side by side; there are {', '.join(known)}")
    return replace(QUESTION, measure=partial(measure, rows=[known[number] for number in dict.fromkeys(numbers)]))


async def _try(row: Row, column: str, folder: Path, pace: Pace, wait_seconds: float) -> tuple[Verdict, str]:
    make = _choose(row, column, folder)
    await asyncio.sleep(wait_seconds)
    async with World(make, list_services(row, pace)) as world:
        told = await row.play(world, pace)
        return world.judge(), told


def _choose(row: Row, column: str, folder: Path) -> Make:
    """How the product is made."""
    if column == "detector":
        return partial(Detector, folder, replicas=row.replicas)
    return partial(Peer, folder, vmalert=column == "vmalert", replicas=row.replicas)


def _describe(verdicts: Mapping[tuple[Row, str], tuple[Verdict, str]], load: float) -> dict[str, dict[str, object]]:
    """What was played, by the number of the fault, and under what ("about")."""
    played = {"at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "load": round(load, 1)}
    rows: dict[str, dict[str, object]] = {}
    for (row, column), (verdict, told) in verdicts.items():
        result = "fails" if verdict.faults else "holds"
        cell = {"result": result, "what": f"{told}: {verdict.describe()}"}
        rows.setdefault(row.number, {"played": played})[column] = cell
    about = {
        "versions": list_versions(),
        "seed": FULL.seed,
        "settings": (
            f"scrape and evaluation every {EVERY}, window {WINDOW}, for {FOR_SECONDS:g} s; Alertmanager group_wait 1s, "
            f"group_interval 10s; an alert is sent again every {RESEND} (Prometheus' default, given to vmalert too); "
            "vmalert keeps its state in VictoriaMetrics; detector's replicas share a PostgreSQL, leases at their default"
        ),
    }
    return {**rows, "about": about}


def _merge(known: Mapping[str, object], found: Mapping[str, object]) -> dict[str, object]:
    """What is known with what was found in its place: rows in the order of the faults, then what is about all."""
    merged = {**known, **found}
    return {name: merged[name] for name in (*(row.number for row in ROWS), "about") if name in merged}


QUESTION = Question(
    name="sidebyside",
    text="What do the same faults do to detector and to its peers?",
    method=(
        "Counted: second alerts, resolves while it was broken or unknown, pages lost, alerts left open. Every product has "
        "its own Prometheus, fleet and PagerDuty stand-in; same query, threshold, `for`, interval and seed. In "
        "words: docs/reliability.md, which also has what was played since; an empty cell was not played then."
    ),
    minutes=12.0,
    measure=measure,
)
QUICK_QUESTION = replace(QUESTION, minutes=6.0, measure=partial(measure, pace=QUICK))
