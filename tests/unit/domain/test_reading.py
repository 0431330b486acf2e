"""From query outcomes to signal values: ratios, windows, projection, and the several ways of having no value."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, Samples
from detector.domain.reading import Column, fill_window, plan_queries, read_signals, wilson_lower
from detector.domain.rule import Instant, Location, Policy, Ratio, Recovery, Rule, Rung
from detector.domain.severity import Severity
from tests.kit.course import shop
from tests.kit.stage import compare

if TYPE_CHECKING:
    from detector.domain.label import Labels

SHOP = shop()
FAILED = QueryFailed(FailureReason.CONNECT, "refused")


def make_rule(*signals: Instant | Ratio, by: tuple[str, ...] | None = ("service",), rung: str = "error_rate") -> Rule:
    """A rule over the signals whose ladder names `rung`."""
    condition = compare("error_rate", ">", 0.01)
    rungs = (Rung(Severity.HIGH, compare(rung, ">", 0.5)),)
    return Rule("errors", signals, Policy(condition, Recovery("", ()), rungs), Location("rules.yaml", 1), by=by)


def read_ratio(errors: Outcome, total: Outcome, *, min_total: float | None = None, confidence: float | None = None) -> Column:
    """The column of a ratio signal."""
    rule = make_rule(Ratio("error_rate", "n", "d", min_total, confidence))
    return read_signals(rule, {"n": errors, "d": total}).columns["error_rate"]


def one(value: float, labels: Labels = SHOP) -> Samples:
    """One series."""
    return Samples({labels: value})


@pytest.mark.parametrize(
    ("errors", "total", "min_total", "value", "where"),
    [
        (one(5), one(100), None, 0.05, "values"),
        (NoData(), one(100), None, 0.0, "values"),
        (one(5, shop("other")), one(100), None, 0.0, "values"),
        (one(5), NoData(), None, None, ""),
        (one(5), one(100, shop("other")), None, None, ""),
        (one(0), one(0), None, None, "idle"),
        (NoData(), one(0), None, None, "idle"),
        (one(5), NoData(1, frozenset({SHOP})), None, None, "idle"),
        (one(5), one(19.999), 20.0, None, "thin"),
        (one(5), one(20), 20.0, 0.25, "values"),
        (one(5), one(0), 20.0, None, "thin"),
        (FAILED, one(100), None, None, "failed"),
        (NoData(), FAILED, None, None, "failed"),
    ],
)
def test_a_ratio_of_every_pair_of_outcomes(
    errors: Outcome, total: Outcome, min_total: float | None, value: float | None, where: str
) -> None:
    """A missing numerator is 0, a missing or zero denominator is no data, a small one is thin, a failure of either is a failure."""
    column = read_ratio(errors, total, min_total=min_total)
    assert column.values.get(SHOP) == value
    found = {
        "values": SHOP in column.values,
        "idle": SHOP in column.idle,
        "thin": SHOP in column.thin,
        "failed": column.failed is not None,
    }
    assert [name for name, holds in found.items() if holds] == ([where] if where else [])


def test_a_failed_half_of_a_ratio_is_told_by_its_own_reason() -> None:
    """The readings say which failure it was."""
    rule = make_rule(Ratio("error_rate", "n", "d"))
    readings = read_signals(rule, {"n": one(1), "d": FAILED})
    assert readings.failed == FAILED
    assert readings.empty


def test_a_query_that_was_not_asked_counts_as_failed() -> None:
    """A hole in the outcomes is no empty answer."""
    readings = read_signals(make_rule(Instant("error_rate", "n")), {})
    assert readings.failed is not None
    assert readings.failed.reason is FailureReason.INTERNAL


def test_wilson_bound_of_a_known_case() -> None:
    """8 of 10 at one-sided 97.5% is 0.4902, the lower end of the usual 95% interval."""
    assert wilson_lower(0.8, 10, 0.975) == pytest.approx(0.4902, abs=1e-4)


@given(share=st.floats(0.001, 1), total=st.floats(1, 1e6), confidence=st.floats(0.6, 0.999))
def test_wilson_bound_solves_its_equation(share: float, total: float, confidence: float) -> None:
    """At the bound b, what was seen lies z standard deviations of b away: (share - b)^2 = z^2 b (1 - b) / total."""
    z = NormalDist().inv_cdf(confidence)
    bound = wilson_lower(share, total, confidence)
    assert (share - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / total, rel=1e-6, abs=1e-9)


def test_a_ratio_without_confidence_has_no_bound_and_with_it_keeps_the_plain_value() -> None:
    """The bound stands beside the plain ratio, never in its place."""
    assert read_ratio(one(1), one(10)).lower is None
    column = read_ratio(one(1), one(10), confidence=0.95)
    assert column.values == {SHOP: 0.1}
    assert column.lower is not None
    assert column.lower[SHOP] == pytest.approx(wilson_lower(0.1, 10, 0.95))


@given(share=st.floats(0, 1), total=st.floats(0.5, 1e9), confidence=st.floats(0.5, 0.999))
def test_wilson_bound_lies_between_zero_and_the_share(share: float, total: float, confidence: float) -> None:
    """Whatever the traffic, the bound never exceeds what was seen and never is negative."""
    assert 0.0 <= wilson_lower(share, total, confidence) <= share + 1e-9


def test_the_window_is_filled_in_wherever_it_stands() -> None:
    """`$window` becomes a PromQL duration, as often as it occurs."""
    assert fill_window("a[$window] / b[$window]", 5400) == "a[1h30m] / b[1h30m]"
    assert fill_window("a[$window]", 0.25) == "a[250ms]"
    assert fill_window("up", 300) == "up"


def test_queries_are_planned_once_each() -> None:
    """Signals that share a query cost one; the severity plan adds only the windowed queries that the ladder needs."""
    rule = make_rule(
        Ratio("error_rate", "e[$window]", "t[$window]"),
        Ratio("drop_rate", "x[$window]", "t[$window]"),
        Instant("up", "up"),
    )
    assert plan_queries(rule) == ("e[5m]", "t[5m]", "x[5m]", "up")
    assert plan_queries(rule, severity=True) == ("e[1m]", "t[1m]")
    assert plan_queries(make_rule(Instant("up", "up"), rung="up"), severity=True) == ()


def test_severity_readings_hold_only_what_the_ladder_names() -> None:
    """A signal that no rung names is not read over the severity window; one without a window is read from its only query."""
    rule = make_rule(Instant("error_rate", "e[$window]"), Instant("p95", "p"), rung="p95")
    readings = read_signals(rule, {"e[5m]": one(1), "p": one(2)}, severity=True)
    assert set(readings.columns) == {"p95"}
    assert readings.columns["p95"].values == {SHOP: 2}


def test_labels_are_projected_to_those_of_the_rule() -> None:
    """Labels beyond `by` are cut off; without `by` every label counts."""
    sample = Samples({shop(pod="a"): 1.0})
    assert read_signals(make_rule(Instant("error_rate", "q")), {"q": sample}).keys == {SHOP}
    assert read_signals(make_rule(Instant("error_rate", "q"), by=None), {"q": sample}).keys == {shop(pod="a")}


def test_two_series_for_one_alert_are_a_failure_that_says_what_to_do() -> None:
    """Choosing one of them would be a guess."""
    readings = read_signals(make_rule(Instant("error_rate", "q")), {"q": Samples({shop(pod="a"): 1.0, shop(pod="b"): 0.0})})
    assert readings.failed is not None
    assert readings.failed.reason is FailureReason.DUPLICATE
    assert "aggregate the query by (service)" in readings.failed.detail
    assert readings.empty


def test_a_series_without_a_value_is_known_and_idle() -> None:
    """NaN is no value, and yet the series has not vanished; another signal's value ends the idleness."""
    nan = NoData(1, frozenset({shop(pod="a")}))
    rule = make_rule(Instant("p95", "p"), Instant("up", "u"))
    readings = read_signals(rule, {"p": nan, "u": NoData()})
    assert (readings.keys, readings.idle, readings.empty) == ({SHOP}, {SHOP}, False)
    readings = read_signals(rule, {"p": nan, "u": one(1)})
    assert (readings.keys, readings.idle) == ({SHOP}, set())
