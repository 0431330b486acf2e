"""Incidents through transitions that are made by hand, in short form: `play("fired errors high", seconds=10)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.domain.alert import AlertState, Change, Phase, SignalTrack, Transition
from detector.domain.label import make_labels
from detector.domain.ledger import Paging
from detector.domain.severity import Severity
from tests.kit.course import Course

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.domain.incident import Incident

TEXT = """
services:
  shop: {pagerduty: shop-team}
  api: {}
rules:
  - {name: errors, by: [service], signals: {error_rate: errors}, open: error_rate > 0.01}
"""
START = 1_000_000.0
_JOIN = frozenset({"env", "namespace", "cluster"})


def make_course(**paging: Any) -> Course:
    """A course over a catalogue of `shop`, which has its own route, and `api`, which has not."""
    return Course(TEXT, paging=Paging(**paging), now=START)


def told(line: str, at: float, *, service: str = "api", reason: str = "", labels: Mapping[str, str] | None = None) -> Transition:
    """The transition "change rule [severity]" of the alert of a service."""
    change, rule, severity = (*line.split(), "medium")[:3]
    labels = {"service": service, **(labels or {})}
    state = AlertState(
        make_labels(labels),
        Phase.FIRING,
        breached=at - 10,
        fired=at,
        severity=Severity(severity),
        signal="error_rate",
        threshold=0.01,
        missing_seconds=180.0 if change == "absent" else None,
        signals={"error_rate": SignalTrack(0.2, 0.5, 0.0001 if change == "ended" else None)},
    )
    join = make_labels({name: value for name, value in labels.items() if name in _JOIN})
    reason = reason or ("recovered" if change in {"ended", "present"} else "")
    return Transition(Change(change), rule, state.labels, at, service, state, f"{rule} of {service}", reason, join=join)


class Play:
    """A course whose transitions are told, not measured."""

    def __init__(self, **paging: Any) -> None:
        self.course = make_course(**paging)

    def __call__(
        self, *lines: str, seconds: float = 10.0, service: str = "api", labels: Mapping[str, str] | None = None
    ) -> list[str]:
        """Tell the lines after `seconds`; returns the notices as "kind key" without the incident's id."""
        at = self.course.now + seconds
        step = self.course.tell(*(told(line, at, service=service, labels=labels) for line in lines), seconds=seconds)
        return [f"{notice.kind.value} {notice.key.partition(':')[2]}" for notice in step.decision.notices]

    @property
    def incident(self) -> Incident:
        """The only incident."""
        return self.course.incident

    @property
    def status(self) -> tuple[str, str, str]:
        """Status, severity and peak of the only incident."""
        return self.incident.status.value, self.incident.severity.value, self.incident.peak_severity.value

    @property
    def said(self) -> list[str]:
        """Kinds of timeline lines."""
        return [event.kind for event in self.course.events]
