"""Incidents out of alerts: joining, severity, pages and their keys, resolve, relapse, close."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from detector.domain.advance import end_alerts
from detector.domain.correlate import correlate
from detector.domain.incident import STORE_DOWN_ID, Book, Status, name_alert
from detector.domain.severity import Severity
from tests.kit.play import START, Play, make_course, told

# --- open, join


def test_an_alert_opens_an_incident_with_its_first_breach() -> None:
    """Start to the second of the breach; the page says value, threshold and peak, the timeline as people read them."""
    play = Play()
    assert play("fired errors high") == ["trigger 1:default"]
    incident = play.incident
    assert (incident.opened, incident.detected) == (START, START + 10)
    assert play.status == ("open", "high", "high")
    (notice,) = play.course.notices
    assert (notice.severity, notice.route, notice.channel) == (Severity.HIGH, "default", "pagerduty")
    facts = notice.values
    assert (facts["value"], facts["threshold"], facts["peak_value"], facts["status"]) == (0.2, 0.01, 0.5, "open")
    assert play.said == ["breach", "opened", "config"]
    assert play.course.events[0].message == "first breach seen by errors (error_rate 20%, threshold 1%)"


def test_pending_and_cleared_alerts_are_nobodys_business() -> None:
    """Nothing is written before an alert fires."""
    play = Play()
    assert play("pending errors", "cleared errors", "unknown errors", "known errors", "ended errors", "fell errors") == []
    assert play.course.events == []


def test_alerts_of_one_service_join_its_incident() -> None:
    """A second alert that raises nothing pages nobody; both must end."""
    play = Play()
    play("fired errors high")
    assert play("fired latency medium") == []
    assert play.incident.rules == ("errors", "latency")
    assert play("ended errors") == []
    assert play.incident.status is Status.OPEN
    assert play("ended latency") == ["resolve 1:default"]
    assert play.incident.end_reason == "recovered"


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ({"env": "prod"}, {"env": "prod"}, 1),
        ({"env": "prod"}, {"env": "test"}, 2),
        ({"env": "prod"}, {}, 2),
        ({"cluster": "a", "namespace": "n"}, {"cluster": "b", "namespace": "n"}, 2),
        ({"pod": "a"}, {"pod": "b"}, 1),
    ],
)
def test_incidents_join_by_service_and_join_labels(first: dict[str, str], second: dict[str, str], count: int) -> None:
    """Production and test of one service are two incidents; two pods are one."""
    play = Play()
    play("fired errors", labels=first)
    play("fired latency", labels=second)
    assert len(play.course.incidents) == count


def test_services_are_paged_through_their_own_routes() -> None:
    """The catalogue names the routing key."""
    play = Play()
    assert play("fired errors", service="shop") == ["trigger 1:shop-team"]
    assert play("fired errors", service="unlisted") == ["trigger 1:default"]


def test_no_alert_joins_an_incident_about_the_daemon_itself() -> None:
    """A service that is called like the daemon has incidents of its own, whichever comes first, and they are like any other's."""
    for first, second in (("errors", "store-down"), ("detector-rules-refused", "errors"), ("errors", "detector-store-reset")):
        play = Play()
        assert play(f"fired {first} medium", service="detector") == ["trigger 1:default"]
        assert play(f"fired {second} medium", service="detector") == ["trigger 1:default"], "joining would page nobody"
        assert {incident.rules: incident.own for incident in play.course.book.incidents.values()} == {
            (rule,): rule != "errors" for rule in (first, second)
        }


def test_own_alerts_of_a_fixed_id_keep_it() -> None:
    """Each ailment is one incident; that the store fails is one however often it does."""
    play = Play()
    play("fired store-down medium", service="detector")
    play("ended store-down", service="detector")
    play("fired store-down medium", service="detector")
    assert [(incident.id, incident.episode) for incident in play.course.book.incidents.values()] == [(STORE_DOWN_ID, 2)]


# --- rises and falls


def test_a_rise_from_medium_to_high_pages_under_a_further_key_and_the_resolve_closes_both() -> None:
    """Nobody knows whether a rise pages on a key that is acknowledged already."""
    play = Play()
    assert play("fired errors medium") == ["trigger 1:default"]
    assert play("rose errors high") == ["rise 1:default:2"]
    assert play("rose errors critical") == ["rise 1:default:2"], "within high and critical the key stays"
    assert play("ended errors") == ["resolve 1:default", "resolve 1:default:2"]
    assert all(page.closed for page in play.incident.pages)


def test_the_title_of_a_rise_is_what_is_true_then() -> None:
    """Not what was true when the alert fired; a fall leaves the title of what was worst, and an alert that joined changes none."""
    play = Play()
    play("fired errors medium", "fired latency medium")
    for change, expected in (("rose", "30% fail"), ("fell", "30% fail")):
        transition = told(f"{change} errors high", play.course.now)
        play.course.tell(replace(transition, summary="30% fail" if change == "rose" else "2% fail"), seconds=10)
        assert play.incident.summary == expected
    play.course.tell(replace(told("rose latency high", play.course.now), summary="slow"), seconds=10)
    assert play.incident.summary == "30% fail"
    assert [notice.values["title"] for notice in play.course.notices if notice.kind.value == "rise"] == ["30% fail"]


def test_with_same_key_a_rise_goes_to_the_key_that_is_open() -> None:
    """DETECTOR_PAGERDUTY__ON_RISE=same_key."""
    play = Play(on_rise_new_key=False)
    play("fired errors medium")
    assert play("rose errors high") == ["rise 1:default"]
    assert play("ended errors") == ["resolve 1:default"]


def test_a_joining_alert_that_raises_severity_pages_too() -> None:
    """It is the incident that rises."""
    play = Play()
    play("fired errors medium")
    assert play("fired latency critical") == ["rise 1:default:2"]
    assert play.status == ("open", "critical", "critical")


def test_below_page_from_nobody_is_paged_until_it_rises() -> None:
    """A low incident has no key; its rise opens one, and its fall keeps it until the end."""
    play = Play()
    assert play("fired errors low") == []
    assert play("rose errors medium") == ["trigger 1:default"]
    assert play("fell errors low") == []
    assert play("ended errors") == ["resolve 1:default"]
    assert Play(page_from=Severity.HIGH)("fired errors medium") == []
    assert Play(pagerduty=False)("fired errors critical") == []


def test_severity_and_peak_are_both_kept() -> None:
    """The alert waited `demote_after` already when it fell."""
    play = Play()
    play("fired errors critical")
    play("fell errors medium")
    assert play.status == ("open", "medium", "critical")


def test_severity_outlives_the_alert_that_gave_it_by_demote_after() -> None:
    """The more severe alert ended: the incident falls five minutes later, by its timer, and not before."""
    play = Play()
    play("fired errors critical", "fired latency medium")
    play("ended errors")
    assert play.status == ("open", "critical", "critical")
    assert play.incident.due == play.course.now + 300
    play(seconds=299)
    assert play.status == ("open", "critical", "critical")
    assert play(seconds=1) == []
    assert play.status == ("open", "medium", "critical")
    assert play.incident.due is None


def test_severity_is_held_when_the_alert_comes_back_less_severe() -> None:
    """Ended as critical, fires again as medium within `demote_after`: that is no fall yet."""
    play = Play()
    play("fired errors critical", "fired latency medium")
    play("ended errors")
    assert play("fired errors medium", seconds=100) == []
    assert play.status == ("open", "critical", "critical")
    play("ended errors", seconds=100)
    play("fired errors medium", seconds=50)
    play(seconds=49)
    assert play.status == ("open", "critical", "critical")
    play(seconds=1)
    assert play.incident.severity is Severity.CRITICAL, "held by the second end, which counted as critical"
    play(seconds=300)
    assert play.status == ("open", "medium", "critical")


# --- order inside one batch


@pytest.mark.parametrize("order", list(itertools.permutations(["fired a low", "fired b critical", "absent c", "fired d medium"])))
def test_the_order_of_one_batch_changes_nothing_but_words(order: tuple[str, ...]) -> None:
    """Severity, services, routes and the number of pages are the same whichever alert comes first."""
    play = Play()
    assert play(*order) == ["trigger 1:default"]
    assert play.status == ("open", "critical", "critical")
    assert play.incident.services == ("api",)
    assert set(play.incident.rules) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("lines", [("ended errors", "fired latency"), ("fired latency", "ended errors")])
def test_an_alert_that_takes_over_in_the_same_batch_keeps_the_incident_open(lines: tuple[str, ...]) -> None:
    """No resolve and second page for what never was well in between."""
    play = Play()
    play("fired errors")
    assert play(*lines) == []
    assert play.incident.status is Status.OPEN


def test_what_begins_and_ends_in_one_batch_is_told_of_both() -> None:
    """The outbox decides whether the pair collapses; the ticket has it either way."""
    play = Play()
    assert play("fired errors high", "ended errors") == ["trigger 1:default", "resolve 1:default"]
    assert play.incident.status is Status.RESOLVED


def test_transitions_told_twice_change_nothing() -> None:
    """A commit whose answer was lost is decided again, one transition or all of them."""
    play = Play()
    lines = [
        ["fired errors medium"],
        ["rose errors high"],
        ["unknown errors"],
        ["known errors"],
        ["fell errors low"],
        ["ended errors"],
    ]
    for line in lines:
        play(*line)
        at = play.course.now
        again = correlate(play.course.book, [told(line[0], at)], play.course.rules.catalogue, play.course.paging, at)
        assert again.empty, line
    play = Play()
    both = [told("fired errors", START), told("ended errors", START + 5)]
    play.course.tell(*both)
    again = play.course.tell(*both).decision
    assert again.empty


@pytest.mark.parametrize(("fired_later_seconds", "changes"), [(0.0, False), (3.0, False), (5.0, False), (30.0, True)])
def test_a_firing_that_another_replica_saw_and_ended_is_no_relapse(fired_later_seconds: float, changes: bool) -> None:  # noqa: FBT001  # given
    """The same breach, told late by one that counted `for` a little differently; one that fires after the end is another matter."""
    play = Play()
    first = told("fired errors", START)
    play.course.tell(first)
    play.course.now = START + 5
    play.course.tell(told("ended errors", START + 5))
    late = replace(told("fired errors", START + fired_later_seconds), state=first.state)
    assert play.course.tell(late).decision.empty is not changes


def test_a_late_word_of_an_earlier_firing_ends_no_later_one() -> None:
    """Of alerts sent here: a replica that stood still writes an end that is about the firing before."""
    play = Play()
    first, second = told("fired received/Disk", START), told("fired received/Disk", START + 60)
    for transition in (first, told("ended received/Disk", START + 30), second):
        play.course.now = transition.at
        play.course.tell(transition)
    end = replace(told("ended received/Disk", START + 90), state=first.state)
    assert play.course.tell(end).decision.empty
    assert not play.course.tell(replace(end, state=second.state)).decision.empty


def test_a_decision_made_again_on_the_same_book_is_the_same() -> None:
    """Ids of incidents and notices, and every word, depend on nothing but the arguments."""
    course = make_course()
    transitions = [told("fired errors", START), told("fired latency high", START)]
    first = correlate(course.book, transitions, course.rules.catalogue, course.paging, START)
    assert first == correlate(course.book, transitions, course.rules.catalogue, course.paging, START)
    assert not first.empty


# --- resolve, relapse, close


def test_the_resolve_carries_the_value_at_recovery() -> None:
    """Value, peak and threshold, in the notice and in the timeline."""
    play = Play()
    play("fired errors high")
    play("ended errors")
    facts = play.course.notices[-1].values
    assert (facts["value_at_recovery"], facts["peak_value"], facts["threshold"]) == (0.0001, 0.5, 0.01)
    assert facts["status"] == "resolved"
    assert play.course.events[-1].message == "resolved (recovered) (error_rate 0.01% at recovery, peak 50%)"


def test_a_resolved_incident_is_watched_and_then_closed() -> None:
    """Closed half an hour after its end; it leaves the book."""
    play = Play()
    play("fired errors")
    play("ended errors")
    play(seconds=1799)
    assert play.incident.status is Status.RESOLVED
    play(seconds=1)
    assert (play.incident.status, play.incident.closed) == (Status.CLOSED, play.course.now)
    assert play.course.book.incidents == {}


def test_a_relapse_within_the_watch_is_the_next_episode_of_the_same_incident() -> None:
    """A trigger on the old key would open another alert: the key is new, the incident is not, and the acknowledgement is gone."""
    play = Play()
    play("fired errors high")
    play("ended errors")
    assert play("fired errors medium", seconds=1700) == ["relapse 2:default"]
    assert play.status == ("open", "medium", "high")
    assert (play.incident.episode, play.incident.resolved, play.incident.due) == (2, None, None)
    assert play("ended errors") == ["resolve 2:default"]
    assert play("fired errors medium", seconds=10) == ["relapse 3:default"]


def test_severity_of_an_earlier_episode_does_not_come_back() -> None:
    """The critical alert ended before the relapse; the next look at the incident does not raise it again."""
    play = Play()
    play("fired errors medium", "fired latency critical")
    play("ended errors", "ended latency")
    assert play("fired errors medium", seconds=60) == ["relapse 2:default"]
    assert play("fired traffic low") == []
    assert play.status == ("open", "medium", "critical")


def test_after_the_watch_a_breach_is_a_new_incident() -> None:
    """Closed is closed."""
    play = Play()
    play("fired errors")
    play("ended errors")
    play(seconds=1800)
    assert play("fired errors") == ["trigger 1:default"]
    assert len(play.course.incidents) == 2


def test_a_removed_rule_resolves_with_its_reason() -> None:
    """`rule removed`, not `recovered`; no value at recovery is claimed."""
    course = make_course()
    course.step(errors={"shop": 0.2})
    ended = end_alerts("errors", course.states["errors"], course.now + 300, "rule removed")
    step = course.tell(*ended.transitions, seconds=300)
    assert step.notices == ["resolve"]
    assert course.incident.end_reason == "rule removed"
    assert course.notices[-1].values["value_at_recovery"] is None


# --- absent, unknown


def test_an_absent_core_service_is_high_and_ends_on_its_own() -> None:
    """It stands beside the service's other alerts in one incident and counts from the moment the series were gone."""
    play = Play()
    assert play("absent errors") == ["trigger 1:default"]
    assert play.status == ("open", "high", "high")
    assert play.incident.opened == play.course.now - 180
    assert play.incident.summary == "api: no data"
    assert play("fired errors medium") == []
    assert play("present errors") == []
    assert play("ended errors") == ["resolve 1:default"]


def test_unknown_is_written_down_once_and_changes_nothing_else() -> None:
    """The timeline says when the alert could not be judged, and when it could again."""
    play = Play()
    play("fired errors high")
    at = play.course.now
    assert play.course.tell(told("unknown errors", at, reason="query failed: timeout")).notices == []
    assert play.course.events[-1].message == "errors cannot be judged (query failed: timeout); state kept"
    assert play.incident.alerts[name_alert("errors", told("known errors", 0).labels)].unknown == "query failed: timeout"
    play("known errors")
    assert play.course.events[-1].message == "errors can be judged again"
    assert play.status == ("open", "high", "high")


# --- several routes


def test_every_route_has_a_key_of_its_own_and_all_are_closed() -> None:
    """An incident that spans two teams pages both, raises both, resolves both."""
    play = Play()
    play("fired errors medium", service="shop")
    (alert,) = play.incident.alerts.values()
    other = replace(alert, rule="latency", service="api")
    play.course.book = Book({play.incident.id: replace(play.incident, alerts={alert.key: alert, other.key: other})})
    assert play("rose errors high", service="shop") == ["rise 1:shop-team:2", "trigger 1:default"]
    play("ended errors", service="shop")
    course = play.course
    ended = replace(told("ended latency", course.now, service="shop"), service="api")
    assert sorted(notice.key.partition(":")[2] for notice in course.tell(ended).decision.notices) == [
        "1:default",
        "1:shop-team",
        "1:shop-team:2",
    ]


def test_notice_ids_belong_to_the_episode_they_were_queued_in() -> None:
    """The resolve is of the first episode, the page of the relapse of the second; no id occurs twice."""
    play = Play()
    play("fired errors")
    play("ended errors")
    course = play.course
    course.tell(told("fired errors", course.now + 10), seconds=10)
    course.tell(told("ended errors", course.now + 10), seconds=10)
    assert [(notice.episode, notice.kind.value) for notice in course.notices] == [
        (1, "trigger"),
        (1, "resolve"),
        (2, "relapse"),
        (2, "resolve"),
    ]
    assert len({notice.id for notice in course.notices}) == 4


def test_a_second_alert_that_comes_back_with_a_relapse_holds_no_severity_of_the_episode_before() -> None:
    """Both alerts of a resolved incident fire again in one batch: one relapse, at the severity they have now."""
    play = Play()
    play("fired errors high", "fired latency medium")
    play("ended errors", "ended latency")
    play("fired errors medium", "fired latency low")
    assert play.status == ("open", "medium", "high")
    assert play.incident.episode == 2


def test_every_change_of_the_rule_files_that_decide_is_written_down_once() -> None:
    """The digest at the opening, and again only in the first decision by other files; told in the incident, too."""
    play = Play()
    play("fired errors high")
    first = play.course.rules.digest
    play("rose errors critical")
    catalogue = replace(play.course.rules.catalogue, version="another")
    play.course.rules = replace(play.course.rules, catalogue=catalogue)
    play("fell errors high")
    play("ended errors")
    told_so = [event.message for event in play.course.events if event.kind == "config"]
    assert told_so == [f"decided by rule files {first}", "from here on decided by rule files another"]
    assert play.incident.version == "another"
