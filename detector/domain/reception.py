"""Alerts that another Prometheus sends here as to an Alertmanager: from what was received to alert states and transitions. Pure.

Before it: the API, which read the request. After it: `correlate`. Who sends says by `ends` until when its word holds, and says it
anew while the alert fires. An end in the past is its word that the alert is over. An end that passes without a further word says
nothing: the state is kept and unknown, until the sender or a human speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from detector.domain.alert import AlertState, Change, Phase, Receipt, Transition
from detector.domain.label import NO_LABELS, Labels, label_value, project_labels
from detector.domain.rule import JOIN_BY
from detector.domain.severity import read_severity

RECEIVED = "received"
PREFIX = f"{RECEIVED}/"  # keeps the alerts of a rule of ours and of one of the same name elsewhere apart
HOLD_SECONDS = 300.0  # Alertmanager's resolve_timeout: how long word without an end holds
SILENT = "no further word from its sender"
_SUMMARIES = ("summary", "message", "title", "description")
_LINKS = {"runbook_url": "runbook", "runbook": "runbook", "dashboard_url": "dashboard", "dashboard": "dashboard"}
_LONGEST_SUMMARY = 1000


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert of a request. `starts` and `ends` are unix seconds, None where the sender left them out."""

    labels: Labels
    annotations: Mapping[str, str] = field(default_factory=dict)
    starts: float | None = None
    ends: float | None = None
    generator: str = ""

    @property
    def rule(self) -> str:
        """The name under which its state is kept."""
        return PREFIX + (label_value(self.labels, "alertname") or "unnamed")


def is_received(rule: str) -> bool:
    """Whether alerts of that name came from elsewhere."""
    return rule.startswith(PREFIX)


def find_service(rule: str, labels: Labels) -> str:
    """What a received alert is about: label `service`, `job`, its name."""
    return label_value(labels, "service") or label_value(labels, "job") or rule.removeprefix(PREFIX)


def receive(alert: ReceivedAlert, known: AlertState | None, now: float) -> tuple[AlertState | None, Transition | None]:
    """The state after this word, None where it fires no more, and what happened, None where nothing did."""
    if alert.ends is not None and alert.ends <= now:
        if known is None or (alert.starts is not None and known.breached is not None and alert.starts < known.breached):
            return known, None  # over before it was heard of, or word of an earlier firing that came late
        return None, tell(Change.ENDED, alert.rule, replace(known, ended=now), now, "recovered")
    receipt = Receipt(now + HOLD_SECONDS if alert.ends is None else alert.ends, alert.annotations, alert.generator)
    if known is not None:
        state = replace(known, evaluated=now, receipt=receipt, unknown="")
        return state, tell(Change.KNOWN, alert.rule, state, now, known.unknown) if known.unknown else None
    state = AlertState(
        alert.labels,
        Phase.FIRING,
        evaluated=now,
        breached=now if alert.starts is None else min(alert.starts, now),
        fired=now,
        severity=read_severity(label_value(alert.labels, "severity") or ""),
        receipt=receipt,
    )
    return state, tell(Change.FIRED, alert.rule, state, now)


def doubt(rule: str, state: AlertState, now: float, since: float) -> tuple[AlertState, Transition] | None:
    """What follows where the sender's word no longer holds; `since`: when we began to listen. None: it holds, or that is known."""
    if state.unknown or state.receipt is None or now < max(state.receipt.ends, since + HOLD_SECONDS):
        return None
    unknown = replace(state, unknown=SILENT)
    return unknown, tell(Change.UNKNOWN, rule, unknown, now, SILENT)


def tell(change: Change, rule: str, state: AlertState, now: float, reason: str = "") -> Transition:
    """The transition with the summary and links of the alert's annotations."""
    annotations = state.receipt.annotations if state.receipt is not None else {}
    service = find_service(rule, state.labels)
    summary = next((annotations[name] for name in _SUMMARIES if annotations.get(name)), "")
    return Transition(
        change=change,
        rule=rule,
        labels=state.labels,
        at=now,
        service=service,
        state=state,
        summary=summary[:_LONGEST_SUMMARY] or f"{service}: {rule.removeprefix(PREFIX)}",
        reason=reason,
        links={_LINKS[name]: value for name, value in annotations.items() if name in _LINKS},
        join=project_labels(state.labels, JOIN_BY) if state.labels else NO_LABELS,
    )
