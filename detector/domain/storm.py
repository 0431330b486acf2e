"""Storms: from the 21st new incident within a minute, those below CRITICAL fold into one incident for each routing key.

A muted incident is neither counted nor folded: planned work on many services pages nobody. A folded incident keeps its record and
pages only above the severity it was folded at; CRITICAL always sends its own trigger. The storm's incident ends when every incident
folded into it has. Its services are those of all that were ever folded into it.
"""

from __future__ import annotations

from dataclasses import replace

from detector.domain.alert import EndReason
from detector.domain.incident import Incident, JoinedAlert, Status, name_incident
from detector.domain.label import Labels
from detector.domain.ledger import Ledger
from detector.domain.quantity import format_count
from detector.domain.severity import Severity

STORM_RULE = "storm"
SLIDING_SECONDS = 60.0
NAMED_SERVICES = 20


def fold(ledger: Ledger, incident: Incident) -> Incident:
    """Fold a new incident into its storm where there is one; call once, before it is settled."""
    if incident.severity >= Severity.CRITICAL or incident.own or incident.muted or not _is_storm(ledger):
        return incident
    route = ledger.catalogue.find(incident.service).pagerduty
    storm = _find_storm(ledger, route) or _open_storm(ledger, incident, route)
    folded = ledger.put(replace(incident, folded=storm.id, quiet=incident.severity))
    ledger.say(folded, "folded", f"one of many new incidents within a minute: folded into {storm.id}; pages on a rise")
    return folded


def leave_storm(ledger: Ledger, incident: Incident) -> Incident:
    """An incident that comes back when its storm is over speaks for itself again: nobody else would page for it."""
    storm = ledger.find(incident.folded) if incident.folded else None
    if not incident.folded or (storm is not None and storm.status.active):
        return incident
    return replace(incident, folded="", quiet=None)


def settle_storms(ledger: Ledger) -> None:
    """Bring every active storm up to date: how many, which services, how severe, and whether it is over."""
    storms = [incident for incident in ledger.incidents() if incident.rules == (STORM_RULE,) and incident.status.active]
    if not storms:
        return
    members: dict[str, list[Incident]] = {storm.id: [] for storm in storms}
    for incident in ledger.incidents():
        if incident.folded in members:
            members[incident.folded].append(incident)
    for storm in storms:
        _settle_storm(ledger, storm, members[storm.id])


def _settle_storm(ledger: Ledger, storm: Incident, members: list[Incident]) -> None:
    (alert,) = storm.alerts.values()
    active = [incident for incident in members if incident.status.active]
    if not active:
        ended = replace(alert, ended=ledger.now, ended_reason=EndReason.RECOVERED.value)
        ledger.touch(storm)
        ledger.hold(storm, ended)
        return
    services = tuple(sorted({*storm.services, *(service for incident in members for service in incident.services)}))
    severity = max(min(incident.severity, Severity.HIGH) for incident in active)
    summary = _summarise(len(members), services)
    if (summary, services, severity) == (storm.summary, storm.services, alert.severity):
        return
    ledger.touch(storm)
    grown = storm.unsaid_since
    if grown is None and storm.told and services != storm.services:
        grown = ledger.now
    ledger.hold(
        replace(storm, summary=summary, services=services, unsaid_since=grown),
        replace(alert, severity=max(severity, alert.severity)),
    )


def _is_storm(ledger: Ledger) -> bool:
    return ledger.count_new(ledger.now - SLIDING_SECONDS) > ledger.paging.storm_threshold


def _find_storm(ledger: Ledger, route: str) -> Incident | None:
    storms = (incident for incident in ledger.find_by_service(STORM_RULE) if incident.status.active)
    return next((storm for storm in storms if storm.labels == _name_route(route)), None)


def _open_storm(ledger: Ledger, first: Incident, route: str) -> Incident:
    labels = _name_route(route)
    alert = JoinedAlert(
        STORM_RULE, labels, STORM_RULE, min(first.severity, Severity.HIGH), ledger.now, ledger.now, summary="many new incidents"
    )
    storm = Incident(
        id=name_incident(STORM_RULE, labels, ledger.now),
        episode=1,
        status=Status.OPEN,
        severity=alert.severity,
        peak_severity=alert.severity,
        service=STORM_RULE,
        services=first.services,
        rules=(STORM_RULE,),
        labels=labels,
        opened=ledger.now,
        detected=ledger.now,
        summary=_summarise(1, (first.service,)),
        watch_seconds=0.0,
        route=route,
    )
    ledger.touch(storm, anew=True)
    ledger.say(storm, "opened", f"more than {ledger.paging.storm_threshold} new incidents within a minute")
    return ledger.hold(storm, alert)


def _summarise(count: int, services: tuple[str, ...]) -> str:
    named = ", ".join(services[:NAMED_SERVICES])
    more = f" and {len(services) - NAMED_SERVICES} more" if len(services) > NAMED_SERVICES else ""
    return f"{format_count(count, 'new incident')} within minutes: {named}{more}"


def _name_route(route: str) -> Labels:
    return (("route", route),)
