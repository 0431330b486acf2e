"""Notices and deliveries as `correlate` and the store make them, with the facts of a failing checkout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from detector.domain.incident import PAGERDUTY, Notice, NoticeKind, name_key, name_notice
from detector.domain.severity import Severity
from detector.ports.store import Delivery, deliver

OPENED = 1_700_000_000.0

FACTS: dict[str, Any] = {
    "title": "checkout fails 10.2% of its requests",
    "status": "open",
    "severity": "high",
    "service": "checkout",
    "services": ["checkout", "basket"],
    "rules": ["http-errors", "http-latency"],
    "signal": "error_rate",
    "value": 0.102,
    "threshold": 0.01,
    "peak_value": 0.12,
    "value_at_recovery": None,
    "condition": "error_rate > 0.01",
    "opened": OPENED,
    "detected": OPENED + 5,
    "end_reason": "",
    "labels": {"env": "prod", "service": "checkout"},
    "links": {"runbook": "https://wiki.example/checkout", "trace": "https://trace.example/?q=1"},
    "runbook": "https://wiki.example/checkout",
    "dashboard": "https://grafana.example/d/x",
    "incident_url": "https://detector.example/incidents/abc",
    "notes": ["core service"],
    "alerts": [{"rule": "http-errors", "service": "checkout", "labels": {"service": "checkout"}, "severity": "high"}],
}


def make_notice(
    incident: str = "abc",
    kind: NoticeKind = NoticeKind.TRIGGER,
    *,
    sequence: int = 1,
    route: str = "default",
    severity: Severity = Severity.HIGH,
    at: float = OPENED,
    **facts: Any,
) -> Notice:
    """One notice to PagerDuty; `facts` override those of the failing checkout."""
    return Notice(
        id=name_notice(incident, 1, sequence, kind, PAGERDUTY, route),
        incident=incident,
        episode=1,
        kind=kind,
        channel=PAGERDUTY,
        route=route,
        key=name_key(incident, 1, route),
        severity=severity,
        at=at,
        values=FACTS | {"severity": severity.value} | facts,
    )


def make_delivery(
    kind: NoticeKind = NoticeKind.TRIGGER, *, key: str | None = None, credential: str | None = None, **about: Any
) -> Delivery:
    """The outbox row of such a notice."""
    notice = make_notice(kind=kind, **about)
    return deliver(notice if key is None else replace(notice, key=key), credential=credential)
