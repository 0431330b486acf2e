"""A store without a disk, for tests of the application; held by the very suite that holds the real ones.

A `Disk` is what survives: give the same one to a second `MemoryStore` to play a restart. `Disk.failure` makes every call fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detector.adapters.store.listing import read_cursor, write_cursor
from detector.domain.alert import AlertState, RuleProgress
from detector.domain.deploy import Deploy
from detector.domain.incident import FIXED_IDS, Book, Event, Incident, Notice, NoticeKind, Status
from detector.domain.label import Labels
from detector.domain.postmortem import Hop, Lesson
from detector.domain.silence import KeptMute
from detector.ports.error import OutsideError, PermanentError
from detector.ports.store import (
    AlertRecord,
    Backlog,
    Committed,
    Decide,
    Delivery,
    DeliveryState,
    Fence,
    IncidentFilter,
    IncidentPage,
    Memory,
    deliver,
)

PENDING = {DeliveryState.QUEUED, DeliveryState.CLAIMED}
OPENING = {NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE}
CLAIM_SECONDS = 120.0
SKEW_SECONDS = 5.0


@dataclass(slots=True)
class Row:
    """One notice in the outbox."""

    notice: Notice
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    first_attempt: float | None = None
    retry_at: float | None = None
    claimed_at: float | None = None
    epoch: int = 0
    error: str = ""
    credential: str = ""
    delivered: float | None = None

    @property
    def is_pending(self) -> bool:
        """Neither delivered nor given up."""
        return self.state in PENDING

    def tell(self) -> Hop:
        """How it fared."""
        said = self.notice
        return Hop(
            said.kind,
            said.channel,
            said.route,
            said.key,
            self.state.value,
            said.severity.value,
            said.at,
            self.attempts,
            self.first_attempt,
            self.delivered,
            self.error,
        )

    def deliver(self, credential: str | None) -> Delivery:
        """What a channel gets."""
        return deliver(self.notice, attempts=self.attempts, first_attempt=self.first_attempt, credential=credential)


@dataclass(slots=True)
class Disk:
    """What survives the process."""

    alerts: dict[tuple[str, Labels], AlertState] = field(default_factory=dict)
    progress: dict[str, RuleProgress] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    events: dict[Event, None] = field(default_factory=dict)
    outbox: dict[str, Row] = field(default_factory=dict)
    rules: Mapping[str, str] | None = None
    mutes: dict[str, KeptMute] = field(default_factory=dict)
    deploys: dict[str, Deploy] = field(default_factory=dict)
    lessons: dict[str, Lesson] = field(default_factory=dict)
    epoch: int = 0
    writes: int = 0
    failure: OutsideError | None = None


class MemoryStore:
    """Store in memory. `disk.writes` counts the transactions that wrote."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.moved: str | None = None
        self._epoch: int | None = None

    @property
    def recovered_from(self) -> str | None:
        """Whatever `moved` says."""
        return self.moved

    def begin_anew(self) -> None:
        """Its file turned out corrupt, and nothing could be saved."""
        self.disk.incidents.clear()
        self.disk.alerts.clear()
        self.disk.outbox.clear()
        self.moved = f"{self.moved or 'aside'}-1"

    async def open(self) -> None:
        """Take the lease."""
        self._raise_failure()
        self.disk.epoch += 1
        self._epoch = self.disk.epoch

    async def close(self) -> None:
        """Forget the lease; idempotent."""
        self._epoch = None

    async def load(self) -> Memory:
        """State as the last commit and checkpoint left it."""
        self._check()
        alerts: dict[str, dict[Labels, AlertState]] = {}
        for (rule, labels), state in self.disk.alerts.items():
            alerts.setdefault(rule, {})[labels] = state
        return Memory(alerts, dict(self.disk.progress), self._read_book().incidents)

    async def commit(
        self,
        alerts: Sequence[AlertRecord],
        decide: Decide,
        now: float,
        *,
        fences: Collection[Fence] = (),
        late: bool = False,
        sent: Collection[Notice] = (),
    ) -> Committed:
        """All or nothing: `decide` runs before anything is written. It is one process's own: there are no fences."""
        del now, late, sent
        assert not fences
        self._check()
        decision = decide(self._read_book())
        self._write_alerts(alerts)
        self.disk.incidents |= {incident.id: incident for incident in decision.incidents}
        self.disk.events |= dict.fromkeys(decision.events)
        for notice in decision.notices:
            self.disk.outbox.setdefault(notice.id, Row(notice))
        collapsed = self._collapse(decision.notices)
        self.disk.writes += bool(alerts or not decision.empty)
        return Committed(decision.incidents, decision.events, decision.notices, collapsed)

    async def checkpoint(
        self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord], *, fences: Collection[Fence] = ()
    ) -> None:
        """Write progress."""
        assert not fences
        self._check()
        self.disk.progress |= {value.rule: value for value in progress}
        self._write_alerts(alerts)
        self.disk.writes += bool(progress or alerts)

    async def claim(self, channel: str, now: float, limit: int, *, shards: Collection[int] | None = None) -> Sequence[Delivery]:
        """Claim what is due."""
        assert shards is None
        self._check()
        if self._epoch != self.disk.epoch:
            return ()
        heads: dict[tuple[str, str], Row] = {}
        for row in self.disk.outbox.values():
            if row.notice.channel == channel and row.is_pending:
                heads.setdefault((row.notice.incident, row.notice.route), row)
        due = [row for row in heads.values() if self._is_due(row, now)]
        due.sort(key=lambda row: (-row.notice.severity.rank, row.notice.at))
        deliveries = [row.deliver(self._find_credential(row.notice)) for row in due[:limit]]
        for row in due[:limit]:
            row.state, row.retry_at, row.claimed_at, row.epoch = DeliveryState.CLAIMED, None, now, self.disk.epoch
            row.attempts += 1
            row.first_attempt = row.first_attempt or now
        return deliveries

    async def record(
        self,
        delivery: Delivery,
        state: DeliveryState,
        now: float,
        *,
        retry_at: float | None = None,
        error: str = "",
        credential: str = "",
    ) -> None:
        """Write what came of an attempt."""
        self._check()
        row = self.disk.outbox[delivery.id]
        if row.is_pending:
            row.delivered = now if state is DeliveryState.ACCEPTED else None
            row.state, row.retry_at, row.error = state, retry_at, error[:500]
            if credential and (row.notice.kind in OPENING or state is DeliveryState.ACCEPTED):
                row.credential = credential

    async def backlog(self) -> Mapping[str, Backlog]:
        """Undelivered rows by channel."""
        self._check()
        queued: dict[str, list[float]] = {}
        for row in self.disk.outbox.values():
            if row.is_pending:
                queued.setdefault(row.notice.channel, []).append(row.notice.at)
        return {channel: Backlog(len(times), min(times)) for channel, times in queued.items()}

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first."""
        self._check()
        found = [incident for incident in self.disk.incidents.values() if _is_wanted(incident, wanted)]
        found.sort(key=_place, reverse=True)
        if wanted.cursor is not None:
            after = read_cursor(wanted.cursor)
            found = [incident for incident in found if _place(incident) < after]
        limit = max(1, wanted.limit)
        page = tuple(found[:limit])
        return IncidentPage(page, write_cursor(*_place(page[-1])) if len(found) > limit else None)

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""
        self._check()
        return self.disk.incidents.get(incident)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""
        self._check()
        return sorted((event for event in self.disk.events if event.incident == incident), key=lambda event: event.at)

    async def save_rules(self, digest: str, files: Mapping[str, str], now: float) -> None:
        """Keep a good set of rule files."""
        del digest, now
        self._check()
        self.disk.rules = dict(files)

    async def load_rules(self) -> Mapping[str, str] | None:
        """The last good set."""
        self._check()
        return self.disk.rules

    async def save_mute(self, kept: KeptMute) -> None:
        """Keep a silence or lease."""
        self._check()
        self.disk.mutes[kept.mute.id] = kept

    async def find_mute(self, identity: str) -> KeptMute | None:
        """One silence or lease."""
        self._check()
        return self.disk.mutes.get(identity)

    async def list_mutes(self, now: float, *, ended: bool, limit: int) -> Sequence[KeptMute]:
        """Newest first."""
        self._check()
        found = [kept for kept in self.disk.mutes.values() if kept.ended(now) == ended]
        return sorted(found, key=lambda kept: (-kept.created, kept.mute.id))[:limit]

    async def add_deploy(self, told: Deploy) -> None:
        """Keep it."""
        self._check()
        self.disk.deploys.setdefault(told.id, told)

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Newest first."""
        self._check()
        found = [told for told in self.disk.deploys.values() if service in {None, told.service} and since <= told.at <= until]
        return sorted(found, key=lambda told: (-told.at, told.id))[:limit]

    async def expire_mute(self, identity: str, by: str, now: float) -> KeptMute | None:
        """End it now."""
        self._check()
        kept = self.disk.mutes.get(identity)
        if kept is not None and not kept.ended(now):
            self.disk.mutes[identity] = replace(kept, expired=now, expired_by=by)
        return self.disk.mutes.get(identity)

    async def save_lesson(self, kept: Lesson) -> None:
        """Keep it."""
        self._check()
        self.disk.lessons[kept.incident] = kept

    async def find_lesson(self, incident: str) -> Lesson | None:
        """That of the incident."""
        self._check()
        return self.disk.lessons.get(incident)

    async def list_lessons(self, limit: int) -> Sequence[Lesson]:
        """Not finished, due first."""
        self._check()
        found = [lesson for lesson in self.disk.lessons.values() if lesson.finished is None]
        return sorted(found, key=lambda lesson: (lesson.due, lesson.incident))[:limit]

    async def list_hops(self, incident: str) -> Sequence[Hop]:
        """In the order they were queued."""
        self._check()
        return [row.tell() for row in self._rows(lambda row: row.notice.incident == incident)]

    def _check(self) -> None:
        if self._epoch is None:
            raise PermanentError("the store is not open")
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self.disk.failure is not None:
            raise self.disk.failure

    def _read_book(self) -> Book:
        known = self.disk.incidents.values()
        return Book({found.id: found for found in known if found.status is not Status.CLOSED or found.id in FIXED_IDS})

    def _write_alerts(self, records: Sequence[AlertRecord]) -> None:
        for record in records:
            if record.state is None:
                self.disk.alerts.pop((record.rule, record.labels), None)
            else:
                self.disk.alerts[record.rule, record.labels] = record.state

    def _collapse(self, notices: Sequence[Notice]) -> tuple[Delivery, ...]:
        keys = {_destination(notice) for notice in notices if notice.kind is NoticeKind.RESOLVE}
        untouched = {key for key in keys if self._is_untouched(key)}
        done = self._rows(lambda row: _destination(row.notice) in untouched and row.state is not DeliveryState.COLLAPSED)
        for row in done:
            row.state = DeliveryState.COLLAPSED
        return tuple(row.deliver(None) for row in done)

    def _is_untouched(self, key: tuple[str, str, str]) -> bool:
        rows = self._rows(lambda row: _destination(row.notice) == key and row.state is not DeliveryState.COLLAPSED)
        fresh = all(row.state is DeliveryState.QUEUED and row.attempts == 0 for row in rows)
        return fresh and any(row.notice.kind in OPENING for row in rows)

    def _is_due(self, row: Row, now: float) -> bool:
        set_back = row.claimed_at is not None and row.claimed_at > now + SKEW_SECONDS
        if row.retry_at is not None:
            return row.retry_at <= now or set_back
        stuck = row.claimed_at is not None and row.claimed_at < now - CLAIM_SECONDS
        return row.state is DeliveryState.QUEUED or row.epoch != self.disk.epoch or stuck or set_back

    def _find_credential(self, notice: Notice) -> str | None:
        rows = self._rows(lambda row: _destination(row.notice) == _destination(notice) and bool(row.credential))
        accepted = [row for row in rows if row.state is DeliveryState.ACCEPTED]
        return accepted[-1].credential if accepted else rows[0].credential if rows else None

    def _rows(self, holds: Callable[[Row], bool]) -> list[Row]:
        return [row for row in self.disk.outbox.values() if holds(row)]


def _destination(notice: Notice) -> tuple[str, str, str]:
    return notice.channel, notice.route, notice.key


def _place(incident: Incident) -> tuple[float, str]:
    return incident.opened, incident.id


def _is_wanted(incident: Incident, wanted: IncidentFilter) -> bool:
    return (
        (not wanted.status or incident.status.value in wanted.status)
        and (not wanted.severity or incident.severity.value in wanted.severity)
        and wanted.service in {None, incident.service}
    )
