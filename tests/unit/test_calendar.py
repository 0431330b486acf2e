"""Maintenance windows over the changes of the clocks, with the real zone database."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr

from detector.adapters.calendar import RuleCalendar, find_spans
from detector.domain.maintenance import MaintenanceWindow
from detector.domain.mute import MuteKind

ROME = ZoneInfo("Europe/Rome")
SUNDAY = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=3;BYMINUTE=0;BYSECOND=0"


def _unix(text: str, zone: ZoneInfo = ROME) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def _window(rrule: str = SUNDAY, hours: float = 2.0) -> MaintenanceWindow:
    return MaintenanceWindow({"service": ("reports",)}, rrule=rrule, lasts_seconds=hours * 3600, tz="Europe/Rome")


@pytest.mark.parametrize(
    ("day", "utc_hour"),
    [("2026-03-22", 2), ("2026-03-29", 1), ("2026-04-05", 1), ("2026-10-18", 1), ("2026-10-25", 2), ("2026-11-01", 2)],
)
def test_three_in_the_morning_stays_there_over_daylight_saving(day: str, utc_hour: int) -> None:
    """03:00 in Rome is 02:00 UTC in winter and 01:00 in summer, on the days of the change as well."""
    start, end = find_spans(_window(), _unix(f"{day}T03:30:00"))[0]
    assert datetime.fromtimestamp(start, UTC) == datetime.fromisoformat(f"{day}T{utc_hour:02}:00:00+00:00")
    assert end - start == 7200


def test_a_local_time_that_the_clocks_skip_means_the_moment_they_jump_to() -> None:
    """02:30 does not exist in Rome on 2026-03-29; the window begins when 03:30 summer time does, elapsed time counted on."""
    daily = _window("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", 1)
    starts = [start for start, _ in find_spans(daily, _unix("2026-03-29T04:00:00"))]
    assert _unix("2026-03-29T03:30:00") in starts


def test_a_local_time_that_comes_twice_means_the_first() -> None:
    """02:30 comes twice in Rome on 2026-10-25; the window begins at the first and lasts its elapsed hour."""
    daily = _window("FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", 1)
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert (first, first + 3600) in find_spans(daily, first + 60)


def test_mutes_hold_inside_the_window_and_not_outside() -> None:
    """The mute covers the service between start and end, and is known a day ahead."""
    calendar = RuleCalendar()
    inside, before, after = (_unix(f"2026-11-22T{time}") for time in ("03:00:00", "02:59:59", "05:00:00"))
    (mute,) = calendar.find_mutes([_window()], before)
    assert mute.kind is MuteKind.WINDOW
    labels = {"service": "reports"}
    assert [mute.covers(labels, moment) for moment in (before, inside, after)] == [False, True, False]
    assert not mute.covers({"service": "checkout"}, inside)
    assert calendar.find_mutes([_window()], after) == ()


def test_a_window_with_an_interval_counts_from_a_fixed_monday() -> None:
    """Every second week means the same weeks on every machine: they count from the week of 2024-01-01."""
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=0;BYMINUTE=0;BYSECOND=0"
    assert find_spans(_window(rule), _unix("2024-01-15T00:30:00"))
    assert not [span for span in find_spans(_window(rule), _unix("2024-01-08T00:30:00")) if span[0] <= _unix("2024-01-08T00:30:00")]


def test_several_values_of_a_label_are_alternatives_not_patterns() -> None:
    """A value with a dot matches itself only."""
    window = MaintenanceWindow({"service": ("a.b", "c")}, start=0.0, end=10.0)
    (mute,) = RuleCalendar().find_mutes([window], 5.0)
    assert [mute.covers({"service": name}, 5.0) for name in ("a.b", "c", "axb")] == [True, True, False]


@pytest.mark.parametrize(
    "rrule", ["FREQ=HOURLY;INTERVAL=5;BYMINUTE=10;BYSECOND=0", "FREQ=MINUTELY;INTERVAL=77;BYSECOND=0", "FREQ=HOURLY;BYHOUR=3,4"]
)
def test_occurrences_within_a_day_are_those_counted_from_the_very_first(rrule: str) -> None:
    """Skipping whole intervals of the past leaves the same windows, at once instead of after seconds."""
    now = _unix("2024-03-03T12:34:56", ZoneInfo("UTC"))
    window = MaintenanceWindow({"service": ("reports",)}, rrule=rrule, lasts_seconds=600.0)
    first, last = datetime.fromtimestamp(now - 4200, UTC), datetime.fromtimestamp(now + 26 * 3600, UTC)
    counted = rrulestr(rrule, dtstart=datetime(2024, 1, 1, tzinfo=UTC)).between(first, last, inc=True)
    assert [start for start, _ in find_spans(window, now)] == [moment.timestamp() for moment in counted]
    assert counted
    started = time.process_time()
    find_spans(MaintenanceWindow({"service": ("reports",)}, rrule="FREQ=HOURLY", lasts_seconds=60.0), now + 20 * 365 * 86400)
    assert time.process_time() - started < 0.5
