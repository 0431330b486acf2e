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
    from benchmarks.question import Say
    from benchmarks.sidebyside.verdict import Verdict
    from benchmarks.sidebyside.world import Make

FILE = Path(__file__).resolve().parents[2] / "docs" / "reliability-peers.json"
COLUMNS = {"detector": "detector", "alertmanager": "Prometheus + Alertmanager", "vmalert": "vmalert + Alertmanager"}
_SPREAD_SECONDS = 2.0  # between two starts


async def measure(folder: Path, say: Say, *, pace: Pace = FULL) -> list[Figure]:
    """Play every row to every product; the file is written by a full run only."""
    began, load = time.monotonic(), os.getloadavg()[0]
    places = [(row, column) for row in ROWS for column in COLUMNS]
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
    verdicts = {place: outcome for place, outcome in found.items() if isinstance(outcome, tuple)}
    for (row, column), (verdict, told) in verdicts.items():
        print(f"{row.number:>2} {column:<12} {told}: {verdict.describe()}")
    if pace is FULL:
        FILE.write_text(json.dumps(_describe(verdicts, load), indent=2) + "\n")
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


async def _try(row: Row, column: str, folder: Path, pace: Pace, wait_seconds: float) -> tuple[Verdict, str] | None:
    make = _choose(row, column, folder)
    if make is None:
        return None
    await asyncio.sleep(wait_seconds)
    async with World(make, list_services(row, pace)) as world:
        told = await row.play(world, pace)
        return world.judge(), told


def _choose(row: Row, column: str, folder: Path) -> Make | None:
    """How the product is made; None where it has no such thing."""
    if column == "detector":
        return None if row.replicas > 1 else partial(Detector, folder)
    return partial(Peer, folder, vmalert=column == "vmalert", replicas=row.replicas)


def _describe(verdicts: dict[tuple[Row, str], tuple[Verdict, str]], load: float) -> dict[str, object]:
    rows: dict[str, object] = {}
    for row in ROWS:
        cells = {}
        for column in COLUMNS:
            if (row, column) in verdicts:
                verdict, told = verdicts[row, column]
                cells[column] = {"result": "fails" if verdict.faults else "holds", "what": f"{told}: {verdict.describe()}"}
            else:
                cells[column] = {"result": "not run", "what": "its replicas are held by tests of their own"}
        rows[row.number] = cells
    about = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "load": round(load, 1),
        "versions": list_versions(),
        "seed": FULL.seed,
        "settings": (
            f"scrape and evaluation every {EVERY}, window {WINDOW}, for {FOR_SECONDS:g} s; Alertmanager group_wait 1s, "
            f"group_interval 10s; an alert is sent again every {RESEND} (Prometheus' default, given to vmalert too); "
            "vmalert keeps its state in VictoriaMetrics"
        ),
    }
    return {**rows, "about": about}


QUESTION = Question(
    name="sidebyside",
    text="What do the same faults do to detector and to its peers?",
    method=(
        "Counted: second alerts, resolves while it was broken or unknown, pages lost, alerts left open. Every product has "
        "its own Prometheus, fleet and PagerDuty stand-in; same query, threshold, `for`, interval and seed. In "
        "words: docs/reliability.md."
    ),
    minutes=12.0,
    measure=measure,
)
QUICK_QUESTION = replace(QUESTION, minutes=6.0, measure=partial(measure, pace=QUICK))
