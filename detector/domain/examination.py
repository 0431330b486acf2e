"""What a diagnosis changes in an incident: its checks and suspects, lines of the timeline, notices in thread and page. Pure.

Before it: `app/examiner` diagnoses the service, and brings what is found as it comes. After it: the decision is committed like
every other. A page hears of it only soon after it opened, and only what a check of a cause found bad: one more trigger of an open
key adds a line to the alert's log and pages nobody, but would open a new alert once somebody has resolved it over there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue
from detector.domain.check import SYMPTOMS, Check, Diagnosis, Result, Verdict, describe_result
from detector.domain.incident import Book, Decision, Incident, NoticeKind, Status
from detector.domain.ledger import Ledger, Paging

KIND = "check"
KEPT_SUSPECTS = 10
MESSAGE_CHARACTERS = 1500
PAGE_SECONDS = 60.0  # after this long a page hears no more: somebody may have resolved it where we do not see it at once
CALM_INCIDENTS = 5  # with more under way, the events that a routing key may take belong to the pages
_ORDER = tuple(Check)


def record_results(
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    episode: int,
    results: Sequence[Result],
    told: Iterable[Check],
    now: float,
) -> Decision:
    """Put what came so far into the ticket, while the rest is still asked. `told`: the checks that were said before."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or incident.episode != episode or incident.diagnosed == episode:
        return Decision()
    known = frozenset(told)
    ordered = tuple(sorted(results, key=lambda result: _ORDER.index(result.check)))
    news = [result for result in ordered if result.check not in known]
    if not news:
        return Decision()
    incident = ledger.put(replace(incident, checks=ordered))
    _say(ledger, incident, news)
    bad = [result for result in news if result.verdict is Verdict.BAD]
    if incident.status.active and bad:
        incident = tell(ledger, incident, NoticeKind.UPDATE, summarise(Diagnosis(incident.service, now, tuple(bad)), still=True))
        _tell_pages(ledger, incident, bad)
    return ledger.decide()


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
    told: Iterable[Check] = (),
) -> Decision:
    """Put a diagnosis of that episode into the ticket, and tell those who follow it; a later episode has its own.

    `again`: a second look at the same episode. What it says like the first is not said again. `told`: the checks of this diagnosis
    that `record_results` has said.
    """
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or incident.episode != episode or (incident.diagnosed == episode) is not again:
        return Decision()
    said = frozenset(told)
    known = {result.check: result.verdict for result in incident.checks if again or result.check in said}
    first_named = incident.suspects[0].service if again and incident.suspects else None
    news = [result for result in diagnosis.results if known.get(result.check) is not result.verdict]
    suspects = diagnosis.suspects[:KEPT_SUSPECTS] or (incident.suspects if again else ())
    named = suspects[0] if suspects and suspects[0].service != first_named else None
    if again and not news and named is None:
        return Decision()
    incident = ledger.put(replace(incident, checks=diagnosis.results, suspects=suspects, diagnosed=episode))
    _say(ledger, incident, news)
    if named is not None:
        ledger.say(incident, "suspect", f"likely cause: {named.service}: {named.why}")
    bad = [result for result in news if result.verdict is Verdict.BAD]
    heard = again or Verdict.BAD in known.values()  # they know that it is looked at
    if incident.status.active and (bad or named is not None or not heard):
        text = summarise(diagnosis if not said else replace(diagnosis, results=tuple(bad) if heard else diagnosis.results))
        incident = tell(ledger, incident, NoticeKind.UPDATE, text[:MESSAGE_CHARACTERS])
    if not again:
        _tell_pages(ledger, incident, bad)
    return ledger.decide()


def summarise(diagnosis: Diagnosis, *, still: bool = False) -> str:
    """One line: the likely cause, and what was found bad. `still`: more is being asked."""
    bad = [f"{result.check.value}: {result.message}" for result in diagnosis.results if result.verdict is Verdict.BAD]
    parts = [f"likely cause {suspect.service} ({suspect.why})" for suspect in diagnosis.suspects[:1]]
    parts += bad
    if not parts:
        good = sum(result.verdict is Verdict.OK for result in diagnosis.results)
        return f"diagnosis: nothing found; {good} checks fine, {len(diagnosis.results) - good} could not tell"
    head = "diagnosis so far: " if still else "diagnosis: "
    return (head + " · ".join(parts))[:MESSAGE_CHARACTERS]


def _say(ledger: Ledger, incident: Incident, results: Iterable[Result]) -> None:
    for result in results:
        ledger.say(incident, KIND, describe_result(result)[:MESSAGE_CHARACTERS])


def _tell_pages(ledger: Ledger, incident: Incident, bad: Iterable[Result]) -> None:
    """One more trigger of every key that is open and that nobody has taken yet."""
    begun = max(incident.detected, *incident.relapses, 0.0)
    quiet = not ledger.paging.tells_pages or incident.muted or incident.folded or incident.status is not Status.OPEN
    busy = sum(one.status.active for one in ledger.book.incidents.values()) > CALM_INCIDENTS
    if quiet or busy or ledger.now - begun > PAGE_SECONDS or all(result.check in SYMPTOMS for result in bad):
        return
    for page in incident.pages:
        if not page.closed and not page.acknowledged:
            incident = ledger.page(incident, NoticeKind.UPDATE, page)
