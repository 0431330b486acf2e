"""Incidents, their timeline, and the notices that leave because of them.

    open -> acknowledged -> resolved -> closed
      ^--------- relapse ------'            (within `watch`: same incident, next episode)

`correlate` makes all of these from transitions; the store writes them in one transaction; channels render notices at delivery.
Times are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from detector.domain.ailment import OWN_RULES, Ailment
from detector.domain.alert import SignalTrack
from detector.domain.check import Result
from detector.domain.label import NO_LABELS, Labels, digest_labels, digest_parts
from detector.domain.severity import Severity
from detector.domain.suspect import Suspect

BLIND_ID = Ailment.BLIND.value
STORE_DOWN_ID = Ailment.STORE_DOWN.value
FIXED_IDS = frozenset({BLIND_ID, STORE_DOWN_ID})
PAGERDUTY = "pagerduty"
OWN_SERVICE = "detector"


class Status(Enum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    CLOSED = "closed"

    @property
    def active(self) -> bool:
        """Open or acknowledged: somebody still has work."""
        return self in {Status.OPEN, Status.ACKNOWLEDGED}


class NoticeKind(StrEnum):
    """What a notice tells its destination."""

    TRIGGER = "trigger"
    RISE = "rise"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    RELAPSE = "relapse"
    CLOSE = "close"
    REMINDER = "reminder"
    SUMMON = "summon"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class JoinedAlert:
    """One alert inside an incident; `ended` None: it still fires; `absent` marks the "no data" alert of a core service.

    `unknown`: why it cannot be judged now; `gone_wait_seconds`: as in `Transition`. `held_severity` counts until `held_until`: it
    ended as that, and fires again as less.
    """

    rule: str
    labels: Labels
    service: str
    severity: Severity
    breached: float
    fired: float
    ended: float | None = None
    ended_reason: str = ""
    absent: bool = False
    summary: str = ""
    condition: str = ""
    signal: str | None = None
    threshold: float | None = None
    blocked: tuple[str, ...] = ()
    signals: Mapping[str, SignalTrack] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    demote_after_seconds: float = 300.0
    stale_after_seconds: float = 3600.0
    unknown: str = ""
    unknown_since: float | None = None
    gone_wait_seconds: float = 0.0
    held_severity: Severity | None = None
    held_until: float | None = None
    settle_by: float | None = None

    @property
    def key(self) -> str:
        """Identity inside the incident."""
        return name_alert(self.rule, self.labels, absent=self.absent)

    @property
    def firing(self) -> bool:
        """Whether the alert has not ended."""
        return self.ended is None


@dataclass(frozen=True, slots=True)
class Page:
    """One key that a trigger was queued for: `<incident>:<episode>:<route>[:<n>]`. `closed` when its resolve was queued.

    `acknowledged`: when an acknowledgement was queued for it; a key opened after that has its own. `refused`: PagerDuty did not
    take its trigger, and the fallback was told, so that nobody counts on PagerDuty for it.
    """

    route: str
    key: str
    opened: float
    severity: Severity
    closed: bool = False
    acknowledged: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Verification:
    """One thing to be sure of before an incident counts as over: a probe, or what only a human sees. `ok` None: not known yet."""

    name: str
    human: bool = False
    ok: bool | None = None
    at: float | None = None
    by: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class MitigationRun:
    """One run of a mitigation: by whom, since when; `ended` None: it runs, or its end was never seen. `outcome` in words."""

    name: str
    by: str
    started: float
    ended: float | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident: everything the ticket holds except its timeline.

    `opened` is the evaluation that first saw the breach, `detected` the one that opened the incident. `sequence` numbers its
    notices, `revision` its changes. `due` is the next moment its timers want `correlate` to look at it. `told`: destinations
    beside PagerDuty that heard of it, `<channel>:<route>`; `updated`: when they last did. `muted` says by what, while it is, since
    `muted_since`; `heard` is the severity it had before, None where its episode began muted.
    `quiet`: it pages only above this severity (folded into a storm, or flapping). `unsaid_since`: a storm has grown.
    `verifying`: its metrics have recovered and its probes have not passed yet. `checks` and `suspects` are those of the episode
    `diagnosed`. `mitigated`: when the first of `mitigations` was started. `escalations`: responders called since, as nobody
    acknowledged. `version`: digest of the rule files by which it was last decided on.
    """

    id: str
    episode: int
    status: Status
    severity: Severity
    peak_severity: Severity
    service: str
    services: tuple[str, ...]
    rules: tuple[str, ...]
    labels: Labels
    opened: float
    detected: float
    summary: str
    alerts: Mapping[str, JoinedAlert] = field(default_factory=dict)
    join: Labels = NO_LABELS
    acknowledged: float | None = None
    acknowledged_by: str = ""
    resolved: float | None = None
    closed: float | None = None
    end_reason: str = ""
    root_cause: str = ""
    pages: tuple[Page, ...] = ()
    watch_seconds: float = 1800.0
    relapses: tuple[float, ...] = ()
    revision: int = 0
    sequence: int = 0
    due: float | None = None
    rule_labels: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    state: str = "investigating"
    eta: str = ""
    told: tuple[str, ...] = ()
    updated: float | None = None
    muted: str = ""
    muted_since: float | None = None
    heard: Severity | None = None
    quiet: Severity | None = None
    folded: str = ""
    unsaid_since: float | None = None
    route: str = ""
    see_also: tuple[str, ...] = ()
    summoned: bool = False
    summoned_at: float | None = None
    escalations: int = 0
    stale: bool = False
    verifying: float | None = None
    verifications: tuple[Verification, ...] = ()
    responders: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Result, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    diagnosed: int = -1
    mitigations: tuple[MitigationRun, ...] = ()
    mitigated: float | None = None
    version: str = ""

    @property
    def hushed(self) -> bool:
        """Whether it wakes nobody: folded into a storm or flapping, and no worse than it was then."""
        return self.quiet is not None and self.severity <= self.quiet

    @property
    def own(self) -> bool:
        """Whether it is about the daemon itself: never muted by matchers, folded or made public.

        Told by its rules: a service of somebody else may be called "detector" too.
        """
        return not OWN_RULES.isdisjoint(self.rules)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an incident's timeline: when (to the second), who, what kind, in words."""

    incident: str
    at: float
    actor: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one destination, queued in the same transaction as the change it tells of.

    `id` is deterministic: digest(incident, episode, sequence, kind, channel, route). `key` is the destination's own identity of the
    thing (PagerDuty's dedup_key). `values` are the facts to render, JSON-ready.
    """

    id: str
    incident: str
    episode: int
    kind: NoticeKind
    channel: str
    route: str
    key: str
    severity: Severity
    at: float
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Book:
    """What `correlate` reads inside the transaction: every incident that is not closed, and those of FIXED_IDS even then, by id."""

    incidents: Mapping[str, Incident] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What `correlate` decided: incidents as they are now, timeline lines, notices to queue. Empty: nothing to write."""

    incidents: tuple[Incident, ...] = ()
    events: tuple[Event, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.incidents or self.events or self.notices)


def name_alert(rule: str, labels: Labels, *, absent: bool = False) -> str:
    """Identity of an alert inside an incident."""
    return digest_labels(f"{rule}{'!absent' if absent else ''}", labels)


def name_incident(rule: str, labels: Labels, breached: float) -> str:
    """Id of the incident that this alert opens: the same after any crash, since all three are facts of the metrics."""
    return digest_labels(f"{rule}@{int(breached)}", labels)


def name_notice(incident: str, episode: int, sequence: int, kind: NoticeKind, channel: str, route: str) -> str:
    """Id of a notice; a retry or a second commit of the same decision gives the same one."""
    return digest_parts([incident, str(episode), str(sequence), kind.value, channel, route])


def name_key(incident: str, episode: int, route: str, number: int = 1) -> str:
    """PagerDuty key: `<incident>:<episode>:<route>`, with `:<n>` from the second key of the same route on."""
    base = f"{incident}:{episode}:{route}"
    return base if number == 1 else f"{base}:{number}"
