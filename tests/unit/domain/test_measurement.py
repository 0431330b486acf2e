"""Judging measurements, and what a check says of several."""

import pytest

from detector.domain.check import Check, Verdict
from detector.domain.course import HISTORY_STEPS, RECENT_STEPS, Course
from detector.domain.exporter import DEFAULTS
from detector.domain.label import make_labels
from detector.domain.measurement import Evidence, Measurement, Unit, conclude, fill, judge
from detector.domain.outcome import FailureReason, Matrix, NoData, Outcome, QueryFailed, Samples, Trace
from detector.domain.traffic import find_burst, judge_traffic, read_history

NOW = 1_800_000_000.0
HOST = make_labels({"instance": "db1", "job": "postgres"})
OTHER = make_labels({"instance": "db2"})
FULL = Measurement("connections used", "x", above=0.8, unit=Unit.SHARE)


@pytest.mark.parametrize(
    ("measurement", "outcome", "verdict", "text"),
    [
        (FULL, Samples({HOST: 0.5}), Verdict.OK, "connections used (db1) 50%, limit 80%"),
        (FULL, Samples({HOST: 0.5, OTHER: 0.9}), Verdict.BAD, "connections used (db2) 90%, limit 80%"),
        (FULL, Samples({HOST: 0.8}), Verdict.OK, "connections used (db1) 80%, limit 80%"),
        (Measurement("up", "x", below=1.0), Samples({HOST: 0.0}), Verdict.BAD, "up (db1) 0, at least 1"),
        (Measurement("up", "x", below=1.0), Samples({HOST: 1.0}), Verdict.OK, "up (db1) 1, at least 1"),
        (Measurement("lag", "x", above=30.0, unit=Unit.SECONDS), Samples({(): 90.0}), Verdict.BAD, "lag 1m30s, limit 30s"),
        (Measurement("deadlocks", "x", above=0.0), Samples({(): 3.0}), Verdict.BAD, "deadlocks: 3"),
        (Measurement("started", "x", since_seconds=3600.0), Samples({HOST: NOW - 300}), Verdict.BAD, "started (db1) 5m before"),
        (Measurement("started", "x", since_seconds=3600.0), Samples({HOST: NOW - 7200}), Verdict.OK, "started (db1) 2h before"),
        (FULL, NoData(), Verdict.UNKNOWN, ""),
        (FULL, QueryFailed(FailureReason.TIMEOUT), Verdict.UNKNOWN, ""),
    ],
)
def test_a_measurement_is_held_to_its_limit(measurement: Measurement, outcome: Outcome, verdict: Verdict, text: str) -> None:
    """The worst series counts; the text has its value and the limit in their unit; nothing found is unknown."""
    found = judge(measurement, outcome, NOW)
    assert (found.verdict, found.text) == (verdict, text)


def test_what_starts_after_the_moment_asked_about_is_no_finding() -> None:
    """Looking at a past moment, a later restart means nothing."""
    later = judge(Measurement("started", "x", since_seconds=3600.0), Samples({HOST: NOW + 60}), NOW)
    assert later.verdict is Verdict.OK


GOOD = Evidence("a", Verdict.OK, "a is fine", -0.5)
BAD = Evidence("b", Verdict.BAD, "b is bad", 1.0)
WORSE = Evidence("c", Verdict.BAD, "c is worse", 2.0)
ABSENT = Evidence("d", Verdict.UNKNOWN)
FAILED = Evidence("e", Verdict.UNKNOWN, failed="timeout: 8 s")


@pytest.mark.parametrize(
    ("found", "verdict", "message"),
    [
        ([GOOD, ABSENT], Verdict.OK, "a is fine"),
        ([GOOD, BAD, WORSE, FAILED], Verdict.BAD, "c is worse; b is bad"),
        ([GOOD, FAILED], Verdict.UNKNOWN, "e could not be asked: timeout: 8 s"),
        ([ABSENT], Verdict.UNKNOWN, "no such metric (looked for d)"),
        ([], Verdict.UNKNOWN, "nothing to look at"),
        ([BAD] * 5, Verdict.BAD, "b is bad; b is bad; b is bad and 2 more"),
    ],
)
def test_a_check_says_the_worst_first(found: list[Evidence], verdict: Verdict, message: str) -> None:
    """Bad beats unknown beats fine; a query that failed is never fine; an absent metric is no verdict."""
    result = conclude(Check.DATABASE, found)
    assert (result.verdict, result.message) == (verdict, message)


def test_a_service_name_cannot_leave_its_string() -> None:
    """A hostile name stays the content of a PromQL string."""
    assert fill('up{job="$service"}', 'a"} or vector(1) #\\\n', "5m") == 'up{job="a\\"} or vector(1) #\\\\\\n"}'


def test_defaults_have_names_and_limits() -> None:
    """Every default measurement can be bad, and none repeats a name within its check."""
    for check, measurements in DEFAULTS.items():
        named = [item.name for item in measurements]
        assert len(set(named)) == len(named), check
        assert all(item.above is not None or item.below is not None or item.since_seconds for item in measurements)


def make_course(now: float, before: float = 100.0) -> Course:
    """Requests in a window: `before`, and in the last five steps `now`."""
    traffic = (before,) * (HISTORY_STEPS - 4) + (now,) * 5
    return Course("shop", "error_rate", (0.0,) * len(traffic), traffic, "q", HOST)


def make_day(level: float) -> Matrix:
    """An hour of another day."""
    return Matrix({HOST: Trace(dict.fromkeys(range(13), level)), OTHER: Trace({0: 1e9})})


@pytest.mark.parametrize(
    ("now", "days", "verdict", "part"),
    [
        (300.0, [100.0, 110.0], Verdict.BAD, "2.73 times the same hour on other days"),
        (300.0, [100.0, 290.0], Verdict.OK, "1.03 times"),
        (300.0, [], Verdict.BAD, "3 times the median of the two hours before (no history of other days)"),
        (150.0, [], Verdict.OK, "1.5 times"),
        (10.0, [0.0], Verdict.BAD, "10 requests in a window, usually none at this hour"),
        (0.0, [0.0], Verdict.OK, "0 requests"),
    ],
)
def test_traffic_is_held_against_the_greatest_usual(now: float, days: list[float], verdict: Verdict, part: str) -> None:
    """The same series on other days; without them the two hours before."""
    result = judge_traffic(make_course(now), [make_day(level) for level in days], 2.0)
    assert result.verdict is verdict
    assert part in result.message


@pytest.mark.parametrize(
    ("before", "last", "other_days", "burst"),
    [
        ([10.0], 50.0, [], 5.0),
        ([10.0], 50.0, [10.0, 12.0], 5.0),
        ([10.0], 50.0, [60.0], None),  # it comes every day at this hour
        ([10.0, 60.0], 50.0, [], None),  # it comes now and then
        ([0.0], 50.0, [], None),
    ],
)
def test_a_burst_is_more_than_any_minute_before(
    before: list[float], last: float, other_days: list[float], burst: float | None
) -> None:
    """The last minute by itself, against the median of the two hours and the greatest minute of them and of other days."""
    steps = HISTORY_STEPS - RECENT_STEPS
    values = {step: before[step % len(before)] for step in range(steps)} | {HISTORY_STEPS: last}
    minutes = Matrix({HOST: Trace(values), OTHER: Trace({HISTORY_STEPS: 1e9})})
    assert find_burst(HOST, minutes, [make_day(level) for level in other_days]) == burst


def test_no_burst_without_a_history_of_minutes() -> None:
    """A failed query, an absent series and a short history say nothing."""
    short = Matrix({HOST: Trace({0: 1.0, HISTORY_STEPS: 50.0})})
    assert find_burst(HOST, QueryFailed(FailureReason.TIMEOUT, "8 s"), []) is None
    assert find_burst(HOST, Matrix({}), []) is None
    assert find_burst(HOST, short, []) is None


def test_a_burst_alone_makes_traffic_bad() -> None:
    """What the rule's window does not show yet, the last minute does; a small one changes nothing."""
    assert judge_traffic(make_course(100.0), [], 2.0, 5.0).verdict is Verdict.BAD
    assert judge_traffic(make_course(100.0), [], 2.0, 1.9).verdict is Verdict.OK


def test_history_is_the_hour_around_the_same_time() -> None:
    """Half an hour to either side, a day and a week ago."""
    spans = [(begin, begin + (count - 1) * step) for begin, count, step in read_history(NOW)]
    assert spans == [(NOW - days * 86400 - 1800, NOW - days * 86400 + 1800) for days in (1, 7)]


def test_traffic_history_that_cannot_be_asked_is_unknown() -> None:
    """A failed query is no usual level."""
    result = judge_traffic(make_course(300.0), [QueryFailed(FailureReason.TIMEOUT, "8 s")], 2.0)
    assert result.verdict is Verdict.UNKNOWN
