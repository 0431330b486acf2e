"""Quantities read the way an on-call engineer reads them."""

from __future__ import annotations

import math

import pytest

from detector.domain import quantity


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "1.23%"),
        (0.102, "10.2%"),
        (0.01, "1%"),
        (1.0, "100%"),
        (0.9996, "99.96%"),
        (0.99999999, "99.999%"),
        (0.0, "0%"),
        (0.00012, "0.012%"),
        (12.5, "1250%"),
        (1e-12, "1e-10%"),
        (None, "n/a"),
        (math.nan, "n/a"),
        ("1", "n/a"),
        (True, "n/a"),
    ],
)
def test_percent(value: object, text: str) -> None:
    """Three digits, and what is below everything never reads as 100%."""
    assert quantity.format_percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250ms"),
        (0, "0s"),
        (1.5, "1.5s"),
        (59.0, "59s"),
        (60, "1m"),
        (300, "5m"),
        (5400, "1h30m"),
        (183600, "2d3h"),
        (3601, "1h"),
        (-5, "-5s"),
        (math.inf, "n/a"),
        (None, "n/a"),
    ],
)
def test_duration(seconds: object, text: str) -> None:
    """As rule files write durations, two units at most."""
    assert quantity.format_span(seconds) == text


@pytest.mark.parametrize(
    ("value", "plain", "human"),
    [
        (1234567, "1234567", "1.235M"),
        (0.5, "0.5", "0.5"),
        (12.3456, "12.35", "12.35"),
        (999, "999", "999"),
        (1e20, "1e+20", "100000000T"),
        (10**400, "n/a", "n/a"),
        (0, "0", "0"),
    ],
)
def test_number(value: object, plain: str, human: str) -> None:
    """Plain numbers are no scientific notation until they would be unreadable."""
    assert (quantity.format_number(value), quantity.humanize(value)) == (plain, human)


@pytest.mark.parametrize(
    ("name", "value", "threshold", "condition", "text"),
    [
        ("error_rate", 0.102, 0.01, "error_rate > 0.01", "error_rate 10.2% > 1%"),
        ("p95", 1.24, 0.5, "p95 >= 0.5", "p95 1.24 s >= 0.5 s"),
        ("request_rate", 0.5, 40.0, "request_rate < 40.0", "request_rate 0.5 < 40"),
        ("availability", 0.5, 0.9, "", "availability 0.5 < 0.9"),
        ("queue_depth", 12000.0, None, "", "queue_depth 12000"),
        ("affected_users", None, 0.5, "", "affected_users n/a < 50%"),
    ],
)
def test_breach(name: str, value: object, threshold: object, condition: str, text: str) -> None:
    """Value and threshold stand in one unit, with the sign of the condition."""
    assert quantity.format_breach(name, value, threshold, condition) == text


def test_moments() -> None:
    """Moments are UTC; one that no calendar holds is missing, not an error."""
    assert quantity.format_time(1_700_000_000.0) == "2023-11-14 22:13:20 UTC"
    assert quantity.format_timestamp(1_700_000_000.25) == "2023-11-14T22:13:20.250+00:00"
    assert (quantity.format_time(1e30), quantity.format_timestamp(math.nan), quantity.format_time(None)) == ("n/a", None, "n/a")
