"""The range of a backtest: read from its options, laid on the grid of the step."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from detector.domain.duration import format_duration, parse_duration

MOST_STEPS = 2_000_000
DEFAULT_LAST = "7d"
_NUMBER = re.compile(r"\d+(\.\d+)?")


class PeriodError(Exception):
    """The options say no range; the message is one line."""


@dataclass(frozen=True, slots=True)
class Period:
    """`count` slots from `begin` on (unix seconds), `step_seconds` apart."""

    begin: float
    count: int
    step_seconds: float

    @property
    def end(self) -> float:
        """The last slot."""
        return self.begin + (self.count - 1) * self.step_seconds


def read_period(*, begin: str, end: str, last: str, step: str, now: float | None = None) -> Period:
    """The slots k * step within [from, to]. Raises PeriodError."""
    moment = time.time() if now is None else now
    step_seconds = parse_duration(step)
    if not step_seconds or step_seconds < 1:
        raise PeriodError(f"--step {step}: write a duration of at least 1s, such as 30s or 1m")
    if begin and last:
        raise PeriodError("--from or --last, not both; --last counts back from --to")
    until = read_time("--to", end, moment) if end else moment
    if begin:
        since = read_time("--from", begin, moment)
    else:
        age = parse_duration(last or DEFAULT_LAST)
        if not age:
            raise PeriodError(f"--last {last}: write a duration such as 12h or 30d")
        since = until - age
    until = min(until, moment)
    first = math.ceil(since / step_seconds)
    count = math.floor(until / step_seconds) - first + 1
    if count < 1:
        raise PeriodError(f"--from {show(since)} is not before --to {show(until)}: nothing lies between them")
    if count > MOST_STEPS:
        longest = format_duration(MOST_STEPS * step_seconds)
        raise PeriodError(
            f"{count:,} steps of {step} are too many, the most is {MOST_STEPS:,} ({longest}): shorten it or enlarge --step"
        )
    return Period(first * step_seconds, count, step_seconds)


def read_time(option: str, text: str, now: float) -> float:
    """Unix seconds of a time as people write it. Raises PeriodError."""
    words = text.strip()
    if words == "now":
        return now
    if _NUMBER.fullmatch(words):
        return float(words)
    age = parse_duration(words.removeprefix("-").removesuffix(" ago"))
    if age is not None:
        return now - age
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        message = f"{option} {text}: no time; write unix seconds, 2026-11-23T08:00:00Z, 2026-11-23, or an age such as 2d"
        raise PeriodError(message) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def show(at: float) -> str:
    """UTC to the second, as messages say it."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
