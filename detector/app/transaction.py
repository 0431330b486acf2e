"""What the committer writes at once: the jobs that share a transaction, and the book that results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from detector.domain.alert import Change, Transition
from detector.domain.catalogue import Catalogue
from detector.domain.incident import FIXED_IDS, PAGERDUTY, STORE_DOWN_ID, Book, Decision, Notice, NoticeKind, Status
from detector.domain.mute import Mute
from detector.domain.severity import Severity
from detector.ports.error import StaleLeaseError, TemporaryError
from detector.ports.store import AlertRecord, Fence

_PAGING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})
_BEGINNING = frozenset({Change.FIRED, Change.ABSENT})
_SAME_OUTAGE_SECONDS = 60.0  # a store is called down after a minute: two outages can't be told within less


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


def list_urgent(notices: Sequence[Notice]) -> list[Notice]:
    """What several replicas may each send from memory: new HIGH and CRITICAL pages, blindness, and that the store is down.

    Each sends them under the same key, and PagerDuty makes one alert of them. Other channels are told by this road
    only where there is no PagerDuty. No resolve: who is cut off does not know what the others see.
    """
    grave = [each for each in notices if each.kind in _PAGING and (each.severity >= Severity.HIGH or each.incident in FIXED_IDS)]
    through_pagerduty = [each for each in grave if each.channel == PAGERDUTY]
    return through_pagerduty or grave


def end_strays(decision: Decision, book: Book, sent: Sequence[Notice]) -> Decision:
    """The decision, and a resolve for each page that left from memory under a key that no incident knows.

    Two replicas that were cut off may have seen the breach begin at different moments, or fewer relapses: of two keys one stands.
    """
    keys = {page.key for incident in fold_book(book, decision).incidents.values() for page in incident.pages}
    strays = [_end_stray(notice) for notice in sent if notice.channel == PAGERDUTY and notice.key not in keys]
    return replace(decision, notices=(*decision.notices, *strays)) if strays else decision


def _end_stray(notice: Notice) -> Notice:
    return replace(notice, id=f"{notice.id}-stray", kind=NoticeKind.RESOLVE)


def drop_told(book: Book, transitions: Sequence[Transition]) -> list[Transition]:
    """Without a store that is told as down where another replica has told of the same outage."""
    incident = book.incidents.get(STORE_DOWN_ID)
    if incident is None:
        return list(transitions)
    begun = max(incident.detected, *incident.relapses, 0.0)
    return [
        each
        for each in transitions
        if each.rule != STORE_DOWN_ID or each.change is not Change.FIRED or begun < each.at - _SAME_OUTAGE_SECONDS
    ]


@dataclass(frozen=True, slots=True)
class Job:
    """What one submitter wants written. `swap` makes it the present in memory; `done` ends when that has happened."""

    records: Sequence[AlertRecord]
    transitions: Sequence[Transition]
    swap: Callable[[], None]
    done: asyncio.Future[None]
    fence: Fence | None = None


@dataclass(slots=True)
class Write:
    """One transaction to be. Its moment, catalogue and mutes stay the same however often it is tried, so that its ids do too."""

    jobs: tuple[Job, ...]
    catalogue: Catalogue
    now: float
    mutes: tuple[Mute, ...] = ()
    book: Book = field(default_factory=Book)
    sent: tuple[Notice, ...] = ()
    _released: bool = False

    @property
    def late(self) -> bool:
        """Whether memory goes by it already, and its pages may have left."""
        return self._released

    @property
    def paged(self) -> bool:
        """Whether pages were handed over from memory, beside what other replicas do."""
        return bool(self.sent)

    @property
    def fences(self) -> frozenset[Fence]:
        """Under which leases its parts were worked out."""
        return frozenset(job.fence for job in self.jobs if job.fence is not None)

    @property
    def records(self) -> list[AlertRecord]:
        """Alert rows of all jobs."""
        return [record for job in self.jobs for record in job.records]

    @property
    def transitions(self) -> list[Transition]:
        """Transitions of all jobs, in the order they came."""
        return [transition for job in self.jobs for transition in job.transitions]

    def drop(self, shards: frozenset[int]) -> None:
        """Another replica leads these shards: their parts are not written. Submitters that still wait hear of it.

        Where pages have left from memory, what began is kept: the store must know of the pages, and somebody must end them.
        """
        kept: list[Job] = []
        for job in self.jobs:
            if job.fence is None or job.fence.shard not in shards:
                kept.append(job)
            elif self._released:
                begun = [each for each in job.transitions if each.change in _BEGINNING]
                if begun and self.paged:
                    kept.append(Job((), begun, keep_memory, job.done))
            elif not job.done.done():
                job.done.set_exception(StaleLeaseError(shards))
        self.jobs = tuple(kept)

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
