"""Whether more comes in than usual: the requests of now against the same hour of other days, and the last minute by itself.

An incident is seen within seconds of its cause: by then the requests over a rule's window have hardly risen. So the last minute is
looked at too, and is bad only where it is also more than any minute of the two hours before: what comes in bursts is not blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from detector.domain.check import Check, Result, Verdict
from detector.domain.course import HISTORY_STEPS, RECENT_STEPS, Course
from detector.domain.label import Labels
from detector.domain.outcome import MatrixOutcome, QueryFailed
from detector.domain.quantity import format_number

DAY_SECONDS = 86_400.0
_HALF_SPAN_SECONDS = 1800.0
_HISTORY_STEP_SECONDS = 300.0
_LEAST_MINUTES = 30


def read_history(at: float) -> list[tuple[float, int, float]]:
    """What to ask: begin, count and step of an hour around the same time a day and a week ago."""
    count = int(2 * _HALF_SPAN_SECONDS / _HISTORY_STEP_SECONDS) + 1
    return [(at - days * DAY_SECONDS - _HALF_SPAN_SECONDS, count, _HISTORY_STEP_SECONDS) for days in (1, 7)]


def find_burst(labels: Labels, outcome: MatrixOutcome, days: Sequence[MatrixOutcome]) -> float | None:
    """How many times its usual the last minute is, where it is more than all minutes before; None where it is not, or not known.

    `outcome`: requests in a minute, over the steps of a course; `days`: the same around this hour of other days.
    """
    if isinstance(outcome, QueryFailed) or (trace := outcome.series.get(labels)) is None:
        return None
    last = trace.values.get(HISTORY_STEPS)
    history = [value for step, value in trace.values.items() if step < HISTORY_STEPS - RECENT_STEPS]
    if last is None or len(history) < _LEAST_MINUTES or last <= max(history) or median(history) <= 0:
        return None
    seen_before = any(
        max(other.values.values(), default=0.0) >= last
        for day in days
        if not isinstance(day, QueryFailed) and (other := day.series.get(labels)) is not None
    )
    return None if seen_before else last / median(history)


def judge_traffic(course: Course, days: Sequence[MatrixOutcome], above: float, burst: float | None = None) -> Result:
    """Bad when the median of the last minutes is more than `above` times the greatest usual; without other days, of two hours.

    `burst`: what `find_burst` said of the last minute.
    """
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
    if burst is not None and burst > above:
        message = f"requests now {format_number(round(burst, 2))} times the median of the two hours before, more than ever in them"
        return Result(Check.TRAFFIC, Verdict.BAD, message)
    level, most = median(now), max(usual)
    if most <= 0:
        message = f"{format_number(round(level))} requests in a window, usually none at this hour"
        return Result(Check.TRAFFIC, Verdict.BAD if level > 0 else Verdict.OK, message)
    factor = level / most
    message = f"{format_number(round(level))} requests in a window, {format_number(round(factor, 2))} times {said}"
    return Result(Check.TRAFFIC, Verdict.BAD if factor > above else Verdict.OK, message)
