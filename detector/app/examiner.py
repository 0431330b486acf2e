"""Diagnoses every incident as it opens, and anew when it relapses; what was found goes into the ticket, the thread and the page.

Results are written down as they come, several at once: what answered in the first moments, then what came since, then the whole
with its suspects. A few minutes later, while it is still open, it looks once more: an incident that is seen within seconds opens
before its signals tell a change from a blip.

Before it: `committer` opened the incident. After it: `domain.examination` says what that changes. A diagnosis holds nothing up: it
has a task of its own, and a source of samples of its own, so that its queries do not stand before those of the rules.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault, wait_for
from detector.domain.examination import record_diagnosis, record_results
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.annotator import Annotator
    from detector.app.committer import Committer
    from detector.app.diagnosis import Diagnostician
    from detector.app.roster import Roster
    from detector.domain.check import Check, Diagnosis, Result
    from detector.domain.incident import Book, Decision, Incident
    from detector.domain.ledger import Paging
    from detector.domain.suspect import Suspect
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer

LOOK_SECONDS = 1.0
FIRST_SECONDS, BATCH_SECONDS = 3.0, 5.0  # most checks answer within the first; a thread is not to be told of each by itself
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
        annotator: Annotator | None = None,
    ) -> None:
        self._committer = committer
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._diagnostician = diagnostician
        self._annotator = annotator
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
        incidents = self._committer.own_incidents
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
        arrived: list[Result] = []
        work = self._diagnostician.diagnose(self._roster.rule_set, incident.service, self._clock.now(), on_result=arrived.append)
        asking = asyncio.create_task(work, name=f"checks of {incident.id}")
        try:
            told = await self._tell_early(incident, asking, [] if again else arrived)
            found = await asking
        finally:
            asking.cancel()
        while True:
            try:
                await self._committer.submit_action(lambda book: self._record(book, incident, found, told, again=again))
            except OutsideError as fault:
                self._observer.trouble("diagnosis", f"{incident.id}: {describe_fault(fault)}")
                await self._clock.sleep(RETRY_SECONDS)
            else:
                break
        if not again:
            self._note(incident, [result for result in found.results if result.check not in told], found.suspects)

    async def _tell_early(self, incident: Incident, asking: asyncio.Task[Diagnosis], arrived: list[Result]) -> frozenset[Check]:
        """Record what comes while the rest is asked; the checks that were recorded. A store that fails leaves it for the end."""
        told: frozenset[Check] = frozenset()
        pause_seconds = FIRST_SECONDS
        while not await wait_for((asking,), pause_seconds, self._clock):
            pause_seconds = BATCH_SECONDS
            results = tuple(arrived)
            if len(results) == len(told):
                continue
            try:
                await self._committer.submit_action(partial(self._record_early, incident=incident, results=results, told=told))
            except OutsideError as fault:
                self._observer.trouble("diagnosis", f"{incident.id}: {describe_fault(fault)}")
                continue
            self._note(incident, [result for result in results if result.check not in told])
            told = frozenset(result.check for result in results)
        return told

    def _note(self, incident: Incident, results: Sequence[Result], suspects: Sequence[Suspect] = ()) -> None:
        if self._annotator is not None:
            self._annotator.note(incident.id, results, suspects)

    def _record_early(self, book: Book, *, incident: Incident, results: Sequence[Result], told: frozenset[Check]) -> Decision:
        catalogue, now = self._roster.catalogue, self._clock.now()
        return record_results(book, catalogue, self._paging, incident.id, incident.episode, results, told, now)

    def _record(self, book: Book, incident: Incident, found: Diagnosis, told: frozenset[Check], *, again: bool) -> Decision:
        catalogue, now = self._roster.catalogue, self._clock.now()
        return record_diagnosis(book, catalogue, self._paging, incident.id, incident.episode, found, now, again=again, told=told)
