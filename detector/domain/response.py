"""What a human does to an incident: acknowledge, resolve, note, root cause. Pure; committed like every other decision."""

from __future__ import annotations

from dataclasses import replace

from detector.domain.alert import EndReason
from detector.domain.catalogue import Catalogue
from detector.domain.incident import Book, Decision, Incident, Status
from detector.domain.ledger import Ledger, Paging
from detector.domain.page import acknowledge_pages, close_pages

MAXIMUM_TEXT = 4000
REPAGE_AFTER_HUMAN_RESOLVE_SECONDS = 900.0


class ResponseError(ValueError):
    """The action does not fit the incident; the message says why and what would."""


def acknowledge(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, now: float) -> Decision:
    """Somebody has it. Once more acknowledges the keys that were opened since; a resolved incident cannot be acknowledged."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    if incident.status is Status.ACKNOWLEDGED and all(page.closed or page.acknowledged for page in incident.pages):
        return Decision()
    if not incident.status.active:
        msg = f"incident {incident.id} is {incident.status.value}; only an open incident can be acknowledged"
        raise ResponseError(msg)
    if incident.status is Status.OPEN:
        incident = ledger.put(replace(incident, status=Status.ACKNOWLEDGED, acknowledged=now, acknowledged_by=by))
    ledger.say(incident, "acknowledged", "acknowledged", actor=by)
    acknowledge_pages(ledger, incident)
    return ledger.decide()


def resolve(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, now: float) -> Decision:
    """End it by hand. While metrics are still bad that is flagged, and pages once more after 15 min if it still fires."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    if not incident.status.active:
        msg = f"incident {incident.id} is already {incident.status.value}"
        raise ResponseError(msg)
    firing = any(alert.firing for alert in incident.alerts.values())
    wait_seconds = REPAGE_AFTER_HUMAN_RESOLVE_SECONDS if firing else incident.watch_seconds
    incident = replace(incident, status=Status.RESOLVED, resolved=now, end_reason=EndReason.HUMAN.value, due=now + wait_seconds)
    ledger.say(incident, "resolved", "resolved by hand" + (" while metrics are still bad" if firing else ""), actor=by)
    close_pages(ledger, incident)
    return ledger.decide()


def add_note(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, text: str, now: float) -> Decision:
    """Add words to the timeline; at most 4,000 characters are kept."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    ledger.say(incident, "note", text[:MAXIMUM_TEXT], actor=by)
    return ledger.decide()


def set_cause(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, text: str, now: float) -> Decision:
    """Write down the root cause; a later one replaces it, the timeline keeps both."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    ledger.put(replace(incident, root_cause=text[:MAXIMUM_TEXT]))
    ledger.say(incident, "cause", f"root cause: {text[:MAXIMUM_TEXT]}", actor=by)
    return ledger.decide()


def _find(ledger: Ledger, incident_id: str) -> Incident:
    incident = ledger.find(incident_id)
    if incident is None:
        msg = f"no incident {incident_id} that is not closed; `detector incidents list` shows them"
        raise ResponseError(msg)
    return incident
