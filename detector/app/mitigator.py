"""Runs mitigations that a named human asked for: permission and record inside the transaction, the command outside of it.

Before it: the API. After it: the command runner, then the committer with what came of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.app.shelf import submit_on
from detector.domain.mitigation import Offer, begin_mitigation, end_mitigation, list_offers
from detector.domain.response import ResponseError
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.catalogue import Mitigation
    from detector.domain.incident import Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.command import CommandOutcome, CommandRunner
    from detector.ports.observer import Observer
    from detector.ports.store import Store

RETRY_SECONDS = 2.0


class Mitigator:
    """One run at a time for each incident. A run goes on when whoever asked goes away; `stop` ends what runs."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        runner: CommandRunner,
    ) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._runner = runner
        self._tasks: set[asyncio.Task[None]] = set()

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """What can be run for it, in the order to try. Raises ResponseError, TemporaryError."""
        found = self._committer.book.incidents.get(incident) or await self._store.find_incident(incident)
        if found is None:
            raise ResponseError(f"no incident {incident}; `detector incidents list` shows them")
        return list_offers(found, self._roster.catalogue.find(found.service), self._clock.now())

    async def start(self, incident: str, name: str, by: str, *, again: bool = False) -> Incident:
        """Write down that it runs, start it, and give the incident as it is now. Raises as `list_offers`."""
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        decision = await submit_on(
            self._committer,
            self._store,
            incident,
            lambda book: begin_mitigation(book, catalogue, paging, incident, name, by, now, again=again),
        )
        changed = next(found for found in decision.incidents if found.id == incident)
        way = next(way for way in catalogue.find(changed.service).mitigations if way.name == name)
        task = asyncio.create_task(self._carry_out(changed, way, now), name=f"mitigation {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return changed

    async def stop(self) -> None:
        """End what runs, with its children."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(self, incident: Incident, way: Mitigation, started: float) -> None:
        facts = {"DETECTOR_INCIDENT_ID": incident.id, "DETECTOR_SERVICE": incident.service}
        outcome = await self._runner.run(way.run, facts, timeout_seconds=way.timeout_seconds)
        self._observer.note("mitigation ended", incident=incident.id, mitigation=way.name, outcome=outcome.words, ok=outcome.ok)
        while not await self._record(incident.id, started, outcome):
            await self._clock.sleep(RETRY_SECONDS)

    async def _record(self, incident: str, started: float, outcome: CommandOutcome) -> bool:
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        try:
            await submit_on(
                self._committer,
                self._store,
                incident,
                lambda book: end_mitigation(book, catalogue, paging, incident, started, outcome.words, outcome.output, now),
            )
        except (OutsideError, ResponseError) as fault:
            self._observer.trouble("mitigation", f"what came of it could not be written yet: {describe_fault(fault)}")
            return False
        return True
