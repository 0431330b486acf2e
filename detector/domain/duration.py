"""Durations as people write them, in rule files and settings: `5m`, `1h30m`, `500ms`."""

from __future__ import annotations

import re

UNITS_SECONDS = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION_PATTERN = r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?"

_WHOLE = re.compile(DURATION_PATTERN, re.ASCII)
_PART = re.compile(r"(\d+)(ms|[ywdhms])")
_LONGEST_DIGITS = 9


def parse_duration(text: str) -> float | None:
    """Seconds of `text` in Prometheus notation (units from large to small, each at most once), or None where it is no duration.

    A bare `0` is a duration; any other bare number is not, since it does not say its unit.
    """
    if text == "0":
        return 0.0
    if not text or not _WHOLE.fullmatch(text):
        return None
    parts = _PART.findall(text)
    if any(len(digits) > _LONGEST_DIGITS for digits, _ in parts):
        return None
    return sum(int(digits) * UNITS_SECONDS[unit] for digits, unit in parts)


def format_duration(seconds: float) -> str:
    """Seconds in the notation that `parse_duration` and PromQL read, e.g. `1h30m`; whole milliseconds are kept."""
    milliseconds = round(seconds * 1000)
    if milliseconds <= 0:
        return "0s"
    text = ""
    for unit, size_milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size_milliseconds)
        if count:
            text += f"{count}{unit}"
    return text
