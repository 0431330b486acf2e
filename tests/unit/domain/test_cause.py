"""One incident for one cause: dependents join what they depend on, a storm folds, and order changes nothing that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.domain.dependency import list_dependencies
from detector.domain.ledger import Paging
from detector.domain.severity import Severity
from tests.kit.course import Course
from tests.kit.play import START, told

if TYPE_CHECKING:
    from detector.domain.incident import Incident

TEXT = """
services:
  frontend: {depends_on: [checkout, search], pagerduty: web}
  checkout: {depends_on: [payments], pagerduty: shop}
  payments: {depends_on: [database], pagerduty: shop}
  search: {depends_on: [database]}
  database: {pagerduty: platform}
  loop-a: {depends_on: [loop-b]}
  loop-b: {depends_on: [loop-a]}
rules:
  - {name: errors, by: [service], signals: {error_rate: errors}, open: error_rate > 0.01}
"""


def _course(storm_threshold: int = 20) -> Course:
    return Course(TEXT, paging=Paging(storm_threshold=storm_threshold), now=START)


def _fire(course: Course, *lines: tuple[str, str], seconds: float = 10.0, change: str = "fired") -> None:
    at = course.now + seconds
    course.tell(*(told(f"{change} errors {severity}", at, service=service) for service, severity in lines), seconds=seconds)


def _active(course: Course) -> list[Incident]:
    return [incident for incident in course.incidents.values() if incident.status.active]


def test_dependencies_are_walked_over_any_number_of_steps_and_cycles_once() -> None:
    """The nearest come first."""
    catalogue = _course().rules.catalogue
    assert list_dependencies(catalogue, "frontend") == ("checkout", "search", "payments", "database")
    assert list_dependencies(catalogue, "loop-a") == ("loop-b",)


def test_a_dependent_joins_the_incident_of_what_it_depends_on() -> None:
    """The database broke first: one incident, everybody behind it affected, each routing key paged once."""
    course = _course()
    _fire(course, ("database", "high"))
    _fire(course, ("payments", "high"))
    _fire(course, ("checkout", "medium"))
    _fire(course, ("frontend", "medium"))
    assert course.incident.service == "database"
    assert course.incident.services == ("database", "payments", "checkout", "frontend")
    assert sorted(page.route for page in course.incident.pages) == ["platform", "shop", "web"]


@pytest.mark.parametrize(
    ("wait", "severity", "count"), [(10.0, "high", 1), (599.0, "high", 1), (601.0, "high", 2), (10.0, "critical", 2)]
)
def test_a_dependent_joins_only_what_began_lately_and_is_as_severe(wait: float, severity: str, count: int) -> None:
    """Later than ten minutes, or worse than its dependency: an incident of its own, which names the other."""
    course = _course()
    _fire(course, ("database", "high"))
    _fire(course, ("search", severity), seconds=wait)
    assert len(course.incidents) == count
    if count == 2:
        (own,) = (incident for incident in course.incidents.values() if incident.service == "search")
        (other,) = (incident for incident in course.incidents.values() if incident.service == "database")
        assert (own.see_also, other.see_also) == ((other.id,), (own.id,))


def test_incidents_that_have_paged_are_linked_never_merged() -> None:
    """The frontend broke first: what it depends on opens its own incident, which says "see also"."""
    course = _course()
    _fire(course, ("frontend", "medium"))
    _fire(course, ("database", "high"))
    by_service = {incident.service: incident for incident in course.incidents.values()}
    assert by_service["database"].see_also == (by_service["frontend"].id,)
    assert by_service["frontend"].see_also == (by_service["database"].id,)
    assert "see also" in [event.kind for event in course.events if event.incident == by_service["frontend"].id]


@pytest.mark.parametrize(
    ("database", "search", "joined", "linked"),
    [
        ({"env": "prod"}, {"env": "prod", "namespace": "shop"}, True, False),
        ({}, {"env": "prod"}, True, False),
        ({"env": "prod", "namespace": "data"}, {"env": "prod", "namespace": "shop"}, False, True),
        ({"env": "staging"}, {"env": "prod"}, False, False),
    ],
)
def test_a_dependent_and_what_it_depends_on_may_carry_different_labels(
    database: dict[str, str], search: dict[str, str], *, joined: bool, linked: bool
) -> None:
    """A label that only one of them has parts nothing; another namespace is worth a link; another environment is not."""
    course = _course()
    for service, labels in (("database", database), ("search", search)):
        course.tell(told("fired errors high", course.now + 10, service=service, labels=labels), seconds=10)
    assert len(course.incidents) == (1 if joined else 2)
    assert [bool(incident.see_also) for incident in course.incidents.values()] == [linked] * len(course.incidents)


def test_what_broke_long_after_its_dependents_is_not_linked_to_them() -> None:
    """A dependent's trouble of an hour ago has another cause."""
    course = _course()
    _fire(course, ("frontend", "medium"))
    _fire(course, ("database", "high"), seconds=3600.0)
    assert {incident.see_also for incident in course.incidents.values()} == {()}


def test_an_incident_with_dependents_ends_when_each_of_them_has_recovered() -> None:
    """Every route that was paged gets its resolve."""
    course = _course()
    _fire(course, ("database", "high"))
    _fire(course, ("search", "medium"), ("payments", "medium"))
    _fire(course, ("database", "high"), change="ended")
    assert course.incident.status.value == "open"
    _fire(course, ("search", "medium"), ("payments", "medium"), change="ended")
    assert course.incident.status.value == "resolved"
    assert all(page.closed for page in course.incident.pages)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["frontend", "checkout", "payments", "search", "database"]),
        st.sampled_from(["medium", "high", "critical"]),
        min_size=2,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from([0.0, 5.0, 60.0]),
)
def test_arrival_order_changes_the_parent_and_the_pages_but_nothing_that_counts(
    broken: dict[str, str], shuffler: object, gap: float
) -> None:
    """Affected services, the worst severity and whether each owner was paged are the same for every order."""
    lines = list(broken.items())
    found = []
    for turn in range(2):
        order = list(lines)
        if turn:
            shuffler.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' Random
        course = _course()
        for line in order:
            _fire(course, line, seconds=gap)
        incidents = _active(course)
        affected = {service for incident in incidents for service in incident.services}
        routes = {page.route for incident in incidents for page in incident.pages if not page.closed}
        found.append((affected, max(incident.severity for incident in incidents), routes))
    assert found[0] == found[1]
    assert found[0][0] == set(broken)


# --- storms


def _storm(count: int, severity: str = "high", threshold: int = 5) -> Course:
    course = _course(storm_threshold=threshold)
    for number in range(count):
        _fire(course, (f"svc-{number:03}", severity), seconds=1.0)
    return course


def test_below_the_threshold_every_incident_pages() -> None:
    """Five within a minute are five pages."""
    course = _storm(5)
    assert len([notice for notice in course.notices if notice.kind.value == "trigger"]) == 5
    assert not any(incident.folded for incident in course.incidents.values())


def test_from_the_next_one_on_they_fold_into_one_incident_for_the_routing_key() -> None:
    """The storm pages once; the folded ones keep their records and page nobody."""
    course = _storm(12)
    folded = [incident for incident in course.incidents.values() if incident.folded]
    (storm,) = (incident for incident in course.incidents.values() if incident.route)
    assert (len(folded), {incident.folded for incident in folded}) == (7, {storm.id})
    assert not any(incident.pages for incident in folded)
    assert [page.route for page in storm.pages] == ["default"]
    assert storm.summary.startswith("7 new incidents")
    assert len([notice for notice in course.notices if notice.kind.value == "trigger"]) == 6


def test_a_storm_speaks_for_what_is_folded_into_it() -> None:
    """In Slack and in the mail of those on call; nobody is summoned to a part of it. Machines and own channels hear of each."""
    paging = Paging(storm_threshold=5, audience=(("slack", ""), ("email", "on_call"), ("webhook", "")))
    course = Course(TEXT.replace("search: {", 'search: {slack: "#search", '), paging=paging, now=START)
    for service in [*(f"svc-{number}" for number in range(9)), "search"]:
        _fire(course, (service, "high"), seconds=1.0)
    folded = {incident.service: incident for incident in course.incidents.values() if incident.folded}
    assert {service: incident.told for service, incident in folded.items()} == {
        **dict.fromkeys(("svc-5", "svc-6", "svc-7", "svc-8"), ("webhook:",)),
        "search": ("slack:", "webhook:"),
    }
    assert not any(incident.summoned for incident in folded.values())
    (storm,) = (incident for incident in course.incidents.values() if incident.route)
    assert storm.told == ("slack:", "email:on_call", "webhook:")
    _fire(course, ("svc-7", "critical"), change="rose")
    risen = course.incidents[folded["svc-7"].id]
    assert (set(risen.told), risen.summoned) == ({"slack:", "email:on_call", "webhook:"}, True)


def _find_storm(course: Course) -> Incident:
    return next(incident for incident in course.incidents.values() if incident.route)


def test_outsiders_hear_of_a_storm_once() -> None:
    """One incident on the status page and one mail for stakeholders, naming what customers face; what rises is told by itself."""
    audience = (("slack", ""), ("email", "stakeholders"), ("statuspage", ""))
    text = TEXT.replace("search: {", "search: {customer_facing: false, ")
    course = Course(text, paging=Paging(storm_threshold=5, audience=audience), now=START)
    for number in range(5):
        _fire(course, (f"early-{number}", "low"), seconds=1.0)
    for service in ("svc-1", "search", "svc-2", "svc-3"):
        _fire(course, (service, "high"), seconds=1.0)
    storm = _find_storm(course)
    course.notices.clear()
    for _ in range(8):
        course.tell(seconds=60.0)
    told_of = [notice for notice in course.notices if notice.channel in {"email", "statuspage"}]
    assert [(notice.kind.value, notice.channel, notice.incident) for notice in told_of] == [
        ("update", "statuspage", storm.id),  # as large as it has become
        ("trigger", "email", storm.id),
    ]
    assert {tuple(notice.values["facing"]) for notice in told_of} == {("svc-1", "svc-2", "svc-3")}
    parts = {incident.service: incident for incident in course.incidents.values() if incident.folded}
    assert {incident.told for incident in parts.values()} == {()}
    _fire(course, ("svc-2", "critical"), change="rose")
    assert "statuspage:" in course.incidents[parts["svc-2"].id].told
    assert "statuspage:" not in course.incidents[parts["svc-3"].id].told


def test_a_storm_names_its_services_and_says_that_it_has_grown_once_a_minute() -> None:
    """It is not "service storm" that is down; who heard of the first part hears what it has come to."""
    course = Course(TEXT, paging=Paging(storm_threshold=5, audience=(("slack", ""),)), now=START)
    for number in range(9):
        _fire(course, (f"svc-{number}", "high"), seconds=1.0)
    storm = _find_storm(course)
    course.notices.clear()
    assert storm.services == ("svc-5", "svc-6", "svc-7", "svc-8")
    for _ in range(5):
        course.tell(seconds=60.0)
    grown = [notice for notice in course.notices if notice.incident == storm.id]
    assert [(notice.kind.value, notice.values["message"]) for notice in grown] == [
        ("update", "4 new incidents within minutes: svc-5, svc-6, svc-7, svc-8")
    ]
    assert grown[0].values["subject"] == "4 services"


def test_a_part_that_comes_back_when_its_storm_is_over_pages() -> None:
    """Nobody else would page for it; within the storm it stays a part."""
    course = _storm(8)
    parts = [incident.service for incident in course.incidents.values() if incident.folded]
    _fire(course, (parts[0], "high"), change="ended")
    _fire(course, (parts[0], "high"))
    assert not any(incident.pages for incident in _active(course) if incident.folded)
    _fire(course, *((service, "high") for service in parts), change="ended")
    assert not _find_storm(course).status.active
    _fire(course, (parts[0], "high"))
    (back,) = (incident for incident in _active(course) if incident.service == parts[0])
    assert (back.folded, len(back.pages), back.episode) == ("", 1, 3)


def test_critical_always_sends_its_own_trigger_and_a_rise_pages_a_folded_incident() -> None:
    """Nothing grave hides in a storm."""
    course = _storm(8)
    _fire(course, ("worst", "critical"), seconds=1.0)
    (worst,) = (incident for incident in course.incidents.values() if incident.service == "worst")
    assert worst.pages
    assert not worst.folded
    folded = next(incident for incident in course.incidents.values() if incident.folded)
    _fire(course, (folded.service, "critical"), change="rose")
    assert course.incidents[folded.id].pages


def test_incidents_spread_over_time_are_no_storm() -> None:
    """The minute slides."""
    course = _course(storm_threshold=5)
    for number in range(20):
        _fire(course, (f"svc-{number}", "high"), seconds=15.0)
    assert not any(incident.folded for incident in course.incidents.values())


def test_a_storm_ends_when_everything_folded_into_it_has() -> None:
    """Its page is resolved then, and once only."""
    course = _storm(9)
    services = [incident.service for incident in course.incidents.values() if not incident.route]
    _fire(course, *((service, "high") for service in services[:-1]), change="ended")
    (storm,) = (incident for incident in course.incidents.values() if incident.route)
    assert course.incidents[storm.id].status.value == "open"
    _fire(course, (services[-1], "high"), change="ended")
    assert course.incidents[storm.id].status.value == "resolved"
    opened = sorted(notice.key for notice in course.notices if notice.kind.value in {"trigger", "rise"})
    closed = sorted(notice.key for notice in course.notices if notice.kind.value == "resolve")
    assert opened == closed


def test_incidents_below_the_paging_line_make_a_storm_that_pages_nobody() -> None:
    """A storm is as severe as the worst that is folded into it."""
    course = _storm(9, "low")
    assert not [notice for notice in course.notices if notice.kind.value == "trigger"]
    (storm,) = (incident for incident in course.incidents.values() if incident.route)
    assert storm.severity is Severity.LOW
