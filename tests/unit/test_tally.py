"""What is added up of rules at rest reads like what is counted one by one, in any order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.web.metrics import Metrics
from tests.kit.stage import make_rule

NAMES = ("a", "b", "c", "d")
_CROWDS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
_SECONDS = st.sampled_from((0.005, 0.01, 0.3, 20.0))
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("rest"), _CROWDS, _SECONDS),
        st.tuples(st.just("alone"), st.sampled_from(NAMES), _SECONDS),
        st.tuples(st.just("look"), st.none(), st.none()),
        st.tuples(st.just("load"), _CROWDS, st.none()),
    ),
    max_size=40,
)


@given(_EVENTS, st.integers(1, 150))
def test_crowds_count_as_their_rules_one_by_one(events: list[tuple[str, object, float | None]], times: int) -> None:
    """Counts, buckets, sums and the last success are the same, whoever is counted alone, looked at or reloaded in between."""
    crowds, singles = Metrics("1"), Metrics("1")
    for each in (crowds, singles):
        each.rules_loaded([make_rule(name) for name in NAMES], 0.0)
    for number, (what, whom, seconds) in enumerate(events * (1 + times // 50)):
        at = float(1000 - number)  # the clock may be set back: the last word counts
        match what, whom:
            case "rest", list(names):
                crowds.rules_rested(names, seconds or 0.0, at)
                for name in names:
                    singles.rule_evaluated(name, "ok", seconds or 0.0, at, "")
            case "alone", str(name):
                for each in (crowds, singles):
                    each.rule_evaluated(name, "error", seconds or 0.0, at, "refused")
            case "load", list(names):
                for each in (crowds, singles):
                    each.rules_loaded([make_rule(name) for name in names], at)
            case _:
                crowds.render()
    assert _read(crowds) == _read(singles)


def test_thousands_of_slots_that_nobody_looks_at_are_counted_all() -> None:
    """Without a scrape what is held is settled by itself, and none is lost."""
    metrics = Metrics("1")
    metrics.rules_loaded([make_rule("a")], 0.0)
    for slot in range(1234):
        metrics.rules_rested(["a"], 0.25, float(slot))
    text = metrics.render().decode()
    assert 'detector_evaluations_total{outcome="ok",rule="a"} 1234.0' in text
    assert 'detector_last_successful_evaluation_timestamp_seconds{rule="a"} 1233.0' in text


def _read(metrics: Metrics) -> list[tuple[str, float]]:
    lines = metrics.render().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if 'rule="' in line)
    return [(name, round(float(number), 6)) for name, number in pairs]
