"""A rule as loaded: signals, the condition that opens, the severity ladder, recovery.

Made by the rule file adapter, read by `reading` and `advance`. All durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from detector.domain.catalogue import Catalogue
from detector.domain.condition import Condition
from detector.domain.label import Labels, label_value
from detector.domain.maintenance import MaintenanceWindow
from detector.domain.severity import Severity

JOIN_BY = ("env", "namespace", "cluster")


class NoDataPolicy(StrEnum):
    """What a successful query without this alert's series means; a failed query always keeps."""

    KEEP = "keep"
    OPEN = "open"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Instant:
    """A signal that one instant query gives. `$window` in `query` stands for the window it is asked over."""

    name: str
    query: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """A signal that is one query divided by another.

    `min_total`: a smaller denominator is insufficient traffic. `confidence`: one-sided Wilson lower bound, for `open` only.
    """

    name: str
    numerator: str
    denominator: str
    min_total: float | None = None
    confidence: float | None = None


Signal: TypeAlias = Instant | Ratio


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the severity ladder; the first whose condition holds counts."""

    severity: Severity
    condition: Condition


@dataclass(frozen=True, slots=True)
class Recovery:
    """When a firing alert counts as recovered: every term holds; a term holds when any of its alternatives does.

    The written condition split at its top-level `&&` and `||`, so that an alternative that names a missing baseline can be left
    out, and a term with no alternative left with it. With no term left, `!open` counts. `text`: as written or as defaulted.
    """

    text: str
    terms: tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a rule does with its signals; an override replaces it for some alerts. `summary` is a Jinja2 template."""

    open: Condition
    recover: Recovery
    severity: tuple[Rung, ...]
    summary: str = ""
    description: str = ""
    for_seconds: float = 0.0
    keep_open_seconds: float = 0.0
    demote_after_seconds: float = 300.0
    recover_for_seconds: float = 300.0
    watch_seconds: float = 1800.0
    stale_after_seconds: float = 3600.0
    no_data: NoDataPolicy = NoDataPolicy.KEEP
    labels: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Override:
    """Another policy for the alerts whose labels match: every named label has one of the values."""

    match: Mapping[str, tuple[str, ...]]
    policy: Policy

    def covers(self, labels: Labels) -> bool:
        """Whether every named label of `labels` has one of the values."""
        return all((label_value(labels, name) or "") in values for name, values in self.match.items())


@dataclass(frozen=True, slots=True)
class BaselineSpan:
    """The span a baseline is the median of: [now - ago - over, now - ago]."""

    over_seconds: float = 3600.0
    ago_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the rule files something stands; line and column count from 1."""

    file: str
    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    `by` None means that every label of a series counts. `baselines` names the signals whose baseline some condition uses.
    `vector`: a Prometheus alerting rule, whose condition lies in its query, so that an
    empty answer of a successful query means "not firing". `limit`: with more alerts than this the evaluation counts as failed.
    """

    name: str
    signals: tuple[Signal, ...]
    policy: Policy
    source: Location
    by: tuple[str, ...] | None = None
    service: str = ""
    every_seconds: float = 5.0
    offset_seconds: float = 0.0
    window_seconds: float = 300.0
    severity_window_seconds: float = 60.0
    baseline: BaselineSpan = field(default_factory=BaselineSpan)
    baselines: frozenset[str] = frozenset()
    overrides: tuple[Override, ...] = ()
    join_by: tuple[str, ...] = JOIN_BY
    vector: bool = False
    limit: int | None = None

    def policy_for(self, labels: Labels) -> Policy:
        """The first override that covers the alert, else the rule's own policy."""
        for override in self.overrides:
            if override.covers(labels):
                return override.policy
        return self.policy

    def service_of(self, labels: Labels) -> str:
        """What an alert is about: what `service:` names (a label or a constant), else label `service`, `job`, the rule's name."""
        if self.service:
            return label_value(labels, self.service) or self.service
        return label_value(labels, "service") or label_value(labels, "job") or self.name


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything one load of the rule files gave. `digest` changes when their content does; `notes` are not errors."""

    rules: tuple[Rule, ...]
    catalogue: Catalogue
    digest: str
    notes: tuple[str, ...] = ()
    maintenance: tuple[MaintenanceWindow, ...] = ()

    def find(self, name: str) -> Rule | None:
        """The rule of that name."""
        return next((rule for rule in self.rules if rule.name == name), None)
