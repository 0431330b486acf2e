"""An incident and an alert as the API, the command line and other programs see them: plain JSON values.

Value, threshold and peaks of an incident are those of its lead alert, as pages show them (`ticket`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from detector.domain.alert import AlertState, Phase, SignalTrack
from detector.domain.check import Diagnosis, Result
from detector.domain.incident import Event, Incident, JoinedAlert, Verification
from detector.domain.label import Labels
from detector.domain.suspect import Suspect
from detector.domain.ticket import lead_alert, read_incident

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
LiveState: TypeAlias = Callable[[str, Labels], AlertState | None]


def merge_live(incident: Incident, live: LiveState) -> Incident:
    """Replace the values of alerts that still fire by those of their last evaluation; commits happen only at changes."""
    if not any(alert.firing for alert in incident.alerts.values()):
        return incident
    return replace(incident, alerts={key: _refresh(alert, live) for key, alert in incident.alerts.items()})


def view_incident(incident: Incident) -> dict[str, Json]:
    """JSON of an incident. Times are unix seconds or null, numbers are finite or null."""
    reading = read_incident(incident)
    return {
        "id": incident.id,
        "status": incident.status.value,
        "severity": incident.severity.value,
        "peak_severity": incident.peak_severity.value,
        "service": incident.service,
        "services": list(incident.services),
        "rules": list(incident.rules),
        "labels": {**incident.rule_labels, **dict(incident.labels)},
        "opened": incident.opened,
        "detected": incident.detected,
        "acknowledged": incident.acknowledged,
        "resolved": incident.resolved,
        "closed": incident.closed,
        "value": _finite(reading.value),
        "peak_value": _finite(reading.peak_value),
        "value_at_recovery": _finite(reading.value_at_recovery),
        "threshold": _finite(reading.threshold),
        "signal": reading.signal,
        "signals": _view_signals(_join_signals(incident)),
        "summary": incident.summary,
        "episode": incident.episode,
        "acknowledged_by": incident.acknowledged_by,
        "end_reason": incident.end_reason,
        "root_cause": incident.root_cause,
        "links": dict(incident.links),
        "muted": incident.muted,
        "folded": incident.folded,
        "stale": incident.stale,
        "state": incident.state,
        "eta": incident.eta,
        "see_also": list(incident.see_also),
        "responders": dict(incident.responders),
        "verifications": [_view_verification(item) for item in incident.verifications],
        "checks": [view_result(result) for result in incident.checks],
        "suspects": [view_suspect(suspect) for suspect in incident.suspects],
    }


def view_event(event: Event) -> dict[str, Json]:
    """JSON of one line of a timeline."""
    return {"at": event.at, "actor": event.actor, "kind": event.kind, "message": event.message}


def view_alert(rule: str, service: str, state: AlertState) -> dict[str, Json]:
    """JSON of an alert that is pending or firing."""
    track = state.signals.get(state.signal, SignalTrack()) if state.signal is not None else SignalTrack()
    return {
        "rule": rule,
        "service": service,
        "labels": dict(state.labels),
        "state": state.phase.value,
        "severity": state.severity.value if state.severity is not None else None,
        "since": state.breached,
        "fired": state.fired,
        "evaluated": state.evaluated,
        "value": _finite(track.value),
        "peak_value": _finite(track.peak),
        "threshold": _finite(state.threshold),
        "signal": state.signal,
        "signals": _view_signals(state.signals),
        "unknown": state.unknown,
    }


def view_result(result: Result) -> dict[str, Json]:
    """JSON of what one check said."""
    return {
        "name": result.check.value,
        "verdict": result.verdict.value,
        "message": result.message,
        "link": result.link or None,
    }


def view_suspect(suspect: Suspect) -> dict[str, Json]:
    """JSON of a service that may be the cause."""
    return {"service": suspect.service, "score": round(suspect.score, 3), "why": suspect.why}


def view_diagnosis(found: Diagnosis) -> dict[str, Json]:
    """JSON of everything that was found, best suspect first."""
    return {
        "service": found.service,
        "at": found.at,
        "checks": [view_result(result) for result in found.results],
        "suspects": [view_suspect(suspect) for suspect in found.suspects],
    }


def _view_verification(item: Verification) -> dict[str, Json]:
    return {"name": item.name, "human": item.human, "ok": item.ok, "at": item.at, "by": item.by, "message": item.message}


def _refresh(alert: JoinedAlert, live: LiveState) -> JoinedAlert:
    if not alert.firing or alert.absent:
        return alert
    state = live(alert.rule, alert.labels)
    if state is None or state.phase is not Phase.FIRING or state.fired != alert.fired:
        return alert
    return replace(
        alert, signals=state.signals, signal=state.signal or alert.signal, threshold=_known(state.threshold, alert.threshold)
    )


def _known(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


def _join_signals(incident: Incident) -> dict[str, SignalTrack]:
    lead = lead_alert(incident)
    joined = dict(lead.signals) if lead is not None else {}
    for alert in sorted(incident.alerts.values(), key=lambda alert: (alert.fired, alert.key)):
        for name, track in alert.signals.items():
            joined.setdefault(name, track)
    return joined


def _view_signals(signals: Mapping[str, SignalTrack]) -> dict[str, Json]:
    return {
        name: {"value": _finite(track.value), "peak": _finite(track.peak), "at_recovery": _finite(track.at_recovery)}
        for name, track in signals.items()
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
