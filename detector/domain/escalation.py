"""Whom to call next while nobody has acknowledged an incident that PagerDuty does not own.

Where PagerDuty was paged, its escalation policy does this. Elsewhere, and where PagerDuty does not take the page, our own channels
do: every `escalate_after` one responder more is called, the engineer first, then the manager, then the owner; after that the
reminders go on. Called by `watch` when an incident is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue
from detector.domain.incident import Book, Decision, Incident, NoticeKind, Status
from detector.domain.ledger import Ledger, Paging
from detector.domain.quantity import format_wait
from detector.domain.severity import Severity

RANKS = (
    ("on_call_engineer", "the engineer on call"),
    ("on_call_manager", "the manager on call"),
    ("service_owner", "the service owner"),
)


def find_escalation_due(ledger: Ledger, incident: Incident) -> float | None:
    """When the next responder is to be called; None where PagerDuty, a human or nobody has to."""
    every = ledger.paging.escalate_after_seconds
    if not every or incident.severity < Severity.HIGH or incident.status is not Status.OPEN or incident.own or not incident.told:
        return None
    if incident.summoned_at is None or incident.escalations >= len(RANKS):
        return None
    if any(not (page.closed or page.refused) for page in incident.pages):
        return None
    if incident.hushed:
        return None
    return incident.summoned_at + every * (incident.escalations + 1)


def escalate(ledger: Ledger, incident: Incident) -> Incident:
    """Call the next responder where that is due."""
    due = find_escalation_due(ledger, incident)
    if due is None or due > ledger.now:
        return incident
    role, words = RANKS[incident.escalations]
    person = _find_responder(ledger, incident, role)
    incident = ledger.put(replace(incident, escalations=incident.escalations + 1))
    waited = format_wait(ledger.now - (incident.summoned_at or ledger.now))
    text = f"nobody acknowledged for {waited}: {words}{f', {person},' if person else ''} is called"
    ledger.say(incident, "escalated", text)
    return tell(ledger, incident, NoticeKind.ESCALATE, text)


def note_refused(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, key: str, why: str, roads: Sequence[str], now: float
) -> Decision:
    """PagerDuty does not take the trigger of this key: said once, and from then on our own channels call. `roads`: told instead."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    page = None if incident is None else next((each for each in incident.pages if each.key == key), None)
    if incident is None or page is None or page.closed or page.refused:
        return Decision()
    pages = tuple(replace(each, refused=True) if each is page else each for each in incident.pages)
    incident = ledger.put(replace(incident, pages=pages))
    text = f"PagerDuty has not taken the page ({why}); told instead: {', '.join(roads) or 'nobody, set DETECTOR_FALLBACK'}"
    ledger.say(incident, "not paged", text)
    incident = tell(ledger, incident, NoticeKind.UPDATE, text)
    due = [moment for moment in (incident.due, find_escalation_due(ledger, incident)) if moment is not None]
    ledger.put(replace(incident, due=min(due, default=None)))
    return ledger.decide()


def _find_responder(ledger: Ledger, incident: Incident, role: str) -> str:
    if known := incident.responders.get(role):
        return known
    return ledger.catalogue.find(incident.service).called[role]
