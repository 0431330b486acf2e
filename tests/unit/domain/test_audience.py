"""Who beside PagerDuty hears of an incident, of what, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from detector.domain import response
from detector.domain.correlate import correlate
from detector.domain.incident import NoticeKind
from detector.domain.label import make_labels
from detector.domain.ledger import Paging
from detector.domain.outcome import Samples
from tests.kit.course import Course
from tests.kit.play import START, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.domain.incident import Decision

TEXT = """
services:
  api: {verify: [{name: production, url: "https://api.example/health"}, {name: support channel quiet}]}
  inside: {customer_facing: false}
rules:
  - {name: errors, by: [service], signals: {error_rate: errors}, open: error_rate > 0.01}
"""
AUDIENCE = (
    ("slack", ""),
    ("email", "on_call"),
    ("email", "stakeholders"),
    ("statuspage", ""),
    ("mqtt", ""),
    ("webhook", ""),
)


class Story:
    """An incident told step by step; each step gives back who heard what, as "kind channel:route"."""

    def __init__(self, text: str = TEXT) -> None:
        self.course = Course(text, paging=Paging(audience=AUDIENCE), now=START)

    def tell(self, line: str, seconds: float = 10.0, service: str = "plain", reason: str = "") -> list[str]:
        """One transition."""
        at = self.course.now + seconds
        return _list(self.course.tell(told(line, at, service=service, reason=reason), seconds=seconds).decision)

    def wait(self, seconds: float) -> list[str]:
        """Nothing but time."""
        return _list(self.course.tell(seconds=seconds).decision)

    def act(self, act: Callable[..., Decision], *arguments: object, **named: object) -> list[str]:
        """What a human does."""
        course = self.course
        decision = act(
            course.book, course.rules.catalogue, course.paging, course.incident.id, "ada", *arguments, course.now, **named
        )
        course.accept(decision)
        return _list(decision)


def _list(decision: Decision) -> list[str]:
    return [f"{notice.kind.value} {notice.channel}:{notice.route}" for notice in decision.notices if notice.channel != "pagerduty"]


def test_a_high_incident_is_told_to_everyone_but_the_stakeholders_who_wait() -> None:
    """Stakeholders hear after five minutes; the owner and the manager are asked to join in the Slack thread."""
    story = Story()
    assert story.tell("fired errors high") == [
        "trigger slack:",
        "trigger email:on_call",
        "trigger statuspage:",
        "trigger mqtt:",
        "trigger webhook:",
        "summon slack:",
    ]
    assert story.wait(200) == []
    assert story.wait(101) == ["trigger email:stakeholders"]


def test_stakeholders_hear_at_once_when_somebody_has_it() -> None:
    """An acknowledgement ends the delay."""
    story = Story()
    story.tell("fired errors high")
    assert "trigger email:stakeholders" in story.act(response.acknowledge)


@pytest.mark.parametrize(("severity", "service"), [("medium", "plain"), ("high", "inside"), ("critical", "inside")])
def test_the_public_hears_of_what_customers_notice_only(severity: str, service: str) -> None:
    """MEDIUM, or a service that customers do not face: nothing on the status page, no mail to customers, ever."""
    story = Story()
    heard = story.tell(f"fired errors {severity}", service=service) + story.wait(400)
    heard += story.tell(f"ended errors {severity}", service=service)
    assert not [line for line in heard if "statuspage" in line or "stakeholders" in line]


def test_below_the_paging_line_slack_and_machines_only() -> None:
    """LOW wakes nobody, by mail neither."""
    assert Story().tell("fired errors low") == ["trigger slack:", "trigger mqtt:", "trigger webhook:"]


def test_who_was_told_gets_the_end_and_nobody_else() -> None:
    """An incident that ends before the stakeholders heard of it never reaches them."""
    story = Story()
    story.tell("fired errors high")
    ended = story.tell("ended errors high")
    assert sorted(line for line in ended if line.startswith("resolve")) == [
        "resolve email:on_call",
        "resolve mqtt:",
        "resolve slack:",
        "resolve statuspage:",
        "resolve webhook:",
    ]
    assert story.wait(1801) == ["close slack:", "close mqtt:", "close webhook:"]


def test_a_rise_reaches_those_who_know_and_opens_for_those_who_should_now() -> None:
    """From medium to high: the status page hears its first word."""
    story = Story()
    story.tell("fired errors medium")
    heard = story.tell("rose errors high")
    assert {"rise slack:", "rise email:on_call", "trigger statuspage:", "summon slack:"} <= set(heard)
    assert "rise statuspage:" not in heard


def test_a_relapse_is_told_in_the_same_thread() -> None:
    """The key is the incident's id, over every episode."""
    story = Story()
    story.tell("fired errors high")
    story.tell("ended errors high", seconds=60)
    heard = story.tell("fired errors high", seconds=60)
    assert {"relapse slack:", "relapse statuspage:", "relapse mqtt:"} <= set(heard)
    slack = [notice for notice in story.course.notices if notice.channel == "slack"]
    assert {notice.key for notice in slack} == {story.course.incident.id}


def test_silence_is_not_transparency() -> None:
    """Half an hour without an update: a reminder where people work; an update by a human puts it off."""
    story = Story()
    story.tell("fired errors medium")
    assert story.wait(1801) == ["reminder slack:", "reminder email:on_call", "reminder webhook:"]
    story.wait(900)
    assert story.act(response.update, message="rolling back", eta="10 min") == [
        "update slack:",
        "update email:on_call",
        "update mqtt:",
        "update webhook:",
    ]
    assert story.wait(1000) == []
    facts = story.course.notices[-1].values
    assert (facts["eta"], facts["message"], facts["actor"]) == ("10 min", "rolling back", "ada")


def test_an_update_says_something_and_a_state_is_one_of_four() -> None:
    """Both refusals say what would be right."""
    story = Story()
    story.tell("fired errors high")
    with pytest.raises(response.ResponseError, match="needs a message, an ETA or a state"):
        story.act(response.update)
    with pytest.raises(response.ResponseError, match="use one of investigating, identified, monitoring, resolved"):
        story.act(response.update, state="panicking")


def test_a_root_cause_moves_the_state_to_identified() -> None:
    """What customers read follows what is known."""
    story = Story()
    story.tell("fired errors high")
    story.act(response.set_cause, "a missing index")
    assert (story.course.incident.state, story.course.incident.root_cause) == ("identified", "a missing index")


# --- the end is verified


def test_metrics_that_recovered_wait_for_the_probes_of_the_service() -> None:
    """Not resolved before the probe passes; a failure is written down; the human item blocks nothing and can be ticked."""
    story = Story()
    story.tell("fired errors high", service="api")
    assert not [line for line in story.tell("ended errors high", service="api") if line.startswith("resolve")]
    incident = story.course.incident
    assert (incident.status.value, incident.verifying) == ("open", story.course.now)

    def probe(*, ok: bool) -> list[str]:
        course = story.course
        results = {"api: production": (ok, "200 in 0.1 s" if ok else "503")}
        decision = response.record_probes(
            course.book, course.rules.catalogue, course.paging, course.incident.id, results, course.now
        )
        course.accept(decision)
        return _list(decision)

    assert probe(ok=False) == []
    assert story.course.incident.status.value == "open"
    assert "resolve slack:" in probe(ok=True)
    assert story.course.incident.status.value == "resolved"
    story.act(response.tick, "support channel quiet")
    story.act(response.tick, "api: support channel quiet")
    assert {(item.name, item.ok, item.by) for item in story.course.incident.verifications} == {
        ("api: production", True, "detector"),
        ("api: support channel quiet", True, "ada"),
    }
    with pytest.raises(response.ResponseError, match="nothing to tick"):
        story.act(response.tick, "api: production")


def test_a_resolve_by_hand_while_probes_fail_says_so() -> None:
    """Metrics are well, the service is not: whoever ends it all the same is on record with that."""
    story = Story()
    story.tell("fired errors high", service="api")
    story.tell("ended errors high", service="api")
    course = story.course
    results = {"api: production": (False, "503")}
    course.accept(
        response.record_probes(course.book, course.rules.catalogue, course.paging, course.incident.id, results, course.now)
    )
    story.act(response.resolve)
    assert course.events[-1].message == "resolved by hand while probes still fail"


def test_an_alert_that_fires_again_while_the_probes_run_ends_the_verification() -> None:
    """Late results of probes change nothing then."""
    story = Story()
    story.tell("fired errors high", service="api")
    story.tell("ended errors high", service="api")
    story.tell("fired errors high", service="api")
    course = story.course
    assert course.incident.verifying is None
    results = {"api: production": (True, "200")}
    late = response.record_probes(course.book, course.rules.catalogue, course.paging, course.incident.id, results, course.now)
    assert late.empty


# --- stale, flapping


def test_what_cannot_be_judged_for_an_hour_is_said_once() -> None:
    """A human is asked; it is not said again, and forgotten when the alert can be judged."""
    story = Story()
    story.tell("fired errors high")
    story.tell("unknown errors high", reason="no data")
    story.wait(1800)
    heard = story.wait(1801)
    assert "update slack:" in heard
    assert story.course.incident.stale
    assert [event.kind for event in story.course.events].count("stale") == 1
    story.wait(3600)
    assert [event.kind for event in story.course.events].count("stale") == 1
    story.tell("known errors high")
    assert not story.course.incident.stale


def test_a_rule_says_after_how_long_it_is_stale() -> None:
    """Its `stale_after`, in the ticket and in the words."""
    story = Story()
    course = story.course
    at = course.now + 10
    course.tell(replace(told("fired errors medium", at, service="plain"), stale_after_seconds=600.0), seconds=10)
    story.tell("unknown errors medium", reason="no data")
    assert story.wait(599) == []
    assert "update slack:" in story.wait(2)
    assert course.incident.stale
    assert "nothing could be judged for 10m (no data)" in course.events[-1].message
    story.tell("ended errors medium", reason="gone")
    assert not course.incident.stale


GONE_TEXT = """
rules:
  - {name: errors, by: [job, instance], signals: {error_rate: errors}, open: error_rate > 0.01, every: 10s, stale_after: 10m}
"""


def test_a_target_that_is_gone_is_not_called_stale_first() -> None:
    """Both are known after `stale_after`: the next evaluation may close it as gone, and only where it does not a human is asked."""
    for others, said in ((True, ["ended"]), (False, ["stale"])):
        story = Story(GONE_TEXT)
        course = story.course
        (key, other) = (make_labels({"job": "web", "instance": name}) for name in "ab")
        told_of: list[str] = []
        for number in range(70):
            sick = {key: 0.5} if number < 3 else {}
            answer = Samples({**sick, **({other: 0.0} if others or number < 3 else {make_labels({"job": "db"}): 0.0})})
            if course.incidents and course.incident.due is not None and course.now < course.incident.due <= course.now + 10:
                decision = correlate(course.book, (), course.rules.catalogue, course.paging, course.incident.due)
                told_of += [event.kind for event in course.accept(decision).events]  # a timer that runs just before the evaluation
            told_of += [event.kind for event in course.step(10.0, errors=answer).decision.events]
        assert [kind for kind in told_of if kind in {"ended", "stale"}] == said


@pytest.mark.parametrize(("every", "text"), [(20.0, "20 s"), (1800.0, "30 min")])
def test_what_has_waited_less_than_a_minute_is_told_in_seconds(every: float, text: str) -> None:
    """A reminder never says 0 min."""
    story = Story()
    story.course.paging = replace(story.course.paging, update_every_seconds=every, escalate_after_seconds=0.0)
    story.tell("fired errors high")
    story.wait(every)
    reminder = next(notice for notice in story.course.notices if notice.kind is NoticeKind.REMINDER)
    assert reminder.values["message"] == f"still open after {text}"
    assert [event.message for event in story.course.events if event.kind == "reminder"] == [f"no update for {text}"]


def test_who_is_found_after_the_summons_is_summoned_too() -> None:
    """PagerDuty's incident is there seconds after the page: the manager it names is asked to join then, the owner not twice."""
    story = Story()
    story.tell("fired errors high")
    known = {"service_owner": "", "on_call_engineer": "Ana", "on_call_manager": "Max"}
    course = story.course

    def name(responders: dict[str, str]) -> list[str]:
        decision = response.name_responders(
            course.book, course.rules.catalogue, course.paging, course.incident.id, responders, course.now
        )
        return _list(course.accept(decision))

    assert name(known) == ["summon slack:"]
    late = course.notices[-1].values
    assert (late["summoned"], late["message"]) == (["on_call_manager"], "on call manager: Max")
    assert name({**known, "on_call_engineer": "Bea"}) == []
    quiet = Story()
    quiet.tell("fired errors medium")
    course = quiet.course
    assert name(known) == []
    assert "summon slack:" in quiet.tell("rose errors high")
    assert course.notices[-1].values["responders"]["on_call_manager"] == "Max"


def test_flapping_summons_nobody() -> None:
    """Owner and manager were called for the first ones; for what flaps they are called again only when it is worse than ever."""
    story = Story()
    summons = ["summon slack:" in story.tell("fired errors high")]
    for _ in range(4):
        story.tell("ended errors high", seconds=60)
        summons.append("summon slack:" in story.tell("fired errors high", seconds=60))
    assert summons == [True, True, True, False, False]
    assert "summon slack:" in story.tell("rose errors critical")


def test_a_root_cause_is_told_where_the_work_is_done() -> None:
    """In the thread, whose headline names it from then on; what outsiders read, a person words as an update."""
    story = Story()
    story.tell("fired errors high")
    story.tell("ended errors high", seconds=600)
    assert story.act(response.set_cause, "a full disk") == ["update slack:", "update mqtt:", "update webhook:"]
    assert story.course.notices[-1].values["root_cause"] == "a full disk"
    story.wait(1801)
    assert story.course.incident.status.value == "closed"


def test_the_third_relapse_in_a_day_says_flapping_instead_of_paging() -> None:
    """Unless severity rises above what it was."""
    story = Story()
    story.tell("fired errors medium")
    pages = []
    for _ in range(3):
        story.tell("ended errors medium", seconds=60)
        before = len([notice for notice in story.course.notices if notice.channel == "pagerduty"])
        story.tell("fired errors medium", seconds=60)
        pages.append(len([notice for notice in story.course.notices if notice.channel == "pagerduty"]) - before)
    assert pages == [1, 1, 0]
    assert any(event.kind == "flapping" for event in story.course.events)
    story.tell("rose errors high")
    assert any(page.severity.value == "high" and not page.closed for page in story.course.incident.pages)


def test_what_is_resolved_by_hand_and_still_fires_pages_however_often() -> None:
    """It never ended, so it does not flap: 15 minutes after each resolve it pages once more."""
    story = Story()
    story.tell("fired errors high")
    pages = []
    for _ in range(5):
        story.act(response.resolve)
        before = len(story.course.incident.pages)
        story.wait(899)
        story.wait(2)
        pages.append(len(story.course.incident.pages) - before)
    assert pages == [1, 1, 1, 1, 1]


def test_deciding_twice_gives_the_same_notices() -> None:
    """A commit that is repeated queues nothing twice."""
    story = Story()
    course = story.course
    at = course.now + 10
    transitions = [told("fired errors high", at, service="plain")]
    first = correlate(course.book, transitions, course.rules.catalogue, course.paging, at)
    second = correlate(course.book, transitions, course.rules.catalogue, course.paging, at)
    assert [notice.id for notice in first.notices] == [notice.id for notice in second.notices]
    assert len({notice.id for notice in first.notices}) == len(first.notices)
    assert {notice.kind for notice in first.notices} == {NoticeKind.TRIGGER, NoticeKind.SUMMON}
