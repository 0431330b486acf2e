"""Who is called while nobody acknowledges, through the channels that PagerDuty does not own."""

from __future__ import annotations

import pytest

from detector.domain import response
from detector.domain.escalation import note_refused
from detector.domain.incident import NoticeKind
from detector.domain.ledger import Paging
from tests.kit.course import Course
from tests.kit.play import START, told

TEXT = """
services:
  api:
    owner: payments
    responders: {on_call_engineer: ana, on_call_manager: max@example.org}
rules:
  - {name: errors, by: [service], signals: {error_rate: errors}, open: error_rate > 0.01}
"""
AUDIENCE = (("slack", ""), ("email", "on_call"), ("email", "stakeholders"), ("mqtt", ""))


class Story:
    """One incident; `calls` are the escalations as (channel, route, text)."""

    def __init__(self, *, pagerduty: bool = False, escalate_after_seconds: float = 900.0, severity: str = "high") -> None:
        paging = Paging(
            pagerduty=pagerduty, audience=AUDIENCE, update_every_seconds=0.0, escalate_after_seconds=escalate_after_seconds
        )
        self.course = Course(TEXT, paging=paging, now=START)
        self.calls: list[tuple[str, str, str]] = []
        self.tell(f"fired errors {severity}")

    def tell(self, line: str) -> None:
        """One transition, ten seconds later."""
        self._note(self.course.tell(told(line, self.course.now + 10), seconds=10.0).decision.notices)

    def wait(self, minutes: int) -> list[tuple[str, str, str]]:
        """Time alone, a minute at a time; the calls that came."""
        self.calls.clear()
        for _ in range(minutes):
            self._note(self.course.tell(seconds=60.0).decision.notices)
        return list(self.calls)

    def _note(self, notices: object) -> None:
        assert isinstance(notices, tuple)
        self.calls += [
            (notice.channel, notice.route, str(notice.values["message"]))
            for notice in notices
            if notice.kind is NoticeKind.ESCALATE
        ]


def test_the_next_responder_is_called_every_quarter_of_an_hour() -> None:
    """Engineer, manager, owner, each once, in Slack and by the mail of those on call; then no more. The timeline says so."""
    story = Story()
    assert story.wait(14) == []
    text = "nobody acknowledged for 15 min: the engineer on call, ana, is called"
    assert story.wait(1) == [("slack", "", text), ("email", "on_call", text)]
    assert [call[2] for call in story.wait(15)][:1] == [
        "nobody acknowledged for 30 min: the manager on call, max@example.org, is called"
    ]
    assert "the service owner, payments, is called" in story.wait(15)[0][2]
    assert story.wait(60) == []
    assert sum(event.kind == "escalated" for event in story.course.events) == 3


@pytest.mark.parametrize(
    ("pagerduty", "after_seconds", "severity"), [(True, 900.0, "high"), (False, 0.0, "high"), (False, 900.0, "medium")]
)
def test_nobody_is_called_where_it_is_not_ours(*, pagerduty: bool, after_seconds: float, severity: str) -> None:
    """What PagerDuty was paged for it escalates itself; zero turns it off; MEDIUM waits for working hours."""
    assert Story(pagerduty=pagerduty, escalate_after_seconds=after_seconds, severity=severity).wait(50) == []


def test_an_acknowledgement_ends_it_and_a_relapse_begins_anew() -> None:
    """Whoever has it is not called over; a new episode waits a quarter of an hour of its own."""
    story = Story()
    course = story.course
    decision = response.acknowledge(course.book, course.rules.catalogue, course.paging, course.incident.id, "ana", course.now)
    course.accept(decision)
    assert story.wait(40) == []
    story.tell("ended errors high")
    story.wait(5)
    story.tell("fired errors high")
    assert story.wait(14) == []
    assert "ana" in story.wait(1)[0][2]


def test_a_rise_to_high_is_called_for_from_then_on() -> None:
    """What was MEDIUM for an hour is not late at once."""
    story = Story(severity="medium")
    story.wait(60)
    story.tell("rose errors high")
    assert story.wait(14) == []
    assert len(story.wait(1)) == 2


def test_a_page_that_pagerduty_does_not_take_is_said_once_and_our_own_channels_call() -> None:
    """Nobody may count on PagerDuty for it; after the end nothing is said."""
    story = Story(pagerduty=True)
    course = story.course
    (page,) = course.incident.pages

    def refuse() -> list[str]:
        decision = note_refused(
            course.book, course.rules.catalogue, course.paging, course.incident.id, page.key, "answered 403", ["email"], course.now
        )
        course.accept(decision)
        assert {notice.channel for notice in decision.notices} <= {"slack", "mqtt"}
        return [event.message for event in decision.events]

    assert refuse() == ["PagerDuty has not taken the page (answered 403); told instead: email"]
    assert refuse() == []
    assert story.wait(14) == []
    assert "ana, is called" in story.wait(1)[0][2]
    story.tell("ended errors high")
    assert refuse() == []
