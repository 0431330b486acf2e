"""Runs drills: when a person asks, and on the schedule of the settings. One at a time; the result is kept and told to a metric.

Before it: the API, the clock. After it: the committer queues the notices, the outbox tells what became of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain import exercise
from detector.domain.exercise import DrillHop, DrillReport
from detector.domain.incident import NoticeKind
from detector.domain.response import ResponseError
from detector.domain.severity import Severity
from detector.ports.channel import Channel, Rehearsing
from detector.ports.error import OutsideError
from detector.ports.store import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Store

DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.25
LOOK_SECONDS = 60.0
SCHEDULER = "schedule"


class Drill:
    """`every_seconds` None: only when somebody asks. `tell` hears when a drill passed, at the start when one last did."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        channels: Sequence[Channel],
        *,
        tell: Callable[[float], None],
        every_seconds: float | None = None,
    ) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._channels = {channel.name: channel for channel in channels}
        self._tell = tell
        self._every_seconds = every_seconds
        self._task: asyncio.Task[None] | None = None
        self.report: DrillReport | None = None

    async def run(self) -> None:
        """Take over when one last passed, then keep the schedule. Guard this."""
        last = await self.find_last_success()
        if last is not None:
            self._tell(last)
        while self._every_seconds is not None:
            if not self._committer.follows_up(exercise.DRILL_ID):
                await self._clock.sleep(POLL_SECONDS)
                continue
            events = await self._store.timeline(exercise.DRILL_ID)
            began = max((event.at for event in events), default=float("-inf"))
            if self._clock.now() - began >= self._every_seconds and not self._is_running():
                await self.start(SCHEDULER)
            await self._clock.sleep(min(LOOK_SECONDS, self._every_seconds))
        await asyncio.Event().wait()

    async def find_last_success(self) -> float | None:
        """When one last passed. Raises TemporaryError."""
        return exercise.find_last_success(await self._store.timeline(exercise.DRILL_ID))

    async def start(self, by: str) -> DrillReport:
        """Begin one; `report` tells how it goes. Raises ResponseError while another runs, TemporaryError."""
        if self._is_running():
            raise ResponseError("a drill is under way; wait for its end")
        now = self._clock.now()
        report = self.report = DrillReport(f"drill-{int(now * 1000)}", now, by, None)
        catalogue, paging = self._roster.catalogue, self._paging
        await self._committer.submit_action(lambda _: exercise.open_drill(report.id, catalogue, paging, by, now))
        self._task = asyncio.create_task(self._carry_out(report), name="drill")
        return report

    async def stop(self) -> None:
        """Give up what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _carry_out(self, report: DrillReport) -> None:
        try:
            hops = await self._await_hops(report, NoticeKind.TRIGGER)
            catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
            await self._committer.submit_action(lambda _: exercise.end_drill(report.id, catalogue, paging, now))
            public = [await self._rehearse(channel, route, report) for channel, route in exercise.list_public(self._paging)]
            ended = await self._await_hops(report, NoticeKind.RESOLVE, {(hop.channel, hop.route) for hop in hops if not hop.ok})
            joined = tuple(opened if not opened.ok else _add_end(opened, end) for opened, end in zip(hops, ended, strict=True))
            await self._conclude(replace(report, hops=(*joined, *public)))
        except OutsideError as fault:
            self._observer.trouble("drill", describe_fault(fault))
            self.report = replace(report, passed=False, hops=(DrillHop("store", "", ok=False, detail=describe_fault(fault)),))

    async def _await_hops(
        self, report: DrillReport, kind: NoticeKind, given_up: Collection[tuple[str, str]] = ()
    ) -> tuple[DrillHop, ...]:
        """Until each has an outcome, except those given up, or the deadline has passed."""
        until = self._clock.monotonic() + DEADLINE_SECONDS
        while True:
            hops = exercise.judge_hops(self._paging, await self._store.list_hops(report.id), kind=kind)
            if all(hop.ok is not None or (hop.channel, hop.route) in given_up for hop in hops) or self._clock.monotonic() >= until:
                return tuple(replace(hop, ok=bool(hop.ok)) for hop in hops)
            self.report = replace(report, hops=hops)
            await self._clock.sleep(POLL_SECONDS)

    async def _rehearse(self, channel: str, route: str, report: DrillReport) -> DrillHop:
        there = self._channels.get(channel)
        if not isinstance(there, Rehearsing):
            return DrillHop(channel, route, ok=False, detail="not configured")
        now = self._clock.now()
        values = exercise.make_facts(report.id, self._roster.catalogue, self._paging, now, over=False)
        delivery = Delivery(report.id, report.id, 0, NoticeKind.TRIGGER, channel, route, report.id, Severity.LOW, now, values)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await there.rehearse(delivery, now=now)
        except (OutsideError, TimeoutError) as fault:
            return DrillHop(channel, route, ok=False, detail=describe_fault(fault))
        return DrillHop(channel, route, ok=True, detail="login and rendering work; nothing was sent")

    async def _conclude(self, report: DrillReport) -> None:
        now = self._clock.now()
        self.report = done = replace(report, passed=bool(report.hops) and all(hop.ok for hop in report.hops))
        await self._committer.submit_action(lambda _: exercise.conclude(done, now))
        if done.passed:
            self._tell(now)


def _add_end(opened: DrillHop, end: DrillHop) -> DrillHop:
    return opened if end.ok else replace(opened, ok=False, detail=f"its end did not arrive: {end.detail}")
