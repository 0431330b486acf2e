"""Baselines: what a signal usually is, as a median that Prometheus computes.

`<signal>_baseline` is the median over [now - ago - over, now - ago]. It is asked on slots of its own while an alert is inactive
and frozen when the alert becomes pending. Once an alert has been open for an hour, the same hour a day and a week ago may raise
it, because a breach that lasts must not be judged against a quiet night.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from detector.domain.duration import format_duration
from detector.domain.label import Labels
from detector.domain.outcome import Outcome
from detector.domain.reading import Values, fill_window, read_signals
from detector.domain.rule import Instant, Ratio, Rule, Signal

MINIMUM_POINTS = 10
POINTS = 60
RATIO_FLOOR = 0.001
HISTORY_AFTER_SECONDS = 3600.0
_DAY = 86400.0
_HISTORY = (_DAY, 7 * _DAY)


def plan_baselines(rule: Rule) -> Mapping[str, str]:
    """The baseline query of every signal whose baseline some condition of the rule names, by signal."""
    return {
        signal.name: _median_query(rule, signal, rule.baseline.over_seconds, rule.baseline.ago_seconds)
        for signal in rule.signals
        if signal.name in rule.baselines
    }


def plan_history(rule: Rule) -> Mapping[str, tuple[str, ...]]:
    """The median around the same hour a day and a week ago, by signal."""
    over = rule.baseline.over_seconds
    return {
        signal.name: tuple(_median_query(rule, signal, over, ago - over / 2) for ago in _HISTORY)
        for signal in rule.signals
        if signal.name in rule.baselines
    }


def read_baselines(rule: Rule, outcomes: Mapping[str, Outcome]) -> Mapping[str, Values]:
    """Baselines by signal and alert; those of ratios floored at 0.001. A failed or empty query leaves the signal out."""
    return {name: _read(rule, name, (query,), outcomes) for name, query in plan_baselines(rule).items()}


def read_history(rule: Rule, outcomes: Mapping[str, Outcome]) -> Mapping[str, Values]:
    """The greater of the two medians of `plan_history`, by signal and alert."""
    return {name: _read(rule, name, queries, outcomes) for name, queries in plan_history(rule).items()}


def find_floor(rule: Rule, name: str) -> float | None:
    """The least baseline that the signal may have: a ratio that is usually 0 must not make every error a breach."""
    return RATIO_FLOOR if any(isinstance(signal, Ratio) and signal.name == name for signal in rule.signals) else None


def find_resolution(over_seconds: float) -> float:
    """How far apart the points of a median are, in seconds: about sixty of them, at whole multiples since 1970."""
    return max(1.0, over_seconds // POINTS)


def _read(rule: Rule, name: str, queries: tuple[str, ...], outcomes: Mapping[str, Outcome]) -> Values:
    floor = find_floor(rule, name)
    found: dict[Labels, float] = {}
    for query in queries:
        probe = Rule(name=rule.name, signals=(Instant(name, query),), policy=rule.policy, source=rule.source, by=rule.by)
        for labels, value in read_signals(probe, outcomes).columns[name].values.items():
            floored = value if floor is None else max(floor, value)
            found[labels] = max(floored, found.get(labels, floored))
    return found


def _median_query(rule: Rule, signal: Signal, over_seconds: float, ago_seconds: float) -> str:
    match signal:
        case Instant():
            # NaN (p95 without traffic) sorts below every number and counts as a point: it would pull the median down.
            inner = f"(({fill_window(signal.query, rule.window_seconds)}) > -Inf) < Inf"
        case Ratio():
            least = f">= {signal.min_total}" if signal.min_total else "> 0"
            total = f"(({fill_window(signal.denominator, rule.window_seconds)}) {least})"
            inner = f"((({fill_window(signal.numerator, rule.window_seconds)}) or {total} * 0) / {total})"
        case _:
            assert_never(signal)
    resolution = format_duration(find_resolution(over_seconds))
    span = f"({inner})[{format_duration(over_seconds)}:{resolution}] offset {format_duration(ago_seconds)}"
    return f"quantile_over_time(0.5, {span}) and (count_over_time({span}) >= {MINIMUM_POINTS})"
