"""Whether more comes in than usual: the requests of now against the same hour of other days."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from detector.domain.check import Check, Result, Verdict
from detector.domain.course import RECENT_STEPS, Course
from detector.domain.outcome import MatrixOutcome, QueryFailed
from detector.domain.quantity import format_number

DAY_SECONDS = 86_400.0
_HALF_SPAN_SECONDS = 1800.0
_HISTORY_STEP_SECONDS = 300.0


def read_history(at: float) -> list[tuple[float, int, float]]:
    """What to ask: begin, count and step of an hour around the same time a day and a week ago."""
    count = int(2 * _HALF_SPAN_SECONDS / _HISTORY_STEP_SECONDS) + 1
    return [(at - days * DAY_SECONDS - _HALF_SPAN_SECONDS, count, _HISTORY_STEP_SECONDS) for days in (1, 7)]


def judge_traffic(course: Course, days: Sequence[MatrixOutcome], above: float) -> Result:
    """Bad when the median of the last minutes is more than `above` times the greatest usual; without other days, of two hours."""
    traffic = course.traffic or ()
    now = [value for value in traffic[-3:] if value is not None]
    if not now:
        return Result(Check.TRAFFIC, Verdict.UNKNOWN, "no requests are counted now")
    usual: list[float] = []
    for outcome in days:
        if isinstance(outcome, QueryFailed):
            return Result(
                Check.TRAFFIC, Verdict.UNKNOWN, f"the history could not be asked: {outcome.reason.value}: {outcome.detail}"
            )
        values = [value for labels, trace in outcome.series.items() if labels == course.labels for value in trace.values.values()]
        if values:
            usual.append(median(values))
    said = "the same hour on other days"
    if not usual:
        before = [value for value in traffic[: len(traffic) - RECENT_STEPS] if value is not None]
        if not before:
            return Result(
                Check.TRAFFIC, Verdict.UNKNOWN, f"{format_number(median(now))} requests in a window; no history to compare with"
            )
        usual, said = [median(before)], "the median of the two hours before (no history of other days)"
    level, most = median(now), max(usual)
    if most <= 0:
        message = f"{format_number(round(level))} requests in a window, usually none at this hour"
        return Result(Check.TRAFFIC, Verdict.BAD if level > 0 else Verdict.OK, message)
    factor = level / most
    message = f"{format_number(round(level))} requests in a window, {format_number(round(factor, 2))} times {said}"
    return Result(Check.TRAFFIC, Verdict.BAD if factor > above else Verdict.OK, message)
