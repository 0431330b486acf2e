"""Values to put into a store: a full incident, a notice, an alert, with names from a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.domain.alert import AlertState, Phase, SignalTrack
from detector.domain.incident import Book, Decision, Event, Incident, JoinedAlert, Notice, NoticeKind, Page, Status, name_notice
from detector.domain.severity import Severity
from detector.ports.store import AlertRecord, Decide

if TYPE_CHECKING:
    from detector.domain.label import Labels

NASTY = 'a\0b\r\n<!channel>{{7*7}}#+/ 🔥 "quoted" \\'


def make_incident(number: int = 1, **changes: Any) -> Incident:
    """An incident with every field set; `opened` grows with the number."""
    track = {"error_rate": SignalTrack(0.2, 0.5, None)}
    joined = JoinedAlert(
        rule="http-errors",
        labels=(("service", "checkout"),),
        service="checkout",
        severity=Severity.HIGH,
        breached=1000.5,
        fired=1010.0,
        signals=track,
        links={"runbook": "wiki/checkout"},
        blocked=("critical",),
        threshold=0.01,
    )
    fields: dict[str, Any] = {
        "id": f"incident-{number:05d}",
        "episode": 1,
        "status": Status.OPEN,
        "severity": Severity.HIGH,
        "peak_severity": Severity.CRITICAL,
        "service": "checkout",
        "services": ("checkout", "cart"),
        "rules": ("http-errors",),
        "labels": (("env", "prod"), ("name", NASTY)),
        "opened": 1000.0 + number,
        "detected": 1010.25 + number,
        "summary": NASTY,
        "alerts": {joined.key: joined},
        "pages": (Page("default", "k", 1010.0, Severity.HIGH),),
        "relapses": (1.0, 2.0),
        "due": 1300.0,
        "rule_labels": {"team": "payments"},
    }
    return Incident(**(fields | changes))


def make_notice(number: int = 1, kind: NoticeKind = NoticeKind.TRIGGER, **changes: Any) -> Notice:
    """A notice of `make_incident(number)` to PagerDuty's default route."""
    fields: dict[str, Any] = {
        "incident": f"incident-{number:05d}",
        "episode": 1,
        "kind": kind,
        "channel": "pagerduty",
        "route": "default",
        "key": f"incident-{number:05d}:1:default",
        "severity": Severity.HIGH,
        "at": 1000.0 + number,
        "values": {"summary": NASTY, "value": 0.25, "links": {"runbook": "wiki"}, "none": None},
    }
    fields |= changes
    words = (fields["incident"], fields["episode"], number, fields["kind"], fields["channel"], fields["route"])
    return Notice(**({"id": name_notice(*words)} | fields))


def make_event(number: int = 1, **changes: Any) -> Event:
    """A line in the timeline of `make_incident(number)`."""
    fields: dict[str, Any] = {"incident": f"incident-{number:05d}", "at": 1010.0, "actor": "detector", "kind": "opened"}
    return Event(**(fields | {"message": "error_rate 0.2 > 0.01"} | changes))


def make_record(number: int = 1, rule: str = "http-errors", **changes: Any) -> AlertRecord:
    """A pending alert of one series."""
    labels: Labels = (("pod", f"pod-{number}"), ("service", "checkout"))
    fields: dict[str, Any] = {"phase": Phase.PENDING, "evaluated": 1000.0, "breached": 990.0, "pending_seconds": 10.0}
    fields |= {"severity": Severity.LOW, "signals": {"error_rate": SignalTrack(0.2, 0.5)}, "baselines": {"p95": 0.1}}
    return AlertRecord(rule, labels, AlertState(labels, **(fields | changes)))


def decide(*values: Incident | Event | Notice) -> Decide:
    """A decision that was made beforehand."""
    decision = Decision(
        tuple(value for value in values if isinstance(value, Incident)),
        tuple(value for value in values if isinstance(value, Event)),
        tuple(value for value in values if isinstance(value, Notice)),
    )

    def run(book: Book) -> Decision:
        del book
        return decision

    return run
