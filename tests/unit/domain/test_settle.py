"""A page below HIGH waits while its severity window fills: one page with the right severity, not two within seconds."""

from __future__ import annotations

import pytest

from tests.kit.course import FAILED, Course

TEXT = """
rules:
  - name: errors
    by: [service]
    signals: {error_rate: "rate(errors[$window])"}
    open: error_rate > 0.01
    window: 5m
    severity: {high: error_rate > 0.05, medium: 'true'}
"""


def _climb(course: Course, rate: float, recent: float, earlier: float) -> list[str]:
    return course.step(errors={"shop": rate}, recent={"errors": {"shop": recent}}, earlier={"errors": {"shop": earlier}}).notices


def test_a_severity_that_climbs_gives_one_page_with_the_right_severity() -> None:
    """The flip to ten percent: the window fills, the incident is open at once, and the only page says HIGH."""
    course = Course(TEXT)
    assert _climb(course, 0.012, 0.03, 0.01) == []
    assert (course.incident.status.value, course.incident.severity.value) == ("open", "medium")
    assert _climb(course, 0.014, 0.04, 0.02) == []
    assert _climb(course, 0.016, 0.055, 0.03) == ["trigger"]
    assert [notice.severity.value for notice in course.notices] == ["high"]


def test_a_severity_that_stands_pages_at_once() -> None:
    """Two percent that crossed the long window slowly: the short one has been full for long."""
    course = Course(TEXT)
    assert _climb(course, 0.0101, 0.02, 0.02) == ["trigger"]


def test_a_page_goes_out_when_the_climb_ends_below_high() -> None:
    """It settles at MEDIUM."""
    course = Course(TEXT)
    assert _climb(course, 0.011, 0.02, 0.01) == []
    assert _climb(course, 0.012, 0.03, 0.02) == []
    assert _climb(course, 0.013, 0.03, 0.029) == ["trigger"]
    assert course.notices[0].severity.value == "medium"


def test_a_page_waits_for_one_severity_window_at_most() -> None:
    """However it climbs on: a minute after the breach the page is out."""
    course = Course(TEXT)
    sent = [_climb(course, 0.011, 0.011 * 1.02**number, 0.005) for number in range(14)]
    assert [number for number, notices in enumerate(sent) if notices] == [12]


def test_a_failing_query_does_not_keep_the_page_waiting() -> None:
    """The timer of the incident sends it: what was seen before is enough to page."""
    course = Course(TEXT)
    assert _climb(course, 0.011, 0.02, 0.01) == []
    assert course.step(errors=FAILED).notices == []
    assert course.incident.due == course.incident.opened + 60
    course.now = course.incident.opened + 55
    assert course.step(errors=FAILED).notices == ["trigger"]


@pytest.mark.parametrize("earlier", [FAILED, {}])
def test_without_a_look_back_it_counts_as_climbing(earlier: object) -> None:
    """A service so young that there is nothing to compare with: wait, for a window at most."""
    course = Course(TEXT)
    step = course.step(errors={"shop": 0.012}, recent={"errors": {"shop": 0.03}}, earlier={"errors": earlier})  # type: ignore[dict-item]  # either kind of answer
    assert step.notices == []


def test_high_never_waits() -> None:
    """Nor does what is not judged over a window."""
    course = Course(TEXT)
    assert _climb(course, 0.012, 0.06, 0.01) == ["trigger"]
    plain = Course(TEXT.replace("[$window]", "[5m]"))
    assert plain.step(errors={"shop": 0.012}).notices == ["trigger"]


def test_what_recovers_while_it_waits_pages_nobody() -> None:
    """It has been an incident all the same, with a timeline."""
    course = Course(TEXT.replace("window: 5m", "window: 5m\n    recover_for: 0s"))
    assert _climb(course, 0.012, 0.03, 0.01) == []
    assert course.step(errors={"shop": 0.0}).notices == []
    assert course.incident.status.value == "resolved"
