"""Runs the probes of incidents whose metrics have recovered; only when all pass at once is the incident resolved.

Before it: `recovery` set `verifying`. After it: `response.record_probes`. A round that fails is repeated every 30 s, until one
passes or an alert fires again; after ten minutes that is said once in the thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain import response
from detector.domain.incident import Decision
from detector.domain.ledger import DETECTOR
from detector.domain.recovery import plan_verifications
from detector.ports.error import OutsideError
from detector.ports.probe import ProbeResult, ProbeTarget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import Book, Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.probe import Probe

LOOK_SECONDS = 1.0
RETRY_SECONDS = 30.0
PATIENCE_SECONDS = 600.0
MOST_AT_ONCE = 8


@dataclass(slots=True)
class _Round:
    """The rounds of one verification: when the next is due (monotonic), and whether the long wait was told."""

    due: float
    told: bool = False
    task: asyncio.Task[None] | None = None


class Verifier:
    """Each incident has its own rounds, so that a slow probe holds up no other incident."""

    def __init__(
        self, committer: Committer, roster: Roster, paging: Paging, clock: Clock, observer: Observer, probe: Probe
    ) -> None:
        self._committer = committer
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._probe = probe
        self._rounds: dict[tuple[str, float], _Round] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        """Look until cancelled. Guard this."""
        try:
            while True:
                self.look()
                await self._clock.sleep(LOOK_SECONDS)
        finally:
            for known in self._rounds.values():
                if known.task is not None:
                    known.task.cancel()

    def look(self) -> None:
        """Start the rounds that are due; forget those of incidents that wait no more."""
        now = self._clock.monotonic()
        waiting = {
            (one.id, one.verifying): one for one in self._committer.own_incidents if one.verifying is not None and one.status.active
        }
        for key in [key for key, known in self._rounds.items() if key not in waiting and (known.task is None or known.task.done())]:
            del self._rounds[key]
        for key, incident in waiting.items():
            known = self._rounds.setdefault(key, _Round(now))
            if known.due <= now and (known.task is None or known.task.done()):
                known.due = now + RETRY_SECONDS
                known.task = asyncio.create_task(self._run_round(incident, known), name=f"probes {incident.id}")

    async def _run_round(self, incident: Incident, known: _Round) -> None:
        items = plan_verifications(self._roster.catalogue, incident)
        probes = {name: item for name, item in items.items() if item.get("url")}
        try:
            checked = await asyncio.gather(*(self._check(item) for item in probes.values()))
            results = dict(zip(probes, checked, strict=True))
            await self._record(incident, results)
            await self._tell_long(incident, results, known)
        except (OutsideError, response.ResponseError) as fault:
            self._observer.trouble("probes", f"{incident.id}: {describe_fault(fault)}")

    async def _check(self, item: Mapping[str, Any]) -> ProbeResult:
        async with self._places:
            target = ProbeTarget(item["url"], tuple(item.get("expect") or (200,)), item.get("contains", ""))
            return await self._probe.check(target)

    async def _record(self, incident: Incident, results: Mapping[str, ProbeResult]) -> None:
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        told = {name: (result.ok, result.message) for name, result in results.items()}

        def decide(book: Book) -> Decision:
            held = book.incidents.get(incident.id)
            if held is None or held.verifying != incident.verifying:
                return Decision()  # it fired again, or was ended by hand, while the probes ran
            return response.record_probes(book, catalogue, paging, incident.id, told, now)

        await self._committer.submit_action(decide)

    async def _tell_long(self, incident: Incident, results: Mapping[str, ProbeResult], known: _Round) -> None:
        failing = [f"{name}: {result.message}" for name, result in results.items() if not result.ok]
        since = incident.verifying
        now = self._clock.now()
        if known.told or not failing or since is None or now - since < PATIENCE_SECONDS:
            return
        known.told = True
        catalogue, paging = self._roster.catalogue, self._paging
        minutes = PATIENCE_SECONDS / 60
        message = f"metrics have recovered, and probes still fail after {minutes:.0f} min, so it stays open: {'; '.join(failing)}"

        def decide(book: Book) -> Decision:
            held = book.incidents.get(incident.id)
            if held is None or held.verifying != since:
                return Decision()
            return response.update(book, catalogue, paging, incident.id, DETECTOR, now, message=message)

        await self._committer.submit_action(decide)
