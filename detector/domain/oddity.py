"""Whether a signal looks unusual against its own past: robust, so that a few outliers in that past change nothing.

Asked during the watch after an incident was resolved. The past is the hour before the first breach; the middle is its median, the
spread 1.4826 * MAD (which is the standard deviation where values are normal). Unusual is more than five spreads away, and more than
a fifth of the median, and for a ratio more than 0.001: a past without any variation must not make every flicker a finding.
Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", JASA 88 (1993).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from detector.domain.baseline import find_floor
from detector.domain.label import Labels, project_labels
from detector.domain.outcome import NoData, QueryFailed, RangeOutcome
from detector.domain.quantity import format_signal
from detector.domain.reading import Readings, divide, list_filled
from detector.domain.rule import Instant, Ratio, Rule, Signal

MINIMUM_POINTS = 10
SPREADS = 5.0
SIGMA_OF_MAD = 1.4826
RELATIVE_FLOOR = 0.2

_Points: TypeAlias = Mapping[tuple[Labels, float], float]


@dataclass(frozen=True, slots=True)
class Usual:
    """What a signal usually is: its median, and the standard deviation that its MAD stands for."""

    middle: float
    spread: float

    def finds_odd(self, value: float, floor: float = 0.0) -> bool:
        """Whether the value lies outside of what is usual by more than `floor`."""
        return abs(value - self.middle) > max(SPREADS * self.spread, RELATIVE_FLOOR * abs(self.middle), floor)


@dataclass(frozen=True, slots=True)
class Oddity:
    """One unusual signal. `name` is the same for as long as it is the same signal of the same alert."""

    name: str
    text: str


def measure_usual(values: Sequence[float]) -> Usual | None:
    """The usual range of these values, None where they are fewer than ten."""
    if len(values) < MINIMUM_POINTS:
        return None
    middle = median(values)
    return Usual(middle, SIGMA_OF_MAD * median(abs(value - middle) for value in values))


def read_past(rule: Rule, outcomes: Mapping[str, RangeOutcome]) -> Mapping[str, Mapping[Labels, Usual]]:
    """What each signal of each alert usually is. A failed query leaves its signal out: unknown is neither odd nor usual."""
    return {signal.name: _measure(_read_points(rule, signal, outcomes)) for signal in rule.signals}


def find_oddities(
    rule: Rule, past: Mapping[str, Mapping[Labels, Usual]], readings: Readings, services: Collection[str]
) -> tuple[Oddity, ...]:
    """Signals of these services that are unusual now."""
    found = []
    for signal in rule.signals:
        column = readings.columns.get(signal.name)
        floor = find_floor(rule, signal.name) or 0.0
        for labels, usual in past.get(signal.name, {}).items():
            value = None if column is None else column.values.get(labels)
            if value is None or rule.service_of(labels) not in services or not usual.finds_odd(value, floor):
                continue
            name = " ".join(filter(None, [rule.name, signal.name, _show_labels(labels)]))
            now, then = format_signal(signal.name, value, usual.middle), format_signal(signal.name, usual.middle, value)
            text = f"{name} is {now}, usually {then}"
            found.append(Oddity(name, text))
    return tuple(found)


def _measure(points: _Points) -> Mapping[Labels, Usual]:
    columns: dict[Labels, list[float]] = {}
    for (labels, _), value in points.items():
        columns.setdefault(labels, []).append(value)
    measured = {labels: measure_usual(values) for labels, values in columns.items()}
    return {labels: usual for labels, usual in measured.items() if usual is not None}


def _read_points(rule: Rule, signal: Signal, outcomes: Mapping[str, RangeOutcome]) -> _Points:
    parts = [outcomes.get(query) for query in list_filled(rule, signal)]
    tables: list[_Points] = []
    for part in parts:
        if part is None or isinstance(part, QueryFailed):
            return {}
        tables.append({} if isinstance(part, NoData) else _index(rule, part.series))
    match signal:
        case Instant():
            return tables[0]
        case Ratio():
            return divide(signal, tables[0], tables[1], frozenset()).values


def _index(rule: Rule, series: Mapping[Labels, Sequence[tuple[float, float]]]) -> _Points:
    return {
        (labels if rule.by is None else project_labels(labels, rule.by), at): value
        for labels, points in series.items()
        for at, value in points
    }


def _show_labels(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels)
