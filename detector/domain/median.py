"""Baselines computed from a signal's own points instead of asked: what the query of `baseline` would have answered at a slot.

A PromQL subquery looks at its expression at whole multiples of its resolution since 1970, whenever it is asked. Where a stretch of
a past holds the signal at just these times, the median is a matter of sorting sixty numbers, and the limits of all medians of the
stretch are the least and the greatest of its points. Backtest uses both; a test holds them equal to the server's answers.
Prometheus sorts, takes rank 0.5 * (n - 1) and interpolates between the two neighbours; Prometheus 2 counts a point at the very
beginning of the range and Prometheus 3 does not, so that `find_lattice` refuses slots at which one could lie there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, isfinite
from typing import TYPE_CHECKING, assert_never

from detector.domain.baseline import MINIMUM_POINTS, find_resolution
from detector.domain.label import NO_LABELS, Labels, project_labels
from detector.domain.outcome import Matrix, NoData, Row, Samples, Trace
from detector.domain.quiet import bound_shares
from detector.domain.reading import signal_queries
from detector.domain.rule import Instant, Ratio

if TYPE_CHECKING:
    from detector.domain.rule import Rule, Signal

_LONGEST_LEAD = 600  # points before the first step; more are not held in memory for a few medians
_NOTHING: Mapping[int, float] = {}
_ABSENT = Trace()


@dataclass(frozen=True, slots=True)
class Lattice:
    """Points at k * `every_ms` for whole k. `begin_ms`, `step_ms`: where the loaded steps lie; `first`: the first k among them."""

    every_ms: int
    over_ms: int
    ago_ms: int
    begin_ms: int
    step_ms: int

    @property
    def first(self) -> int:
        """The first point that is a loaded step."""
        return -(-self.begin_ms // self.every_ms)

    def window(self, slot: float) -> range:
        """The points that the median at a slot (unix seconds) is made of."""
        until = round(slot * 1000) - self.ago_ms
        return range((until - self.over_ms) // self.every_ms + 1, until // self.every_ms + 1)

    def step_of(self, point: int) -> int:
        """The loaded step of a point from `first` on."""
        return (point * self.every_ms - self.begin_ms) // self.step_ms


def find_lattice(rule: Rule, slots: Sequence[float], slot_distance: float, start: float, count: int, step: float) -> Lattice | None:
    """Where the baselines of the rule at these slots can be computed from `count` steps from `start` on; None where they cannot.

    The points must be steps, apart from those before `start`, and no query may depend on the range it is asked over.
    """
    span = rule.baseline
    numbers = (start - rule.offset_seconds, step, find_resolution(span.over_seconds), span.over_seconds, span.ago_seconds)
    begin_ms, step_ms, every_ms, over_ms, ago_ms = (round(number * 1000) for number in numbers)
    if any(abs(number * 1000 - round(number * 1000)) > 0 for number in numbers) or every_ms % step_ms or begin_ms % step_ms:
        return None
    if any("@" in query for signal in list_based(rule) for query in signal_queries(signal)):
        return None
    lattice = Lattice(every_ms, over_ms, ago_ms, begin_ms, step_ms)
    if (round(slots[0] * 1000) - ago_ms - over_ms) % gcd(every_ms, round(slot_distance * 1000)) == 0:
        return None
    last = lattice.window(slots[-1]).stop - 1
    if lattice.first - lattice.window(slots[0]).start > _LONGEST_LEAD or last * every_ms > begin_ms + (count - 1) * step_ms:
        return None
    return lattice


@dataclass(frozen=True, slots=True)
class Track:
    """One signal on its lattice. `lead`: its points before the first step by series; `matrices`: the steps of its queries."""

    signal: Signal
    lattice: Lattice
    lead: Mapping[Labels, Mapping[int, float]]
    matrices: tuple[Matrix, ...]
    _indexes: dict[tuple[str, ...] | None, Mapping[Labels, Sequence[Labels]]] = field(default_factory=dict, compare=False)

    def index(self, by: tuple[str, ...] | None) -> Mapping[Labels, Sequence[Labels]]:
        """The series of each alert of a rule with that `by`; some of them may have no point but in `lead`."""
        if by not in self._indexes:
            found: dict[Labels, list[Labels]] = {}
            for labels in {**self.lead, **self.matrices[-1].series}:
                found.setdefault(labels if by is None else project_labels(labels, by), []).append(labels)
            self._indexes[by] = found
        return self._indexes[by]

    def read(self, labels: Labels, points: range) -> dict[int, float]:
        """The points of a series that are there."""
        lattice, before = self.lattice, self.lead.get(labels, _NOTHING)
        loaded = range(max(points.start, lattice.first), points.stop)
        found = {point: before[point] for point in range(points.start, min(points.stop, lattice.first)) if point in before}
        if not loaded:
            return found
        first, stride = lattice.step_of(loaded.start), lattice.every_ms // lattice.step_ms
        steps = range(first, first + len(loaded) * stride, stride)
        rows = [matrix.series.get(labels, _ABSENT).values for matrix in self.matrices]
        parts = [row.numbers[steps.start : steps.stop : stride] for row in rows if isinstance(row, Row)]
        if len(parts) < len(rows):
            places = dict(zip(steps, loaded, strict=True))
            return found | {places[step]: value for step, value in read_points(self.signal, self.matrices, labels, steps)}
        if isinstance(self.signal, Instant):
            return found | dict(zip(loaded, parts[0], strict=False))
        least = self.signal.min_total
        shares = zip(loaded, *parts, strict=False)
        return found | {point: part / total for point, part, total in shares if (total >= least if least else total > 0)}

    def find_limits(self, labels: Labels) -> Sequence[float]:
        """Numbers between whose least and greatest every median lies; empty where there is no point at all."""
        limits = [*self.lead.get(labels, _NOTHING).values()]
        traces = [matrix.series.get(labels, _ABSENT) for matrix in self.matrices]
        if isinstance(self.signal, Instant):
            values: Collection[float] = traces[0].values.values()
        elif bounds := bound_shares(self.signal.min_total, *traces):
            values = bounds
        else:
            values = [value for _, value in read_points(self.signal, self.matrices, labels, traces[-1].values)]
        if values:
            limits += (min(values), max(values))
        return limits

    def answer(self, slot: float, series: Iterable[Labels]) -> Samples | NoData:
        """What the baseline query would have answered at a slot, of these series."""
        window = self.lattice.window(slot)
        medians = {labels: find_median(sorted(self.read(labels, window).values())) for labels in series}
        found = {labels: median for labels, median in medians.items() if median is not None}
        return Samples(found) if found else NoData()

    def list_medians(self, labels: Labels, slots: Sequence[float]) -> list[float | None]:
        """The median of a series at each of these slots, which ascend."""
        points = self.read(labels, range(self.lattice.window(slots[0]).start, self.lattice.window(slots[-1]).stop))
        held: list[float] = []
        span = range(self.lattice.window(slots[0]).start, self.lattice.window(slots[0]).start)
        medians: list[float | None] = []
        for slot in slots:
            window = self.lattice.window(slot)
            if window == span and medians:
                medians.append(medians[-1])
                continue
            for point in range(span.start, window.start):
                if point in points and point < span.stop:
                    del held[bisect_left(held, points[point])]
            for point in range(max(span.stop, window.start), window.stop):
                if point in points:
                    insort(held, points[point])
            span = window
            medians.append(find_median(held))
        return medians


def find_median(ordered: Sequence[float]) -> float | None:
    """As `quantile_over_time(0.5, ...)` of Prometheus has it; None for too few points or no finite result."""
    count = len(ordered)
    if count < MINIMUM_POINTS:
        return None
    low, half = divmod(count - 1, 2)
    weight = half / 2
    median = ordered[low] * (1 - weight) + ordered[min(count - 1, low + 1)] * weight
    return median if isfinite(median) else None


def read_points(signal: Signal, matrices: Sequence[Matrix], labels: Labels, steps: Iterable[int]) -> Iterable[tuple[int, float]]:
    """(step, value) of the points that the baseline query's inner expression has at these steps of a series."""
    match signal:
        case Instant():
            values = matrices[0].series.get(labels, _ABSENT).values
            return ((step, values[step]) for step in steps if step in values)
        case Ratio():
            least = signal.min_total
            parts = matrices[0].series.get(labels, _ABSENT).values
            totals = matrices[1].series.get(labels, _ABSENT).values
            return (
                (step, parts.get(step, 0.0) / total)
                for step in steps
                if (total := totals.get(step)) is not None and (total >= least if least else total > 0)
            )
        case _:
            assert_never(signal)


def list_based(rule: Rule) -> list[Signal]:
    """The signals whose baseline some condition of the rule names."""
    return [signal for signal in rule.signals if signal.name in rule.baselines]


def read_leads(signal: Signal, matrices: Sequence[Matrix], first: int) -> dict[Labels, dict[int, float]]:
    """Points before the steps, from matrices of the signal's queries whose step 0 is point `first`."""
    return {
        labels: {first + step: value for step, value in read_points(signal, matrices, labels, sorted(trace.values))}
        for labels, trace in matrices[-1].series.items()
    }


def is_plain(signal: Signal, matrices: Iterable[Matrix]) -> bool:
    """Whether the inner expression can be computed from these: no scalar, and no ratio of something that is not a number."""
    if any(NO_LABELS in matrix.series for matrix in matrices):
        return False
    return isinstance(signal, Instant) or not any(trace.undefined for matrix in matrices for trace in matrix.series.values())
