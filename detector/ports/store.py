"""Where state survives: alert states, incidents, timelines, the outbox, silences, the last good rule set.

One transaction is one `commit`: it takes the book lock, reads the incidents that are not closed, lets `decide` (pure) run on
them, and writes the alert states with what was decided. Nothing that was committed is lost by kill -9.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from detector.domain.alert import AlertState, RuleProgress
from detector.domain.deploy import Deploy
from detector.domain.incident import Book, Decision, Event, Incident, Notice, NoticeKind
from detector.domain.label import Labels
from detector.domain.postmortem import Hop, Lesson
from detector.domain.severity import Severity
from detector.domain.silence import KeptMute

Decide: TypeAlias = Callable[[Book], Decision]


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert state to write; `state` None deletes it (an inactive alert needs no row)."""

    rule: str
    labels: Labels
    state: AlertState | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a start finds: alert states by rule and labels, rules' progress, incidents that are not closed."""

    alerts: Mapping[str, Mapping[Labels, AlertState]] = field(default_factory=dict)
    progress: Mapping[str, RuleProgress] = field(default_factory=dict)
    incidents: Mapping[str, Incident] = field(default_factory=dict)


class DeliveryState(StrEnum):
    """Life of an outbox row. QUEUED rows were never claimed; CLAIMED ones may have reached the destination."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    COLLAPSED = "collapsed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One outbox row as a channel gets it: a notice, how often it was tried, and the credential of its key.

    `credential` is what the last accepted notice of the key said (None before that): the secret the key was opened with, or the
    destination's handle of the incident. It never appears in logs or answers. `epoch`: of the lease under which it was claimed,
    None for a notice that is in no outbox yet.
    """

    id: str
    incident: str
    episode: int
    kind: NoticeKind
    channel: str
    route: str
    key: str
    severity: Severity
    created: float
    values: Mapping[str, Any]
    attempts: int = 0
    first_attempt: float | None = None
    credential: str | None = field(default=None, repr=False)
    epoch: int | None = field(default=None, compare=False)


def deliver(
    notice: Notice,
    *,
    attempts: int = 0,
    first_attempt: float | None = None,
    credential: str | None = None,
    epoch: int | None = None,
) -> Delivery:
    """What a channel gets of a notice; without further words, of one that was never tried."""
    return Delivery(
        id=notice.id,
        incident=notice.incident,
        episode=notice.episode,
        kind=notice.kind,
        channel=notice.channel,
        route=notice.route,
        key=notice.key,
        severity=notice.severity,
        created=notice.at,
        values=notice.values,
        attempts=attempts,
        first_attempt=first_attempt,
        credential=credential,
        epoch=epoch,
    )


@dataclass(frozen=True, slots=True)
class Fence:
    """Under which lease something was worked out: it is written only while that shard's lease is of this epoch and the writer's."""

    shard: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Committed(Decision):
    """A decision as it was written, with the notices that collapsed in the same transaction, oldest first: never to be sent.

    `revision` counts the commits of all processes on the database, 0 where there is but one.
    """

    collapsed: tuple[Delivery, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Undelivered rows of one channel: how many, and when the oldest was queued (unix seconds)."""

    depth: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents to list, newest first; None or empty means any. `cursor` is opaque, from the last page."""

    status: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    service: str | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """One page of incidents and the cursor of the next, None on the last."""

    incidents: tuple[Incident, ...]
    cursor: str | None = None


class Store(Protocol):
    """All methods raise TemporaryError when the database cannot answer now, PermanentError when it never will."""

    @property
    def recovered_from(self) -> str | None:
        """Where a corrupt file was moved before a new one was begun, the last one; None when none was."""

    async def open(self) -> None:
        """Connect, migrate when the schema is behind."""

    async def close(self) -> None:
        """Release everything; idempotent."""

    async def load(self) -> Memory:
        """State as the last commit and checkpoint left it."""

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
        """One transaction; see the module. Returns what was decided and what collapsed.

        A RESOLVE notice whose key has only never-claimed triggers collapses with them. Writing a notice whose id exists changes
        nothing. An empty decision with no alerts writes nothing. Raises StaleLeaseError, having written nothing, where a fence does
        not stand: another holds the shard, or its lease has expired; `late`: an expired lease that nobody took since will do.
        `sent`: openings that may have left from memory, beside what other processes send: they count as tried, so that they never
        collapse, and are in doubt (`ports.lease`).
        """

    async def checkpoint(
        self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord], *, fences: Collection[Fence] = ()
    ) -> None:
        """Write progress in bulk, without touching incidents. Raises StaleLeaseError as `commit` does."""

    async def claim(self, channel: str, now: float, limit: int, *, shards: Collection[int] | None = None) -> Sequence[Delivery]:
        """Claim what is due for the channel, the most severe first, then the oldest.

        Per (incident, channel, route) only the oldest open row; only rows of shards whose lease this process holds by the
        database's clock, and of `shards` where given. A row rejected for good does not block its successors. CLAIMED rows of a dead
        process are claimable again.
        """

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
        """Write what came of an attempt. QUEUED/CLAIMED with `retry_at`: to be tried again then, unless another claimed it since.

        `credential` replaces the one that later notices of the key get; before any notice of the key was accepted, that of its
        first opening attempt stands.
        """

    async def backlog(self) -> Mapping[str, Backlog]:
        """Undelivered rows by channel."""

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first, in a stable order."""

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""

    async def save_rules(self, digest: str, files: Mapping[str, str], now: float) -> None:
        """Keep the text of a good set of rule files by relative path."""

    async def load_rules(self) -> Mapping[str, str] | None:
        """The last good set, None when there never was one."""

    async def save_mute(self, kept: KeptMute) -> None:
        """Keep a silence or lease; one of the same id is replaced."""

    async def find_mute(self, identity: str) -> KeptMute | None:
        """One silence or lease, ended or not."""

    async def list_mutes(self, now: float, *, ended: bool, limit: int) -> Sequence[KeptMute]:
        """Those that have ended by `now`, or those that have not; newest first."""

    async def expire_mute(self, identity: str, by: str, now: float) -> KeptMute | None:
        """End it now, by that person, unless it has ended; as it stands after that, None where there is none."""

    async def add_deploy(self, told: Deploy) -> None:
        """Keep a deploy; the same one twice is one."""

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Deploys of a service (None: of all) in [since, until], newest first."""

    async def save_lesson(self, kept: Lesson) -> None:
        """Keep where a post-mortem stands; one of the same incident is replaced."""

    async def find_lesson(self, incident: str) -> Lesson | None:
        """Where that of the incident stands."""

    async def list_lessons(self, limit: int) -> Sequence[Lesson]:
        """Those that are not finished, the one due first standing first."""

    async def list_hops(self, incident: str) -> Sequence[Hop]:
        """Every notice of the incident as it fared, in the order they were queued."""
