"""Diagnoses every incident as it opens, and anew when it relapses; what was found goes into the ticket and the thread.

A few minutes later, while it is still open, it looks once more: an incident that is seen within seconds opens before its signals
tell a change from a blip.

Before it: `committer` opened the incident. After it: `domain.examination` says what that changes. A diagnosis holds nothing up: it
has a task of its own, and a source of samples of its own, so that its queries do not stand before those of the rules.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain.examination import record_diagnosis
from detector.domain.rule import RuleSet
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from detector.app.committer import Committer
    from detector.app.diagnosis import Diagnostician
    from detector.app.roster import Roster
    from detector.domain.check import Diagnosis
    from detector.domain.incident import Book, Decision, Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer

LOOK_SECONDS = 1.0
RETRY_SECONDS = 15.0
AT_ONCE = 3
AGAIN_SECONDS = 240.0
LATE_SECONDS = 900.0  # an incident older than this at our start is not news; its diagnosis would tell of another time


class Examiner:
    """Looks for incidents whose episode has no diagnosis yet."""

    def __init__(
        self,
        committer: Committer,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        diagnostician: Diagnostician,
    ) -> None:
        self._committer = committer
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._diagnostician = diagnostician
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._seen_again: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Look until cancelled. Guard this."""
        try:
            while True:
                self.look()
                await self._clock.sleep(LOOK_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()

    def look(self) -> None:
        """Begin what is due; the gravest first, so many at once."""
        for key, task in list(self._running.items()):
            if task.done():
                del self._running[key]
                task.result()  # what was raised is a fault of ours: the guard shall hear it
        incidents = self._committer.book.incidents.values()
        self._seen_again &= {(incident.id, incident.episode) for incident in incidents}
        due = [incident for incident in incidents if self._wants(incident)]
        due.sort(key=lambda incident: (-incident.severity.rank, incident.detected))
        for incident in due[: max(0, AT_ONCE - len(self._running))]:
            work = self._examine(incident)
            self._running[incident.id, incident.episode] = asyncio.create_task(work, name=f"diagnosis of {incident.id}")

    def _wants(self, incident: Incident) -> bool:
        key = (incident.id, incident.episode)
        age_seconds = self._clock.now() - max(incident.detected, *incident.relapses, 0.0)
        if key in self._running or not incident.status.active or incident.own or incident.folded or age_seconds > LATE_SECONDS:
            return False
        return incident.diagnosed != incident.episode or (age_seconds >= AGAIN_SECONDS and key not in self._seen_again)

    async def _examine(self, incident: Incident) -> None:
        again = incident.diagnosed == incident.episode
        if again:
            self._seen_again.add((incident.id, incident.episode))
        rules = RuleSet(tuple(self._roster.rules), self._roster.catalogue, "")
        found = await self._diagnostician.diagnose(rules, incident.service, self._clock.now())
        while True:
            try:
                await self._committer.submit_action(lambda book: self._record(book, incident, found, again=again))
            except OutsideError as fault:
                self._observer.trouble("diagnosis", f"{incident.id}: {describe_fault(fault)}")
                await self._clock.sleep(RETRY_SECONDS)
            else:
                return

    def _record(self, book: Book, incident: Incident, found: Diagnosis, *, again: bool) -> Decision:
        now = self._clock.now()
        return record_diagnosis(book, self._roster.catalogue, self._paging, incident.id, incident.episode, found, now, again=again)
