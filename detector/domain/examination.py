"""What a diagnosis changes in an incident: its checks and suspects, lines of the timeline, one notice in the thread. Pure.

Before it: `app/examiner` diagnosed the service. After it: the decision is committed like every other.
"""

from __future__ import annotations

from dataclasses import replace

from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue
from detector.domain.check import Diagnosis, Verdict
from detector.domain.incident import Book, Decision, NoticeKind
from detector.domain.ledger import Ledger, Paging

KEPT_SUSPECTS = 10
MESSAGE_CHARACTERS = 1500
_MARKS = {Verdict.OK: "✅", Verdict.BAD: "🔴", Verdict.UNKNOWN: "❔"}


def record_diagnosis(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, episode: int, diagnosis: Diagnosis, now: float
) -> Decision:
    """Put a diagnosis of that episode into the ticket, and tell those who follow it; a later episode has its own."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or incident.episode != episode or incident.diagnosed == episode:
        return Decision()
    suspects = diagnosis.suspects[:KEPT_SUSPECTS]
    incident = ledger.put(replace(incident, checks=diagnosis.results, suspects=suspects, diagnosed=episode))
    for result in diagnosis.results:
        ledger.say(incident, "check", f"{_MARKS[result.verdict]} {result.check.value}: {result.message}"[:MESSAGE_CHARACTERS])
    if suspects:
        ledger.say(incident, "suspect", f"likely cause: {suspects[0].service}: {suspects[0].why}")
    if incident.status.active:
        tell(ledger, incident, NoticeKind.UPDATE, summarise(diagnosis)[:MESSAGE_CHARACTERS])
    return ledger.decide()


def summarise(diagnosis: Diagnosis) -> str:
    """One line: the likely cause, and what was found bad."""
    bad = [f"{result.check.value}: {result.message}" for result in diagnosis.results if result.verdict is Verdict.BAD]
    parts = [f"likely cause {suspect.service} ({suspect.why})" for suspect in diagnosis.suspects[:1]]
    parts += bad
    if not parts:
        good = sum(result.verdict is Verdict.OK for result in diagnosis.results)
        return f"diagnosis: nothing found; {good} checks fine, {len(diagnosis.results) - good} could not tell"
    return "diagnosis: " + " · ".join(parts)
