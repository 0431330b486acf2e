"""Recurrence rules and time zones: RFC 5545 RRULEs by python-dateutil, zones by the system's or the packaged tz database.

A rule is read in local time, so that "Sunday 03:00" stays there over a change of the clocks; `lasts` is elapsed time. A local time
that the clocks skip means the moment they jump to; one that comes twice means the first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from detector.domain.label import digest_parts
from detector.domain.mute import Matcher, Mute, MuteKind, Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.maintenance import MaintenanceWindow

AHEAD = timedelta(days=1)
LOOK_AGAIN_SECONDS = 3600.0
# Where a rule gives no DTSTART: a Monday, so that INTERVAL counts weeks alike on every machine and after every restart.
_ANCHOR = datetime(2024, 1, 1)  # noqa: DTZ001 - local time of the window's own zone
_FIXED_UNITS_SECONDS = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}
_AUTHOR = "rule files"


class RuleCalendar:
    """Implements ports.calendar.Calendar; occurrences are worked out once an hour for each window."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, tuple[tuple[float, float], ...]]] = {}

    def find_mutes(self, windows: Sequence[MaintenanceWindow], now: float) -> tuple[Mute, ...]:
        """The occurrences that hold at `now` or begin within a day after it, soonest end first."""
        kept = {_name(window) for window in windows}
        self._known = {name: found for name, found in self._known.items() if name in kept}
        mutes = [_make_mute(window, start, end) for window in windows for start, end in self._find_spans(window, now) if now < end]
        return tuple(sorted(mutes, key=lambda mute: (mute.ends, mute.id)))

    def _find_spans(self, window: MaintenanceWindow, now: float) -> tuple[tuple[float, float], ...]:
        name = _name(window)
        asked, spans = self._known.get(name, (float("-inf"), ()))
        if not 0 <= now - asked < LOOK_AGAIN_SECONDS:
            spans = tuple(find_spans(window, now))
            self._known[name] = now, spans
        return spans


def find_spans(window: MaintenanceWindow, now: float) -> list[tuple[float, float]]:
    """Start and end (unix seconds) of the occurrences that hold at `now` or begin within the next 26 hours."""
    if window.start is not None and window.end is not None:
        return [(window.start, window.end)]
    from dateutil.rrule import rrulestr  # noqa: PLC0415  few daemons have windows, and their start is budgeted

    zone = ZoneInfo(window.tz)
    local = datetime.fromtimestamp(now, zone).replace(tzinfo=None)
    # An hour more on both sides: local and elapsed time differ over a change of the clocks.
    first = local - timedelta(seconds=window.lasts_seconds) - timedelta(hours=1)
    last = local + AHEAD + timedelta(hours=2)
    rule = rrulestr(window.rrule, dtstart=_find_anchor(window.rrule, first), ignoretz=True)
    spans = []
    for begin in rule.between(first, last, inc=True):
        start = begin.replace(tzinfo=zone).astimezone(UTC).timestamp()
        spans.append((start, start + window.lasts_seconds))
    return spans


def _find_anchor(rrule: str, first: datetime) -> datetime:
    """Where to count from: every occurrence since is walked through, which for each minute of years takes seconds of the loop.

    For units of fixed length a whole number of intervals is skipped, so that the occurrences stay the same.
    """
    parts = dict(part.partition("=")[::2] for part in rrule.upper().removeprefix("RRULE:").split(";"))
    unit_seconds = _FIXED_UNITS_SECONDS.get(parts.get("FREQ", ""))
    if unit_seconds is None or "COUNT" in parts or first <= _ANCHOR:
        return _ANCHOR
    interval = timedelta(seconds=unit_seconds * int(parts.get("INTERVAL", "1")))
    return _ANCHOR + (first - _ANCHOR) // interval * interval


def _make_mute(window: MaintenanceWindow, start: float, end: float) -> Mute:
    matchers = tuple(
        Matcher(label, Operator.MATCHES, "|".join(map(_quote, values)))
        if len(values) > 1
        else Matcher(label, Operator.EQUAL, values[0])
        for label, values in window.match.items()
    )
    reason = window.reason or "maintenance window"
    return Mute(digest_parts([_name(window), f"{start:.0f}"]), MuteKind.WINDOW, matchers, start, end, _AUTHOR, reason)


def _quote(value: str) -> str:
    return "".join(character if character.isalnum() or character == "_" else f"\\{character}" for character in value)


def _name(window: MaintenanceWindow) -> str:
    match = [f"{label}={','.join(values)}" for label, values in sorted(window.match.items())]
    return digest_parts([*match, window.rrule, str(window.lasts_seconds), window.tz, str(window.start), str(window.end)])
