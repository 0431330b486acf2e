"""What is said of an incident: the numbers the API, the page and the post-mortem show, all from the same place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detector.domain.alert import SignalTrack
from detector.domain.catalogue import Catalogue
from detector.domain.check import describe_result
from detector.domain.incident import Incident, JoinedAlert, Status
from detector.domain.label import make_labels
from detector.domain.offer import order_offers
from detector.domain.quantity import format_signal

FACT_ALERTS = 50
FACT_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """The lead alert's numbers: `value` is the plain value of the first signal in `open` whose comparison held."""

    signal: str | None = None
    value: float | None = None
    peak_value: float | None = None
    value_at_recovery: float | None = None
    threshold: float | None = None
    condition: str = ""


def lead_alert(incident: Incident) -> JoinedAlert | None:
    """The alert that speaks for the incident: a firing one before an ended one, the most severe, then the first to breach."""
    if not incident.alerts:
        return None
    return min(incident.alerts.values(), key=lambda alert: (not alert.firing, -alert.severity.rank, alert.breached, alert.key))


def read_incident(incident: Incident) -> Reading:
    """The numbers of the lead alert."""
    alert = lead_alert(incident)
    if alert is None:
        return Reading()
    track = alert.signals.get(alert.signal or "", SignalTrack())
    return Reading(alert.signal, track.value, track.peak, track.at_recovery, alert.threshold, alert.condition)


def list_open_facts(incidents: Iterable[Incident], catalogue: Catalogue, external_url: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Id and facts of every incident that is not closed."""
    found = (incident for incident in incidents if incident.status is not Status.CLOSED)
    return [(incident.id, list_facts(incident, catalogue, external_url)) for incident in found]


def list_facts(incident: Incident, catalogue: Catalogue, external_url: str, next_update: float | None = None) -> Mapping[str, Any]:
    """JSON-ready facts of an incident for the channels. Times are unix seconds; numbers are plain values or None."""
    reading = read_incident(incident)
    service = catalogue.find(incident.service)
    links = {**incident.links, **({"dashboard": service.dashboard} if service.dashboard else {})}
    if service.runbook:
        links["runbook"] = service.runbook
    return {
        "title": incident.summary,
        "status": incident.status.value,
        "severity": incident.severity.value,
        "peak_severity": incident.peak_severity.value,
        "service": incident.service,
        "services": list(incident.services),
        "facing": catalogue.list_facing(incident.services),
        "subject": _name_subject(incident),
        "owner": service.owner,
        "rules": list(incident.rules),
        "signal": reading.signal,
        "value": reading.value,
        "threshold": reading.threshold,
        "peak_value": reading.peak_value,
        "value_at_recovery": reading.value_at_recovery,
        "condition": reading.condition,
        "opened": incident.opened,
        "detected": incident.detected,
        "acknowledged": incident.acknowledged,
        "resolved": incident.resolved,
        "closed": incident.closed,
        "acknowledged_by": incident.acknowledged_by,
        "end_reason": incident.end_reason,
        "root_cause": incident.root_cause,
        "state": incident.state,
        "eta": incident.eta or service.eta,
        "next_update": next_update,
        "watch_until": None if incident.resolved is None else incident.resolved + incident.watch_seconds,
        "responders": dict(incident.responders) or service.called,
        "escalations": incident.escalations,
        "responsible_slack": service.slack,
        "see_also": list(incident.see_also),
        "verifications": [asdict(item) for item in incident.verifications],
        "episode": incident.episode,
        "labels": {**incident.rule_labels, **dict(incident.labels)},
        "links": links,
        "runbook": links.get("runbook", ""),
        "dashboard": links.get("dashboard", ""),
        "incident_url": f"{external_url.rstrip('/')}/incidents/{incident.id}" if external_url else "",
        "mitigations": [{"name": way.name, "summary": way.summary} for way in order_offers(service.mitigations, incident.checks)],
        "diagnosis": [describe_result(result)[:FACT_CHARACTERS] for result in incident.checks],
        "notes": _list_notes(incident),
        "alerts": [_describe_alert(alert) for alert in list(incident.alerts.values())[:FACT_ALERTS]],
    }


def _name_subject(incident: Incident) -> str:
    """What is down or degraded: a storm is not, the services in it are."""
    if not incident.route:
        return f"service {incident.service}"
    return f"{len(incident.services)} services" if len(incident.services) > 1 else f"service {', '.join(incident.services)}"


def _list_notes(incident: Incident) -> list[str]:
    return [
        f"{alert.rule}: severity {', '.join(alert.blocked)} could not be judged; it is not lowered below that"
        for alert in incident.alerts.values()
        if alert.firing and alert.blocked
    ]


def _describe_alert(alert: JoinedAlert) -> Mapping[str, Any]:
    track = alert.signals.get(alert.signal or "", SignalTrack())
    return {
        "rule": alert.rule,
        "service": alert.service,
        "labels": dict(make_labels(dict(alert.labels))),
        "severity": alert.severity.value,
        "firing": alert.firing,
        "signal": alert.signal,
        "value": track.value,
        "threshold": alert.threshold,
        "peak_value": track.peak,
        "value_at_recovery": track.at_recovery,
        "summary": alert.summary,
    }


def describe_breach(alert: JoinedAlert) -> str:
    """The value that breached beside its threshold, in brackets; nothing where it cannot be said."""
    track = alert.signals.get(alert.signal or "")
    if track is None or track.value is None:
        return ""
    signal, value, threshold = alert.signal or "", track.value, alert.threshold
    bound = "" if threshold is None else f", threshold {format_signal(signal, threshold, value)}"
    return f" ({signal} {format_signal(signal, value, threshold)}{bound})"


def describe_recovery(alert: JoinedAlert) -> str:
    """The value at recovery beside the peak, in brackets; nothing where it cannot be said."""
    track = alert.signals.get(alert.signal or "")
    if track is None or track.at_recovery is None:
        return ""
    signal, value, beside = alert.signal or "", track.at_recovery, (track.peak, alert.threshold)
    peak = "" if track.peak is None else f", peak {format_signal(signal, track.peak, value, alert.threshold)}"
    return f" ({signal} {format_signal(signal, value, *beside)} at recovery{peak})"
