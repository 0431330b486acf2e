"""Baselines: which medians are asked for, and what their answers are worth."""

from __future__ import annotations

import promql_parser
import pytest

from detector.domain.baseline import plan_baselines, plan_history, read_baselines, read_history
from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, Samples
from tests.kit.course import Course, shop

TEXT = """
rules:
  - name: errors
    by: [service]
    window: 5m
    signals:
      error_rate: {ratio: ['sum by (service) (increase(e[$window]))', 'sum by (service) (increase(t[$window]))'], min_total: 20}
      p95: p95s
      free: free
    open: error_rate > 4.0 * error_rate_baseline || p95 > 1
    recover: "!open && p95 <= 1.2 * p95_baseline"
"""
RULE = Course(TEXT).rule


def test_only_signals_whose_baseline_is_named_are_asked() -> None:
    """A baseline that no condition reads is not worth a query."""
    assert set(plan_baselines(RULE)) == set(plan_history(RULE)) == {"error_rate", "p95"}


@pytest.mark.parametrize(
    "query", [*plan_baselines(RULE).values(), *(text for texts in plan_history(RULE).values() for text in texts)]
)
def test_every_query_is_promql(query: str) -> None:
    """What is asked parses, with the window filled in."""
    promql_parser.parse(query)
    assert "$window" not in query


def test_the_median_is_taken_over_the_span_that_ended_ten_minutes_ago() -> None:
    """The default is one hour up to ten minutes ago, in steps of a minute, of at least ten points."""
    query = plan_baselines(RULE)["p95"]
    assert query.startswith("quantile_over_time(0.5, ")
    assert query.count("[1h:1m] offset 10m") == 2
    assert query.endswith(">= 10)")


def test_history_looks_at_the_same_hour_a_day_and_a_week_ago() -> None:
    """The span is centred on the same time of day."""
    day, week = plan_history(RULE)["p95"]
    assert "offset 23h30m" in day
    assert "offset 6d23h30m" in week


def test_a_ratio_baseline_is_floored_and_a_plain_one_is_not() -> None:
    """Four times a baseline of nothing would page on the first error."""
    queries = plan_baselines(RULE)
    outcomes = {query: Samples({shop(): 0.0001, shop("busy"): 0.01}) for query in queries.values()}
    found = read_baselines(RULE, outcomes)
    assert found["error_rate"] == {shop(): 0.001, shop("busy"): 0.01}
    assert found["p95"] == {shop(): 0.0001, shop("busy"): 0.01}


def test_a_failed_or_empty_query_gives_no_baseline() -> None:
    """Missing is missing, never zero."""
    queries = plan_baselines(RULE)
    outcomes: dict[str, Outcome] = {queries["error_rate"]: QueryFailed(FailureReason.TIMEOUT), queries["p95"]: NoData()}
    assert not any(read_baselines(RULE, outcomes).values())
    assert not any(read_baselines(RULE, {}).values())


def test_the_greater_of_the_two_medians_counts_and_one_alone_counts_too() -> None:
    """A week ago may be missing, and a day ago may have been quiet."""
    day, week = plan_history(RULE)["p95"]
    assert read_history(RULE, {day: Samples({shop(): 0.2}), week: Samples({shop(): 0.3})})["p95"] == {shop(): 0.3}
    assert read_history(RULE, {day: Samples({shop(): 0.2}), week: NoData()})["p95"] == {shop(): 0.2}
