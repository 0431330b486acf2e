"""Medians from a signal's own points: sliding over them gives what each moment alone gives, within the limits of the points."""

from array import array
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.condition import Scope
from detector.domain.median import Lattice, Track, find_lattice, find_median, is_plain
from detector.domain.outcome import Matrix, NoData, Row, Samples, Trace
from detector.domain.rule import BaselineSpan, Instant, Location, Policy, Ratio, Recovery, Rule

LABELS = (("service", "one"),)
OFTEN = st.sampled_from([0.0, 1.0, 1.5, 2.0, -3.0, 7.25])
POINTS = st.dictionaries(st.integers(0, 99), OFTEN, max_size=80)


def _rule(*, over: float = 3600.0, ago: float = 600.0, offset: float = 0.0, query: str = "level") -> Rule:
    return Rule(
        name="a",
        signals=(Instant("level", query),),
        policy=Policy(Scope(("level",)).compile("level > 2.0 * level_baseline"), Recovery("false", ()), ()),
        source=Location("a.yaml", 1),
        baselines=frozenset({"level"}),
        baseline=BaselineSpan(over, ago),
        offset_seconds=offset,
    )


@given(POINTS, POINTS, st.sampled_from([1, 2, 4]), st.integers(0, 59_999))
def test_sliding_is_the_same_as_sorting(lead: dict[int, float], values: dict[int, float], finer: int, phase_ms: int) -> None:
    """At every slot the sliding median is that of the window's points alone, and lies within the limits."""
    lattice = Lattice(60_000, 1_200_000, 120_000, 6_000_000, 60_000 // finer)
    steps = {number * finer: value for number, value in values.items()}
    track = Track(Instant("level", "level"), lattice, {LABELS: lead}, (Matrix({LABELS: Trace(steps)}),))
    slots = [6000.0 + phase_ms / 1000 + 60 * number for number in range(90) for _ in range(2)]
    medians = track.list_medians(LABELS, slots)
    points = {**{point: value for point, value in lead.items() if point < 100}, **{100 + k: value for k, value in values.items()}}
    for slot, found in zip(slots, medians, strict=True):
        inside = [value for point, value in points.items() if slot - 1320 < point * 60 <= slot - 120]
        assert found == (median(inside) if len(inside) >= 10 else None)
        assert track.answer(slot, [LABELS]) == (NoData() if found is None else Samples({LABELS: found}))
        if found is not None:
            limits = track.find_limits(LABELS)
            assert min(limits) <= found <= max(limits)


@given(
    st.lists(st.tuples(OFTEN, st.sampled_from([0.0, 5.0, 10.0, 40.0])), min_size=40, max_size=40),
    st.sampled_from([1, 2]),
    st.sampled_from([None, 10.0]),
    POINTS,
)
def test_rows_without_a_hole_are_read_alike(
    columns: list[tuple[float, float]], finer: int, least: float | None, lead: dict[int, float]
) -> None:
    """However the points are held, they and their limits are the same, in the lead and after it."""
    lattice = Lattice(60_000, 1_200_000, 0, 6_000_000, 60_000 // finer)
    values = [[part for part, _ in columns], [total for _, total in columns]]
    rows = [Matrix({LABELS: Trace(Row(array("d", column)))}) for column in values]
    plain = [Matrix({LABELS: Trace(dict(enumerate(column)))}) for column in values]
    for signal, count in ((Instant("level", "level"), 1), (Ratio("rate", "a", "b", min_total=least), 2)):
        one = Track(signal, lattice, {LABELS: lead}, tuple(rows[:count]))
        other = Track(signal, lattice, {LABELS: lead}, tuple(plain[:count]))
        for points in (range(80, 110), range(100, 115), range(104, 108), range(20, 30)):
            found = one.read(LABELS, points)
            assert list(found.items()) == list(other.read(LABELS, points).items())
            limits = one.find_limits(LABELS)
            assert all(min(limits) <= value <= max(limits) for value in found.values())


def test_ratios_are_those_of_the_query() -> None:
    """No numerator is 0, too little traffic and none at all are no points."""
    lattice = Lattice(60_000, 1_200_000, 0, 6_000_000, 60_000)
    parts, totals = Trace({0: 1.0, 2: 9.0, 3: 3.0}), Trace({0: 10.0, 1: 40.0, 2: 9.9, 3: 12.0})
    matrices = (Matrix({LABELS: parts}), Matrix({LABELS: totals}))
    assert Track(Ratio("rate", "a", "b", min_total=10), lattice, {}, matrices).read(LABELS, range(90, 110)) == {
        100: 0.1,
        101: 0.0,
        103: 0.25,
    }


def test_no_finite_median_is_none() -> None:
    """Prometheus answers a number that is none, and an answer that is no number is no baseline."""
    assert find_median([1.0] * 5 + [float("inf")] * 5) is None
    assert find_median([1.0] * 10) == 1.0


@pytest.mark.parametrize(
    ("rule", "start", "step", "slot", "known"),
    [
        (_rule(), 6000.0, 60.0, 5990.5, True),
        (_rule(), 6000.0, 15.0, 5990.5, True),
        (_rule(ago=90.0), 6000.0, 60.0, 5990.5, True),
        (_rule(), 6000.0, 60.0, 6000.0, False),  # a point at the very beginning of the range
        (_rule(), 6000.0, 300.0, 5990.5, False),  # no steps at most points
        (_rule(), 6010.0, 60.0, 5990.5, False),  # steps beside the points
        (_rule(offset=45.0), 6000.0, 60.0, 5990.5, False),
        (_rule(offset=120.0), 6000.0, 60.0, 5990.5, True),
        (_rule(offset=1200.0), 6000.0, 60.0, 5990.5, False),  # the newest points are not loaded
        (_rule(ago=86_400.0), 6000.0, 60.0, 5990.5, False),  # a day of points before the first step
        (_rule(query="level @ end()"), 6000.0, 60.0, 5990.5, False),
    ],
)
def test_where_it_can_be_computed(rule: Rule, start: float, step: float, slot: float, *, known: bool) -> None:
    """Only where every point of the query is a loaded step, and the range asked over changes nothing."""
    count = int(7200 / step)
    slots = [slot + 60 * (number * step // 60) for number in range(count)]
    assert (find_lattice(rule, slots, 60.0 if step < 60 else step, start, count, step) is not None) is known


def test_what_is_not_computed() -> None:
    """A scalar, whose baseline Prometheus refuses, and a ratio of what is no number."""
    plain = Matrix({LABELS: Trace({0: 1.0}, frozenset({1}))})
    assert is_plain(Instant("level", "level"), [plain])
    assert not is_plain(Ratio("rate", "a", "b"), [plain, plain])
    assert not is_plain(Instant("level", "1"), [Matrix({(): Trace({0: 1.0})})])
