"""Alert states and the transitions between them.

                 open true                     `for` reached
    inactive ------------------> pending ------------------> firing
        ^     <------------------                               |
        |          open false                                   |
        +-------------------------------------------------------+
          `recover` held for `recover_for`, and `keep_open` passed        (unknown: frozen where it is)

`advance` makes both; the store keeps the states; `correlate` reads the transitions. Times are unix seconds. A duration that is None
is not running; one that is running starts at 0.0 with the evaluation that started it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TypeAlias

from detector.domain.label import Labels
from detector.domain.severity import Severity


class Phase(Enum):
    """Where an alert stands."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class EndReason(StrEnum):
    """Why an alert or an incident ended."""

    RECOVERED = "recovered"
    NO_DATA = "no data"
    REMOVED = "rule removed"
    HUMAN = "resolved by hand"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SignalTrack:
    """One signal over a breach: last known value, worst value, value when recovery was verified."""

    value: float | None = None
    peak: float | None = None
    at_recovery: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender of a received alert said last. `ends`: until when its word holds (unix seconds)."""

    ends: float
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator: str = ""


@dataclass(frozen=True, slots=True)
class AlertState:
    """State of one alert, (rule, labels). An inactive alert whose series is present keeps the very same object.

    `evaluated`: last evaluation that gave an answer while pending or firing. `breached`: the evaluation that first saw the breach.
    `settling`: its severity still climbs with the window that fills. `receipt`: of an alert that another Prometheus sent.
    `signal` and `threshold`: the first comparison of `open` that held, and its bound. `blocked`: severity rungs that were unknown.
    """

    labels: Labels
    phase: Phase = Phase.INACTIVE
    evaluated: float | None = None
    breached: float | None = None
    fired: float | None = None
    ended: float | None = None
    relapses: int = 0
    pending_seconds: float | None = None
    calm_seconds: float | None = None
    recovering_seconds: float | None = None
    lower_seconds: float | None = None
    missing_seconds: float | None = None
    missing_from: float | None = None
    absent: bool = False
    severity: Severity | None = None
    lower_severity: Severity | None = None
    blocked: tuple[str, ...] = ()
    signal: str | None = None
    threshold: float | None = None
    signals: Mapping[str, SignalTrack] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    unknown: str = ""
    flaps: int = 0
    settling: bool = False
    receipt: Receipt | None = None


class Change(StrEnum):
    """What happened to an alert."""

    PENDING = "pending"
    CLEARED = "cleared"
    FIRED = "fired"
    ROSE = "rose"
    FELL = "fell"
    SETTLED = "settled"
    ENDED = "ended"
    UNKNOWN = "unknown"
    KNOWN = "known"
    ABSENT = "absent"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of one alert at one evaluation, with everything `correlate` and the log need to tell of it.

    `summary` is the rule's template until the shell has rendered it. `reason` says why for ENDED, UNKNOWN and ABSENT.
    `gone_wait_seconds`: after `stale_after` the next evaluation may find the target gone; as long as that can take.
    """

    change: Change
    rule: str
    labels: Labels
    at: float
    service: str
    state: AlertState
    summary: str = ""
    reason: str = ""
    open_text: str = ""
    rule_labels: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    join: Labels = ()
    watch_seconds: float = 1800.0
    demote_after_seconds: float = 300.0
    stale_after_seconds: float = 3600.0
    gone_wait_seconds: float = 0.0
    settle_by: float | None = None


@dataclass(frozen=True, slots=True)
class RuleProgress:
    """How far a rule has come: its last successful evaluation, whether it ever returned a series, and why it last failed."""

    rule: str
    last_success: float | None = None
    last_evaluation: float | None = None
    seen_series: bool = False
    failure: str = ""


AlertKey: TypeAlias = "tuple[str, Labels]"
