"""Incidents and alerts as JSON: field by field, live values merged, nothing that JSON cannot say."""

import json
import math
from dataclasses import replace

from detector.domain.alert import AlertState, Phase, SignalTrack
from detector.domain.severity import Severity
from detector.domain.view import merge_live, view_alert, view_incident
from tests.kit.sample import NASTY, make_incident

LABELS = (("service", "checkout"),)


def _with_signal(**changes: object) -> dict[str, object]:
    incident = make_incident(1)
    (alert,) = incident.alerts.values()
    alert = replace(alert, signal="error_rate", **changes)  # type: ignore[arg-type]  # fields of the test's choice
    return view_incident(replace(incident, alerts={alert.key: alert}))  # type: ignore[return-value]  # JSON of known fields


def test_an_incident_has_every_documented_field() -> None:
    """The view has the documented names with values of the documented types, and is JSON."""
    seen = _with_signal()
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen
    assert {name: seen[name] for name in ("id", "status", "severity", "peak_severity", "service", "services", "rules")} == {
        "id": "incident-00001",
        "status": "open",
        "severity": "high",
        "peak_severity": "critical",
        "service": "checkout",
        "services": ["checkout", "cart"],
        "rules": ["http-errors"],
    }
    assert (seen["value"], seen["peak_value"], seen["value_at_recovery"], seen["threshold"]) == (0.2, 0.5, None, 0.01)
    assert seen["signals"] == {"error_rate": {"value": 0.2, "peak": 0.5, "at_recovery": None}}
    assert (seen["opened"], seen["acknowledged"], seen["resolved"], seen["closed"]) == (1001.0, None, None, None)
    assert seen["labels"] == {"team": "payments", "env": "prod", "name": NASTY}


def test_numbers_that_json_does_not_know_are_null() -> None:
    """NaN and infinities become null."""
    seen = _with_signal(signals={"error_rate": SignalTrack(math.nan, math.inf, -math.inf)}, threshold=math.inf)
    assert (seen["value"], seen["peak_value"], seen["value_at_recovery"], seen["threshold"]) == (None, None, None, None)


def test_a_firing_alert_shows_its_last_evaluation() -> None:
    """The values of the running alert replace those of the last commit; an ended alert and another breach keep theirs."""
    incident = make_incident(1)
    (alert,) = incident.alerts.values()
    live = AlertState(
        LABELS, Phase.FIRING, fired=alert.fired, signal="error_rate", threshold=0.02, signals={"error_rate": SignalTrack(0.9, 0.95)}
    )
    asked = []

    def find(rule: str, labels: object) -> AlertState:
        asked.append((rule, labels))
        return live

    assert view_incident(merge_live(incident, find))["value"] == 0.9
    assert view_incident(merge_live(incident, find))["threshold"] == 0.02
    assert asked[0] == ("http-errors", LABELS)
    ended = replace(incident, alerts={alert.key: replace(alert, ended=1200.0)})
    assert merge_live(ended, find) is ended
    another = replace(live, fired=5000.0)
    assert merge_live(incident, lambda *_: another).alerts == incident.alerts
    assert merge_live(incident, lambda *_: None).alerts == incident.alerts


def test_signals_of_all_alerts_are_shown_the_leader_first() -> None:
    """A second alert adds signals of other names; a name that both have is the leader's."""
    incident = make_incident(1)
    (alert,) = incident.alerts.values()
    second = replace(
        alert,
        rule="latency",
        severity=Severity.CRITICAL,
        signal="p95",
        signals={"p95": SignalTrack(2.0), "error_rate": SignalTrack(0.7)},
    )
    seen = view_incident(replace(incident, alerts={alert.key: alert, second.key: second}))
    assert seen["value"] == 2.0
    assert seen["signals"] == {
        "p95": {"value": 2.0, "peak": None, "at_recovery": None},
        "error_rate": {"value": 0.7, "peak": None, "at_recovery": None},
    }


def test_an_incident_without_alerts_has_no_numbers() -> None:
    """A blind incident has null where others have numbers."""
    seen = view_incident(make_incident(1, alerts={}))
    assert (seen["value"], seen["threshold"], seen["signals"]) == (None, None, {})


def test_an_alert_is_plain_json() -> None:
    """An alert has its state, labels and numbers."""
    state = AlertState(LABELS, Phase.PENDING, breached=5.0, signal="p95", threshold=1.0, signals={"p95": SignalTrack(1.5, 1.6)})
    seen = view_alert("latency", "checkout", state)
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen
    assert (seen["state"], seen["value"], seen["peak_value"], seen["since"], seen["severity"]) == ("pending", 1.5, 1.6, 5.0, None)
