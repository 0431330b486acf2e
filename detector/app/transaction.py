"""What the committer writes at once: the jobs that share a transaction, and the book that results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from detector.domain.alert import Transition
from detector.domain.catalogue import Catalogue
from detector.domain.incident import FIXED_IDS, Book, Decision, Status
from detector.domain.mute import Mute
from detector.ports.error import TemporaryError
from detector.ports.store import AlertRecord


def keep_memory() -> None:
    """Nothing in memory depends on the commit."""


def fold_book(book: Book, decision: Decision) -> Book:
    """The book after a decision: closed incidents leave it, except those whose id is fixed."""
    if not decision.incidents:
        return book
    incidents = dict(book.incidents)
    for incident in decision.incidents:
        if incident.status is Status.CLOSED and incident.id not in FIXED_IDS:
            incidents.pop(incident.id, None)
        else:
            incidents[incident.id] = incident
    return Book(incidents)


def add_lost(decision: Decision, whole: Book, stored: Book) -> Decision:
    """The decision, with the incidents of the whole book that the store has not and that it does not change itself."""
    changed = {incident.id for incident in decision.incidents}
    lost = [each for identity, each in whole.incidents.items() if identity not in stored.incidents and identity not in changed]
    return replace(decision, incidents=(*lost, *decision.incidents)) if lost else decision


@dataclass(frozen=True, slots=True)
class Job:
    """What one submitter wants written. `swap` makes it the present in memory; `done` ends when that has happened."""

    records: Sequence[AlertRecord]
    transitions: Sequence[Transition]
    swap: Callable[[], None]
    done: asyncio.Future[None]


@dataclass(slots=True)
class Write:
    """One transaction to be. Its moment, catalogue and mutes stay the same however often it is tried, so that its ids do too."""

    jobs: tuple[Job, ...]
    catalogue: Catalogue
    now: float
    mutes: tuple[Mute, ...] = ()
    book: Book = field(default_factory=Book)
    _released: bool = False

    @property
    def records(self) -> list[AlertRecord]:
        """Alert rows of all jobs."""
        return [record for job in self.jobs for record in job.records]

    @property
    def transitions(self) -> list[Transition]:
        """Transitions of all jobs, in the order they came."""
        return [transition for job in self.jobs for transition in job.transitions]

    def release(self) -> None:
        """Swap memory and let the submitters go on; once."""
        if self._released:
            return
        self._released = True
        for job in self.jobs:
            job.swap()
            if not job.done.done():
                job.done.set_result(None)

    def refuse(self, fault: BaseException) -> None:
        """Tell the submitters that nothing was written."""
        for job in self.jobs:
            if not job.done.done():
                job.done.set_exception(fault if isinstance(fault, Exception) else TemporaryError("the committer stopped"))
