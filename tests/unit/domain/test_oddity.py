"""What counts as unusual: robust against outliers, with floors, and silent about what is unknown."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain.label import make_labels
from detector.domain.oddity import Usual, find_oddities, measure_usual, read_past
from detector.domain.outcome import FailureReason, NoData, QueryFailed, RangeOutcome, RangeSamples, Samples
from detector.domain.reading import plan_queries, read_signals
from detector.domain.rule import Instant, Location, Ratio, Rule
from tests.kit.stage import make_rule

SHOP = make_labels({"service": "shop"})
CART = make_labels({"service": "cart"})


def make(*signals: Instant | Ratio) -> Rule:
    """A rule by service with these signals."""
    plain = make_rule("web")
    return Rule("web", signals, plain.policy, Location("rules.yaml", 1), by=("service",))


P95 = make(Instant("p95", "p95[$window]"))
ERRORS = make(Ratio("error_rate", "errors", "total", min_total=20))


def past(rule: Rule, **columns: list[float]) -> dict[str, RangeOutcome]:
    """What the range queries answer: one value a minute for shop, by the first word of the query."""
    answers: dict[str, RangeOutcome] = {}
    for query in plan_queries(rule):
        values = columns.get(query.partition("[")[0], [])
        answers[query] = (
            RangeSamples({SHOP: tuple((60.0 * step, value) for step, value in enumerate(values))}) if values else NoData()
        )
    return answers


def find(rule: Rule, before: Mapping[str, RangeOutcome], services: tuple[str, ...] = ("shop",), **now: float) -> list[str]:
    """The texts of what is odd now, in shop."""
    outcomes = {query: Samples({SHOP: now[query.partition("[")[0]]}) for query in plan_queries(rule)}
    return [oddity.text for oddity in find_oddities(rule, read_past(rule, before), read_signals(rule, outcomes), services)]


def test_the_spread_is_that_of_the_middle_of_the_past() -> None:
    """An hour of 0.9 to 1.1 with five outliers of 100: the outliers neither move the middle nor widen the spread."""
    values = [1.0 + 0.01 * (step % 21 - 10) for step in range(55)] + [100.0] * 5
    usual = measure_usual(values)
    assert usual is not None
    assert usual.middle == pytest.approx(1.0, abs=0.03)
    assert usual.spread < 0.1
    assert usual.finds_odd(2.0)
    assert not usual.finds_odd(1.1)


def test_fewer_than_ten_points_say_nothing() -> None:
    """Too short a past is no past."""
    assert measure_usual([1.0] * 9) is None
    assert measure_usual([1.0] * 10) == Usual(1.0, 0.0)


@pytest.mark.parametrize(("value", "odd"), [(1.19, False), (0.81, False), (1.21, True), (0.79, True)])
def test_a_past_without_variation_has_a_floor_of_a_fifth(value: float, odd: bool) -> None:  # noqa: FBT001 - a column of the table
    """A constant past does not make every flicker a finding."""
    assert Usual(1.0, 0.0).finds_odd(value) is odd


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=60),
    st.floats(-1e6, 1e6),
    st.floats(0.001, 1000.0),
)
def test_the_unit_of_a_signal_does_not_matter(values: list[float], value: float, factor: float) -> None:
    """Seconds or milliseconds: what is odd in one is odd in the other."""
    plain, scaled = measure_usual(values), measure_usual([factor * each for each in values])
    assert plain is not None
    assert scaled is not None
    bound = max(5 * plain.spread, 0.2 * abs(plain.middle))
    if not math.isclose(abs(value - plain.middle), bound, rel_tol=1e-6, abs_tol=1e-6):
        assert plain.finds_odd(value) == scaled.finds_odd(factor * value)


def test_a_latency_that_stays_high_is_named_with_what_is_usual() -> None:
    """The finding says rule, signal, labels, value and median."""
    before = past(P95, p95=[0.2, 0.21, 0.19] * 5)
    assert find(P95, before, p95=0.8) == ["web p95 service=shop is 0.8 s, usually 0.2 s"]
    assert find(P95, before, p95=0.22) == []


def test_a_ratio_is_divided_before_it_is_compared() -> None:
    """Errors that grow with the traffic are usual; a share that was 0 must rise above 0.001; thin traffic says nothing."""
    before = past(ERRORS, errors=[1.0] * 20, total=[1000.0] * 20)
    assert find(ERRORS, before, errors=5.0, total=5000.0) == []
    assert find(ERRORS, before, errors=50.0, total=1000.0) == ["web error_rate service=shop is 5%, usually 0.1%"]
    never = past(ERRORS, total=[1000.0] * 20)
    assert find(ERRORS, never, errors=0.5, total=1000.0) == []
    assert find(ERRORS, never, errors=5.0, total=1000.0) == ["web error_rate service=shop is 0.5%, usually 0%"]
    assert find(ERRORS, before, errors=5.0, total=10.0) == []


def test_only_the_services_of_the_incident_are_compared() -> None:
    """What is odd elsewhere is another incident's business."""
    before = past(P95, p95=[0.2] * 20)
    assert find(P95, before, services=("cart",), p95=0.8) == []


def test_what_is_unknown_is_not_odd() -> None:
    """A failed query, then or now, an empty past, a series that is gone."""
    failed = dict.fromkeys(plan_queries(P95), QueryFailed(FailureReason.TIMEOUT))
    assert find(P95, failed, p95=0.8) == []
    assert find(P95, {}, p95=0.8) == []
    known = read_past(P95, past(P95, p95=[0.2] * 20))
    for now in (NoData(), QueryFailed(FailureReason.TIMEOUT), Samples({CART: 0.8})):
        assert find_oddities(P95, known, read_signals(P95, dict.fromkeys(plan_queries(P95), now)), ("shop",)) == ()
