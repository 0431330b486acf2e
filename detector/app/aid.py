"""Joins what answers ports.aid.Aid: mitigations, what is learned afterwards, and the trail of an incident."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.diagnosis import Diagnostician
    from detector.app.drill import Drill
    from detector.app.historian import Historian
    from detector.app.mitigator import Mitigator
    from detector.app.roster import Roster
    from detector.domain.check import Diagnosis
    from detector.domain.exercise import DrillReport
    from detector.domain.incident import Incident
    from detector.domain.mitigation import Offer
    from detector.domain.postmortem import Hop, Lesson
    from detector.ports.clock import Clock
    from detector.ports.postmortem import FollowUp
    from detector.ports.store import Store

LIVE_SECONDS = 60.0  # as `detector diagnose` has it


class FirstAid:
    """Implements ports.aid.Aid."""

    def __init__(
        self,
        mitigator: Mitigator,
        historian: Historian,
        drill: Drill,
        store: Store,
        diagnostician: Diagnostician,
        roster: Roster,
        clock: Clock,
    ) -> None:
        self._mitigator = mitigator
        self._historian = historian
        self._drill = drill
        self._store = store
        self._diagnostician = diagnostician
        self._roster = roster
        self._clock = clock
        self._asking = asyncio.Lock()

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """What can be run."""
        return await self._mitigator.list_offers(incident)

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Start one."""
        return await self._mitigator.start(incident, name, by, again=again)

    async def read_postmortem(self, incident: str) -> tuple[str | None, str | None, Lesson | None]:
        """Document, plot, and where it stands."""
        return await self._historian.read(incident)

    async def finish_postmortem(self, incident: str, by: str) -> Lesson:
        """Somebody has filled it in."""
        return await self._historian.finish(incident, by)

    async def list_follow_ups(self) -> Sequence[FollowUp]:
        """Of all documents."""
        return await self._historian.list_follow_ups()

    async def start_drill(self, by: str) -> DrillReport:
        """Begin a drill."""
        return await self._drill.start(by)

    async def read_drill(self) -> tuple[DrillReport | None, float | None]:
        """How it goes, and when one last passed."""
        return self._drill.report, await self._drill.find_last_success()

    async def list_hops(self, incident: str) -> Sequence[Hop]:
        """How its notices fared."""
        return await self._store.list_hops(incident)

    async def diagnose(self, service: str, at: float | None) -> Diagnosis:
        """Ask now; who comes meanwhile waits."""
        async with self._asking:
            now = self._clock.now()
            moment = now if at is None else at
            return await self._diagnostician.diagnose(self._roster.rule_set, service, moment, live=abs(now - moment) < LIVE_SECONDS)
