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
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    episode: int,
    diagnosis: Diagnosis,
    now: float,
    *,
    again: bool = False,
) -> Decision:
    """Put a diagnosis of that episode into the ticket, and tell those who follow it; a later episode has its own.

    `again`: a second look at the same episode. What it says like the first is not said again.
    """
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or incident.episode != episode or (incident.diagnosed == episode) is not again:
        return Decision()
    known = {result.check: result.verdict for result in incident.checks} if again else {}
    first_named = incident.suspects[0].service if again and incident.suspects else None
    news = [result for result in diagnosis.results if known.get(result.check) is not result.verdict]
    suspects = diagnosis.suspects[:KEPT_SUSPECTS] or (incident.suspects if again else ())
    named = suspects[0] if suspects and suspects[0].service != first_named else None
    if again and not news and named is None:
        return Decision()
    incident = ledger.put(replace(incident, checks=diagnosis.results, suspects=suspects, diagnosed=episode))
    for result in news:
        ledger.say(incident, "check", f"{_MARKS[result.verdict]} {result.check.value}: {result.message}"[:MESSAGE_CHARACTERS])
    if named is not None:
        ledger.say(incident, "suspect", f"likely cause: {named.service}: {named.why}")
    worth = not again or named is not None or any(result.verdict is Verdict.BAD for result in news)
    if incident.status.active and worth:
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
