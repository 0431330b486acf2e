"""What the public page says of incidents: words of disclosure only, and never better than we know."""

import json
from dataclasses import replace
from typing import Any

import pytest

from detector.domain.catalogue import Catalogue, Service
from detector.domain.incident import BLIND_ID, Event, Incident, Status
from detector.domain.publication import choose_current, choose_recent, is_blind, publish, view_public
from detector.domain.severity import Severity
from detector.web.bulletin import write_atom, write_html, write_json
from tests.kit.sample import NASTY, make_incident

CATALOGUE = Catalogue(
    {
        "checkout": Service("checkout"),
        "cart": Service("cart"),
        "search": Service("search"),
        "ledger": Service("ledger", customer_facing=False),
        "db1.internal:5432": Service("db1.internal:5432"),
    }
)
SECRET = "hunter2.internal"


def _incident(number: int = 1, **changes: Any) -> Incident:
    return make_incident(number, **({"peak_severity": Severity.HIGH} | changes))


def _say(kind: str, message: str = "", *, at: float = 1100.0, actor: str = "detector") -> Event:
    return Event("incident-00001", at, actor, kind, message)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        ({"peak_severity": Severity.MEDIUM}, False),
        ({"services": ("ledger",), "service": "ledger"}, False),
        ({"rules": ("store-down",)}, False),
        ({"route": "default", "service": "storm"}, True),
        ({"route": "default", "service": "storm", "services": ("ledger",)}, False),
        ({"muted": "maintenance"}, False),
        ({"muted": "a silence", "heard": Severity.HIGH}, True),
        ({"status": Status.RESOLVED, "resolved": 1200.0}, False),
    ],
)
def test_which_incidents_are_on_the_page(changes: dict[str, Any], shown: bool) -> None:  # noqa: FBT001 - a column of the table
    """CRITICAL and HIGH about a service customers face; a storm by what is in it; not ours, not what began muted or is over."""
    assert bool(choose_current([_incident(**changes)], CATALOGUE)) is shown


def test_a_storm_is_one_incident_on_the_page() -> None:
    """What is folded into it is not told one by one, yet each component is as bad as its own; what rose is told by itself."""
    high = {"folded": "storm-1", "quiet": Severity.HIGH, "severity": Severity.HIGH}
    parts = [
        _incident(1, **high, services=("checkout",)),
        _incident(2, **high | {"severity": Severity.MEDIUM}, services=("cart",), service="cart"),
        _incident(3, **high | {"severity": Severity.CRITICAL, "peak_severity": Severity.CRITICAL}, services=("search",)),
    ]
    storm = _incident(4, severity=Severity.HIGH, route="default", service="storm", services=("cart", "checkout", "ledger"))
    told = publish(choose_current([*parts, storm], CATALOGUE), (), {}, CATALOGUE, blind=False)
    assert {each.id: each.services for each in told.current} == {
        "incident-00003": ("search",),
        "incident-00004": ("cart", "checkout"),
    }
    assert {each.name: each.status for each in told.components} == {
        "checkout": "disrupted",
        "cart": "degraded",
        "search": "down",
    }
    over = [replace(each, status=Status.CLOSED, resolved=1300.0, closed=3000.0) for each in (*parts, storm)]
    assert {each.id for each in choose_recent(over, CATALOGUE, 4000.0)} == {"incident-00003", "incident-00004"}


def test_recent_ones_are_over_and_of_two_weeks() -> None:
    """What is open is not recent, and what is old is gone."""
    closed = {"status": Status.CLOSED, "resolved": 1300.0, "closed": 3000.0}
    watched = {"status": Status.RESOLVED, "resolved": 1300.0}
    incidents = [_incident(1, **closed), _incident(2), _incident(3, **closed, opened=-2_000_000.0), _incident(4, **watched)]
    assert [each.id for each in choose_recent(incidents, CATALOGUE, 4000.0)] == ["incident-00004", "incident-00001"]


def test_components_have_the_worst_that_is_open_and_nothing_is_called_well_while_blind() -> None:
    """By service: the worst severity of an active incident; the rest is operational, or unknown while we see nothing."""
    incidents = [
        _incident(1, severity=Severity.HIGH),
        _incident(2, severity=Severity.CRITICAL, services=("cart",), service="cart"),
        _incident(3, status=Status.RESOLVED, services=("search",), service="search"),
    ]
    told = publish(choose_current(incidents, CATALOGUE), (), {}, CATALOGUE, blind=False)
    assert {each.name: each.status for each in told.components} == {
        "checkout": "disrupted",
        "cart": "down",
        "search": "operational",
    }
    assert told.status == "down"
    blind = [replace(incidents[2]), _incident(4, id=BLIND_ID, service="detector", services=("detector",), rules=("blind",))]
    assert is_blind(blind)
    dark = publish(choose_current(blind, CATALOGUE), (), {}, CATALOGUE, blind=is_blind(blind))
    assert {each.status for each in dark.components} == {"unknown"}
    assert dark.status == "unknown"


def test_updates_are_a_persons_words_or_fixed_ones() -> None:
    """A person's update reads as written, without addresses; ours are fixed sentences; notes and the rest stay inside."""
    timeline = [
        _say("opened", f"opened as high: {NASTY}", at=1010.0),
        _say("acknowledged", "acknowledged", at=1020.0, actor="Ann Example"),
        _say("acknowledged", "acknowledged", at=1021.0, actor="Eve of another routing key"),
        _say("note", "it is Bob's fault", at=1030.0, actor="Ann Example"),
        _say("update", f"We found it on {SECRET}; ETA 10m; identified", at=1040.0, actor="Ann Example"),
        _say("update", "monitoring", at=1045.0, actor="Ann Example"),
        _say("severity", "severity high -> critical", at=1050.0),
        _say("resolved", "resolved (recovered): error_rate 0.0", at=1060.0),
    ]
    updates = view_public(_incident(), timeline, CATALOGUE).updates
    assert [(each.state, each.text) for each in updates] == [
        ("resolved", "The service has recovered and we are watching it."),
        ("monitoring", "The service has recovered and we are watching it."),
        ("identified", "We found it on (removed) ETA 10m."),
        ("", "Our engineers are working on it."),
        ("investigating", "We are investigating."),
    ]


@pytest.mark.parametrize(
    "message", ["resolved by hand while metrics are still bad: a test", "resolved (rule removed)", "resolved (gone)"]
)
def test_recovery_is_claimed_only_where_it_was_seen(message: str) -> None:
    """An incident that ended otherwise is over, and nothing is said of the service."""
    (update,) = view_public(_incident(), [_say("resolved", message, at=1060.0)], CATALOGUE).updates
    assert (update.state, update.text) == ("resolved", "This incident is resolved.")


def test_nothing_of_the_inside_leaves_in_any_form() -> None:
    """Labels, values, rules, links, people and hosts stand in no form of the page; markup in a person's words is inert."""
    incident = _incident(
        status=Status.CLOSED,
        resolved=1300.0,
        closed=3000.0,
        acknowledged_by="Ann Example",
        root_cause=f"a full disk on {SECRET}",
        services=("checkout", "ledger", "db1.internal:5432"),
        rule_labels={"team": "payments-team"},
        links={"runbook": "https://wiki.internal/x"},
    )
    timeline = [_say("update", "<script>alert(1)</script> & more", actor="Ann Example"), _say("note", "secret note", actor="Ann")]
    told = publish([replace(incident, status=Status.OPEN)], [incident], {incident.id: timeline}, CATALOGUE, blind=False)
    forms = [write(told, 4000.0) for write in (write_html, write_json, write_atom)]
    for form in forms:
        for inside in (
            SECRET,
            "Ann",
            "payments-team",
            "wiki",
            "http-errors",
            "prod",
            "db1",
            "ledger",
            "secret note",
            "{{7*7}}",
            "0.2",
        ):
            assert inside not in form, inside
    assert "a full disk on (removed)" in forms[0]
    for form in (forms[0], forms[2]):
        assert "<script" not in form
        assert "&lt;script&gt;" in form
    assert [each["components"] for each in json.loads(forms[1])["incidents"]] == [["checkout"], ["checkout"]]
