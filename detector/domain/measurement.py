"""What a check measures: a query, the limit it is held to, and how the answer reads.

Before it: `inquiry` says which measurements a check of a service has. After it: `app/inspection` asks, `judge` says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from detector.domain.check import Check, Result, Verdict
from detector.domain.label import Labels
from detector.domain.outcome import NoData, Outcome, QueryFailed, Samples
from detector.domain.quantity import format_number, format_percent, format_span

SHOWN = 3  # a message names so many of what it found, worst first
_VALUE_CHARACTERS = 80


class Unit(StrEnum):
    """How a value reads."""

    SHARE = "share"
    SECONDS = "seconds"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number, by series: bad above `above` or below `below`. In `query`, `$service` and `$window` are filled in.

    `name` is what it is called in a message. With `since_seconds` the value is a moment (unix seconds), and bad is one that
    lies less than so long before the time of asking.
    """

    name: str
    query: str
    above: float | None = None
    below: float | None = None
    unit: Unit = Unit.NUMBER
    since_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one measurement said. `excess` orders the bad ones, worst first; `failed`: why nothing may be believed.

    `link`: where to look at it.
    """

    name: str
    verdict: Verdict
    text: str = ""
    excess: float = 0.0
    failed: str = ""
    link: str = ""


def fill(query: str, service: str, window: str) -> str:
    """The query as asked; the service's name goes in as the content of a PromQL string."""
    escaped = service.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return query.replace("$window", window).replace("$service", escaped)


def judge(measurement: Measurement, outcome: Outcome, at: float) -> Evidence:
    """What an answer means. Of several series the worst counts."""
    match outcome:
        case QueryFailed(reason=reason, detail=detail):
            failed = f"{reason.value}: {detail}" if detail else reason.value
            return Evidence(measurement.name, Verdict.UNKNOWN, failed=failed)
        case NoData():
            return Evidence(measurement.name, Verdict.UNKNOWN)
        case Samples(series=series):
            return _judge_series(measurement, series, at)


def conclude(check: Check, found: Sequence[Evidence], link: str = "") -> Result:
    """What a check says: bad if anything is, unknown if anything could not be asked or nothing is known, else OK.

    `link` is where to look further; without it, where the evidence that is named first can be seen.
    """
    bad = sorted((item for item in found if item.verdict is Verdict.BAD), key=lambda item: -item.excess)
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        return Result(check, Verdict.BAD, "; ".join(item.text for item in bad[:SHOWN]) + more, link or _find_link(bad))
    failed = next((item for item in found if item.failed), None)
    if failed is not None:
        return Result(check, Verdict.UNKNOWN, f"{failed.name} could not be asked: {failed.failed}", link or failed.link)
    good = [item for item in found if item.verdict is Verdict.OK]
    if not good:
        names = list(dict.fromkeys(item.name for item in found))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        tried = f"no such metric (looked for {', '.join(names[:SHOWN])}{more})"
        return Result(check, Verdict.UNKNOWN, tried if names else "nothing to look at", link)
    good.sort(key=lambda item: -item.excess)
    more = f"; {len(good) - SHOWN} more fine" if len(good) > SHOWN else ""
    return Result(check, Verdict.OK, "; ".join(item.text for item in good[:SHOWN]) + more, link or _find_link(good))


def _find_link(found: Sequence[Evidence]) -> str:
    return next((item.link for item in found if item.link), "")


def _judge_series(measurement: Measurement, series: Mapping[Labels, float], at: float) -> Evidence:
    worst, labels, value = max((_exceed(measurement, value, at), labels, value) for labels, value in series.items())
    verdict = Verdict.BAD if worst > 0 else Verdict.OK
    return Evidence(measurement.name, verdict, _tell(measurement, labels, value, at), worst)


def _exceed(measurement: Measurement, value: float, at: float) -> float:
    """How far beyond its limit a value is, in parts of that limit; above 0 is bad."""
    if measurement.since_seconds is not None:
        age = at - value
        return (measurement.since_seconds - age) / measurement.since_seconds if age >= 0 else -inf
    found = [-inf]
    if measurement.above is not None:
        found.append((value - measurement.above) / (abs(measurement.above) or 1.0))
    if measurement.below is not None:
        found.append((measurement.below - value) / (abs(measurement.below) or 1.0))
    return max(found)


def _tell(measurement: Measurement, labels: Labels, value: float, at: float) -> str:
    where = ", ".join(text[:_VALUE_CHARACTERS] for name, text in labels if name != "job")
    place = f" ({where})" if where else ""
    if measurement.since_seconds is not None:
        return f"{measurement.name}{place} {format_span(max(0.0, at - value))} before"
    if measurement.above == 0.0 and measurement.below is None:
        return f"{measurement.name}{place}" + ("" if value == 1.0 else f": {_show(measurement, value)}")
    limits = [
        f"{word} {_show(measurement, limit)}"
        for word, limit in (("limit", measurement.above), ("at least", measurement.below))
        if limit is not None
    ]
    bound = f", {', '.join(limits)}" if limits else ""
    return f"{measurement.name}{place} {_show(measurement, value)}{bound}"


def _show(measurement: Measurement, value: float) -> str:
    match measurement.unit:
        case Unit.SHARE:
            return format_percent(value)
        case Unit.SECONDS:
            return format_span(value)
        case Unit.NUMBER:
            return format_number(value)
