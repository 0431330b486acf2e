"""Draws nothing itself: has the samples of an incident's page at hand, and sees to it that looking costs Prometheus little.

Before it: the page of an incident, which many people reload. After it: `darkroom` asks Prometheus, or the archive has what was
kept. One reading at a time for each incident, few at a time for all; an answer serves everybody for some seconds. Whoever asks
waits for a moment only: a Prometheus that hangs delays no page, and the next look has the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from detector.app.darkroom import choose_begin
from detector.domain.incident import Status
from detector.domain.postmortem import Curve, Facts
from detector.ports.error import OutsideError
from detector.ports.plot import Plot

if TYPE_CHECKING:
    from detector.app.darkroom import Darkroom
    from detector.app.roster import Roster
    from detector.domain.incident import Incident
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.postmortem import Archive
    from detector.ports.store import Store

KEEP_SECONDS = 4.0
PATIENCE_SECONDS = 1.0
DEADLINE_SECONDS = 5.0
MOST_CURVES = 6
MOST_AT_ONCE = 2
MOST_INCIDENTS = 32
AFTER_SECONDS = 900.0  # so much of the time after the recovery is shown while it is watched


Shown: TypeAlias = tuple[float, Sequence[Curve]]


@dataclass(frozen=True, slots=True)
class _Reading:
    """Samples under way or at hand. `asked`: monotonic seconds; `before`: what the reading before it gave."""

    task: asyncio.Task[Shown]
    asked: float
    before: Shown | None

    @property
    def shown(self) -> Shown | None:
        """The newest there is. What was drawn before a query failed stands beside the reason, and ends where it ended."""
        if not self.task.done():
            return self.before
        end, curves = self.task.result()
        failed = any(curve.fault for curve in curves) and not any(curve.points for curve in curves)
        if self.before is None or not failed:
            return end, curves
        return end, [*(curve for curve in self.before[1] if curve.points), *curves]


class LivePlotter:
    """Implements ports.plot.Plotter."""

    def __init__(self, darkroom: Darkroom, store: Store, archive: Archive, roster: Roster, clock: Clock) -> None:
        self._darkroom = darkroom
        self._store = store
        self._archive = archive
        self._roster = roster
        self._clock = clock
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._readings: dict[str, _Reading] = {}

    async def plot(self, incident: Incident) -> Plot:
        """What was kept of it where it is closed, else what Prometheus says, at most some seconds old."""
        facts = Facts(incident, (), tuple(await self._store.list_hops(incident.id)), 0.0)
        plot = Plot(choose_begin(incident, self._find_end(incident)), self._find_end(incident), marks=facts.marks)
        if incident.status is Status.CLOSED and (kept := await self._read_kept(incident.id)):
            return _fill(plot, plot.end, kept)
        rules = [rule for name in incident.rules if (rule := self._roster.rule(name)) is not None]
        if not any(alert.rule == rule.name for alert in incident.alerts.values() for rule in rules):
            return plot
        if not self._make_room(incident.id):
            return replace(plot, fault="too many plots are being read at this moment")
        reading = self._renew(incident, rules)
        await asyncio.wait((reading.task,), timeout=PATIENCE_SECONDS)
        if (found := reading.shown) is None:
            return replace(plot, fault=f"no answer within {PATIENCE_SECONDS:g} s, still asking")
        return _fill(plot, *found)

    async def stop(self) -> None:
        """Give up what is still asked."""
        tasks = [reading.task for reading in self._readings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _find_end(self, incident: Incident) -> float:
        now = self._clock.now()
        if incident.resolved is None:
            return now
        return incident.resolved if incident.status is Status.CLOSED else min(now, incident.resolved + AFTER_SECONDS)

    async def _read_kept(self, incident: str) -> Sequence[Curve]:
        try:
            kept = await asyncio.to_thread(self._archive.read_curves, incident)
        except OutsideError:
            return ()
        return kept if any(curve.points for curve in kept) else ()

    def _make_room(self, incident: str) -> bool:
        """Forget the eldest answer where there are too many; False where all of them are still being read."""
        if incident in self._readings or len(self._readings) < MOST_INCIDENTS:
            return True
        eldest = next((known for known, reading in self._readings.items() if reading.task.done()), None)
        if eldest is not None:
            self._readings.pop(eldest)
        return eldest is not None

    def _renew(self, incident: Incident, rules: Sequence[Rule]) -> _Reading:
        known, now = self._readings.get(incident.id), self._clock.monotonic()
        if known is None or (known.task.done() and now - known.asked >= KEEP_SECONDS):
            self._readings.pop(incident.id, None)
            task = asyncio.create_task(self._read(incident, rules), name="plot")
            known = self._readings[incident.id] = _Reading(task, now, None if known is None else known.shown)
        return known

    async def _read(self, incident: Incident, rules: Sequence[Rule]) -> Shown:
        async with self._turns:
            end = self._find_end(incident)
            found = await self._darkroom.trace(incident, rules, end, most=MOST_CURVES, deadline_seconds=DEADLINE_SECONDS)
            # steps lie on a grid, the last of them up to one step in the future, where Prometheus repeats the present
            return end, [replace(curve, points=tuple(point for point in curve.points if point[0] <= end)) for curve in found]


def _fill(plot: Plot, end: float, curves: Sequence[Curve]) -> Plot:
    """Widened to whatever the curves and marks show, so that the oldest answer at hand still fits."""
    shown = tuple(curve for curve in curves if curve.points)
    moments = [at for curve in shown for at in (curve.points[0][0], curve.points[-1][0])] + [mark.at for mark in plot.marks]
    fault = next((curve.fault for curve in curves if curve.fault), "")
    return Plot(min([plot.begin, *moments]), max([end, *moments]), shown, plot.marks, fault)
