"""From query outcomes to signal values by alert.

The poller asks `plan_queries`, hands the outcomes to `read_signals`, and gives the result to `advance`. A value that is not there
is unknown; here it is kept apart why: the query failed, the series is missing, or there was too little traffic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist
from typing import Generic, TypeAlias, TypeVar, assert_never

from detector.domain.duration import format_duration
from detector.domain.label import Labels, project_labels
from detector.domain.outcome import FailureReason, Outcome, QueryFailed, Samples
from detector.domain.rule import Instant, Ratio, Rule, Signal

Values: TypeAlias = Mapping[Labels, float]
K = TypeVar("K", bound=Hashable)
WINDOW = "$window"
_NONE: AbstractSet[Labels] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """One signal for all alerts: plain values, Wilson lower bounds where asked for, alerts with too little traffic.

    `idle`: alerts whose series is there without a value (NaN, or a denominator of 0): no data, but not vanished.
    """

    values: Values = field(default_factory=dict)
    lower: Values | None = None
    thin: AbstractSet[Labels] = _NONE
    idle: AbstractSet[Labels] = _NONE
    failed: QueryFailed | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """All signals of a rule at one evaluation.

    `keys`: every alert that some signal speaks of. `idle`: those of them of which no signal has anything to say.
    """

    columns: Mapping[str, Column]
    keys: AbstractSet[Labels]
    idle: AbstractSet[Labels] = _NONE

    @property
    def failed(self) -> QueryFailed | None:
        """The first failure, None when every query succeeded."""
        for column in self.columns.values():
            if column.failed is not None:
                return column.failed
        return None

    @property
    def empty(self) -> bool:
        """Whether no signal holds a series."""
        return not self.keys


def fill_window(query: str, window_seconds: float) -> str:
    """The query with `$window` replaced by a PromQL duration."""
    return query.replace(WINDOW, format_duration(window_seconds)) if WINDOW in query else query


def plan_queries(rule: Rule, *, severity: bool = False) -> tuple[str, ...]:
    """Distinct query texts of the rule's signals over `window`; with `severity`, those of the ladder over `severity_window`.

    With `severity`, queries that do not depend on the window are left out: their outcomes are those of the plain plan.
    """
    if not severity:
        return _distinct(fill_window(query, rule.window_seconds) for signal in rule.signals for query in signal_queries(signal))
    wanted = ladder_names(rule)
    return _distinct(
        fill_window(query, rule.severity_window_seconds)
        for signal in rule.signals
        if signal.name in wanted
        for query in signal_queries(signal)
        if WINDOW in query and rule.severity_window_seconds != rule.window_seconds
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What the rule asks, written once: `plan_queries` over both windows."""

    rule: Rule
    queries: tuple[str, ...]
    severity_queries: tuple[str, ...]


def make_plan(rule: Rule) -> Plan:
    """The plan of the rule as it is loaded now."""
    return Plan(rule, plan_queries(rule), plan_queries(rule, severity=True))


def settle_lag(rule: Rule) -> float:
    """How long ago the severity window is looked at again, in seconds, to see whether it still fills."""
    return rule.severity_window_seconds / 4


def signal_queries(signal: Signal) -> tuple[str, ...]:
    """The signal's queries as written: one, or numerator and denominator."""
    match signal:
        case Instant():
            return (signal.query,)
        case Ratio():
            return (signal.numerator, signal.denominator)
        case _:
            assert_never(signal)


def list_filled(rule: Rule, signal: Signal) -> tuple[str, ...]:
    """The signal's queries as asked; the last is the one whose series say which alerts there are."""
    return tuple(fill_window(query, rule.window_seconds) for query in signal_queries(signal))


def ladder_names(rule: Rule) -> frozenset[str]:
    """Names that any severity rung of the rule or its overrides uses."""
    policies = (rule.policy, *(override.policy for override in rule.overrides))
    return frozenset(name for policy in policies for rung in policy.severity for name in rung.condition.names)


def read_signals(rule: Rule, outcomes: Mapping[str, Outcome], *, severity: bool = False) -> Readings:
    """Signal values of every alert. `outcomes` is keyed by the texts of `plan_queries`; a missing one counts as failed."""
    window = rule.severity_window_seconds if severity else rule.window_seconds
    wanted = ladder_names(rule) if severity else None
    columns: dict[str, Column] = {}
    for signal in rule.signals:
        if wanted is not None and signal.name not in wanted:
            continue
        parts = [outcomes.get(fill_window(query, window), _MISSING) for query in signal_queries(signal)]
        columns[signal.name] = _read_signal(signal, parts, rule.by)
    keys: set[Labels] = set()
    for column in columns.values():
        keys.update(column.values)
        keys.update(column.thin)
    idle = _NONE
    if any(column.idle for column in columns.values()):
        idle = frozenset(labels for column in columns.values() for labels in column.idle if labels not in keys)
        keys.update(idle)
    if rule.limit is not None and len(keys) > rule.limit:
        failed = QueryFailed(FailureReason.TOO_LARGE, f"{len(keys)} alerts, over the group's limit of {rule.limit}")
        return Readings(dict.fromkeys(columns, Column(failed=failed)), set())
    return Readings(columns, keys, idle)


def wilson_lower(share: float, total: float, confidence: float) -> float:
    """One-sided lower confidence bound of a share `share` seen in `total` trials.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    return _wilson_lower(share, total, NormalDist().inv_cdf(confidence))


_MISSING = QueryFailed(FailureReason.INTERNAL, "the query was not asked")


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _read_signal(signal: Signal, parts: list[Outcome], by: tuple[str, ...] | None) -> Column:
    for part in parts:
        if isinstance(part, QueryFailed):
            return Column(failed=part)
    series: list[Values] = []
    for part in parts:
        table = _project(part, by)
        if isinstance(table, QueryFailed):
            return Column(failed=table)
        series.append(table)
    match signal:
        case Instant():
            return Column(values=series[0], idle=_list_undefined(parts[0], by))
        case Ratio():
            shares = divide(signal, series[0], series[1], _list_undefined(parts[1], by))
            return Column(shares.values, shares.lower, shares.thin, shares.idle)
        case _:
            assert_never(signal)


def _project(outcome: Outcome, by: tuple[str, ...] | None) -> Values | QueryFailed:
    if not isinstance(outcome, Samples):
        return {}
    if by is None:
        return outcome.series
    names = frozenset(by)
    projected: dict[Labels, float] = {}
    for labels, value in outcome.series.items():
        for name, _ in labels:
            if name not in names:
                key = project_labels(labels, by)
                break
        else:
            key = labels
        projected[key] = value
    if len(projected) != len(outcome.series):
        return QueryFailed(FailureReason.DUPLICATE, f"several series for one alert; aggregate the query by ({', '.join(by)})")
    return projected


def _list_undefined(outcome: Outcome, by: tuple[str, ...] | None) -> AbstractSet[Labels]:
    if isinstance(outcome, QueryFailed) or not outcome.undefined:
        return _NONE
    return outcome.undefined if by is None else frozenset(project_labels(labels, by) for labels in outcome.undefined)


@dataclass(frozen=True, slots=True)
class Shares(Generic[K]):
    """A ratio: shares, their Wilson lower bounds where asked for, what had too little traffic, what had none."""

    values: Mapping[K, float]
    lower: Mapping[K, float] | None
    thin: AbstractSet[K]
    idle: AbstractSet[K]


def divide(signal: Ratio, numerator: Mapping[K, float], denominator: Mapping[K, float], undefined: AbstractSet[K]) -> Shares[K]:
    """The ratio of each key: of alerts at one moment, or of moments of one alert.

    A missing numerator beside a present denominator is 0; a missing or zero denominator is no data.
    """
    values: dict[K, float] = {}
    thin: set[K] = set()
    idle = set(undefined)
    lower: dict[K, float] = {}
    least = signal.min_total or 0.0
    z = None if signal.confidence is None else NormalDist().inv_cdf(signal.confidence)
    for key, total in denominator.items():
        if total < least:
            thin.add(key)
        elif total > 0:
            share = numerator.get(key, 0.0) / total
            values[key] = share
            if z is not None:
                lower[key] = _wilson_lower(share, total, z)
        else:
            idle.add(key)
    return Shares(values, None if z is None else lower, thin, idle)


def _wilson_lower(share: float, total: float, z: float) -> float:
    p = min(1.0, max(0.0, share))
    square = z * z / total
    spread = z * sqrt(p * (1 - p) / total + square / (4 * total))
    return max(0.0, (p + square / 2 - spread) / (1 + square))
