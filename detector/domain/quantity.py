"""Quantities as people read them: percentages, durations, plain numbers, moments in UTC.

Used wherever a value meets a human: pages, timelines, templates. What is missing or no number reads as "n/a".
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

MISSING = "n/a"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHARE = re.compile(r"(?:^|_)(?:rate|ratio|users|usage|used|share|fraction)$")
_LATENCY = re.compile(r"(?:^|_)(?:p\d+|latency|seconds|duration)(?:_|$)")
_TINY, _HUGE = 1e-6, 1e15  # outside of these, plain decimals would be longer than they are clear
_ALMOST_ALL, _ALL = 99.0, 100.0
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def format_number(value: object) -> str:
    """Four significant digits, never in scientific notation for what a page shows: 0.0123, 12.35, 123457."""
    number = _read_number(value)
    if number is None:
        return MISSING
    if number and not _TINY <= abs(number) < _HUGE:
        return f"{number:.4g}"
    return _trim(f"{number:.{_decimals(number, 4)}f}")


def format_percent(value: object) -> str:
    """A share 0..1 as percent in three significant digits: 0.0123 -> 1.23%. What is below 100% never reads as 100%."""
    number = _read_number(value)
    if number is None:
        return MISSING
    percent = 100.0 * number
    if _ALMOST_ALL < percent < _ALL:
        return _trim(f"{math.floor(percent * 1000) / 1000:.3f}") + "%"
    if percent and not _TINY <= abs(percent) < _HUGE:
        return f"{percent:.3g}%"
    return _trim(f"{percent:.{_decimals(percent, 3)}f}") + "%"


def format_span(seconds: object) -> str:
    """A length of time to be read, not parsed: 450ms, 1.5s, 5m, 1h30m, 2d3h; at most two units (`duration` has the exact one)."""
    number = _read_number(seconds)
    if number is None:
        return MISSING
    sign, number = ("-", -number) if number < 0 else ("", number)
    if 0 < number < 1:
        return f"{sign}{_trim(f'{number * 1000:.{_decimals(number * 1000, 3)}f}')}ms"
    if number < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{sign}{_trim(f'{number:.1f}')}s"
    rest, parts = round(number), list[str]()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return sign + "".join(parts[:2])


def format_wait(seconds: float) -> str:
    """How long somebody has waited, as one says it: 45 s, 15 min; never 0 min."""
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"  # noqa: PLR2004 - seconds in a minute


def format_count(number: int, noun: str) -> str:
    """`1 file`, `2 files`; the noun is one that takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def humanize(value: object) -> str:
    """With an SI prefix from a thousand on: 1234567 -> 1.235M."""
    number = _read_number(value)
    if number is None:
        return MISSING
    for size, prefix in _PREFIXES:
        if abs(number) >= size:
            return f"{format_number(number / size)}{prefix}"
    return format_number(number)


def format_time(at: object) -> str:
    """Unix seconds as `2026-11-23 06:51:59 UTC`."""
    moment = _read_moment(at)
    return MISSING if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def format_timestamp(at: object) -> str | None:
    """Unix seconds as ISO 8601 in UTC with milliseconds; None where no such moment exists."""
    moment = _read_moment(at)
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def format_signal(name: str, value: object, *beside: object) -> str:
    """A signal's value in the unit its name tells: shares as percent, latencies in seconds, else a plain number.

    `beside` are values shown next to it. A name such as `request_rate` may be no share: beyond 1, all are plain numbers.
    """
    numbers = [number for number in map(_read_number, (value, *beside)) if number is not None]
    if _SHARE.search(name) and all(-1.0 <= number <= 1.0 for number in numbers):
        return format_percent(value)
    if _LATENCY.search(name) and _read_number(value) is not None:
        return f"{format_number(value)} s"
    return format_number(value)


def format_breach(name: str, value: object, threshold: object, condition: str = "") -> str:
    """`error_rate 10.2% > 1%`; the sign is the one that `condition` compares this signal with."""
    shown = format_signal(name, value, threshold)
    if _read_number(threshold) is None:
        return f"{name} {shown}"
    written = re.search(rf"\b{re.escape(name)}\s*(>=|<=|>|<)", condition)
    below = (_read_number(value) or 0.0) < (_read_number(threshold) or 0.0)
    sign = written[1] if written else "<" if below else ">"
    return f"{name} {shown} {sign} {format_signal(name, threshold, value)}"


def _read_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _read_moment(at: object) -> datetime | None:
    number = _read_number(at)
    if number is None:
        return None
    try:
        return _EPOCH + timedelta(seconds=number)
    except OverflowError:
        return None


def _decimals(number: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(number)))) if number else 0


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
