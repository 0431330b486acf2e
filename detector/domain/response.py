"""What a human does to an incident: acknowledge, resolve, note, root cause. Pure; committed like every other decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from detector.domain.alert import EndReason
from detector.domain.audience import open_channels, tell
from detector.domain.catalogue import Catalogue
from detector.domain.incident import Book, Decision, Incident, NoticeKind, Status, Verification
from detector.domain.ledger import DETECTOR, Ledger, Paging
from detector.domain.page import acknowledge_pages, close_pages, list_open, note_acknowledged
from detector.domain.recovery import finish, needs_probes
from detector.domain.ticket import list_facts

MAXIMUM_TEXT = 4000
MAXIMUM_WORD = 100
SUMMONED = ("service_owner", "on_call_manager")
STATES = ("investigating", "identified", "monitoring", "resolved")
CAUSE, CAUSE_WORDS = "cause", "root cause: "
REPAGE_AFTER_HUMAN_RESOLVE_SECONDS = 900.0


class ResponseError(ValueError):
    """The action does not fit the incident; the message says why and what would."""


def acknowledge(
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    by: str,
    now: float,
    *,
    text: str = "",
    from_pagerduty: Collection[str] = (),
) -> Decision:
    """Somebody has it. Once more acknowledges the keys that were opened since; a resolved incident cannot be acknowledged.

    `from_pagerduty`: keys that PagerDuty shows as acknowledged. It is not told again, other keys are left to those they called, and
    word that changes nothing (twice, late, our own come back) decides nothing. `text`: what the person said with it.
    """
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    waiting = list_open(incident, from_pagerduty) if from_pagerduty else incident.pages
    if from_pagerduty and not (waiting and incident.status.active):
        return Decision()
    if incident.status is Status.ACKNOWLEDGED and all(page.closed or page.acknowledged for page in waiting):
        return Decision()
    if not incident.status.active:
        msg = f"incident {incident.id} is {incident.status.value}; only an open incident can be acknowledged"
        raise ResponseError(msg)
    is_news = incident.status is Status.OPEN
    if is_news:
        incident = ledger.put(replace(incident, status=Status.ACKNOWLEDGED, acknowledged=now, acknowledged_by=by))
    ledger.say(incident, "acknowledged", _add_words("acknowledged", text), actor=by)
    incident = note_acknowledged(ledger, incident, from_pagerduty) if from_pagerduty else acknowledge_pages(ledger, incident)
    if is_news:  # a person who acknowledges the second key of an incident is no news to anybody else
        incident = tell(ledger, incident, NoticeKind.ACKNOWLEDGE, _add_words(f"acknowledged by {by}", text), actor=by)
    if not incident.muted:
        open_channels(ledger, incident)  # stakeholders hear once somebody has it
    return ledger.decide()


def resolve(
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    by: str,
    now: float,
    *,
    text: str = "",
    from_pagerduty: Collection[str] = (),
) -> Decision:
    """End it by hand. While metrics are still bad that is flagged, and pages once more after 15 min if it still fires.

    `from_pagerduty`: keys that PagerDuty shows as resolved; word that changes nothing decides nothing. Their resolve is sent
    all the same: it ends what a trigger under way at that moment may have opened anew, and is dropped there otherwise.
    """
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    if from_pagerduty and not (list_open(incident, from_pagerduty) and incident.status.active):
        return Decision()
    if not incident.status.active:
        msg = f"incident {incident.id} is already {incident.status.value}"
        raise ResponseError(msg)
    firing = any(alert.firing for alert in incident.alerts.values())
    failing = incident.verifying is not None and any(item.ok is False for item in incident.verifications)
    wait_seconds = REPAGE_AFTER_HUMAN_RESOLVE_SECONDS if firing else incident.watch_seconds
    incident = replace(
        incident,
        status=Status.RESOLVED,
        resolved=now,
        end_reason=EndReason.HUMAN.value,
        due=now + wait_seconds,
        state="resolved",
        verifying=None,
        muted="",
        stale=False,
    )
    bad = "metrics are still bad" if firing else "probes still fail" if failing else ""
    said = _add_words(f"resolved by hand while {bad}" if bad else "resolved by hand", text)
    ledger.say(incident, "resolved", said, actor=by)
    tell(ledger, close_pages(ledger, incident), NoticeKind.RESOLVE, said, actor=by)
    return ledger.decide()


def repeat_resolve(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, key: str, now: float, why: str = ""
) -> Decision:
    """Send the resolve of a closed key once more; `why`: else because PagerDuty still shows it as open."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    page = None if incident is None else next((page for page in incident.pages if page.key == key and page.closed), None)
    if incident is None or page is None:
        return Decision()
    ledger.say(incident, "resolve repeated", f"{why or f'PagerDuty still shows {key} as open'}; its resolve is sent again")
    ledger.page(incident, NoticeKind.RESOLVE, page)
    return ledger.decide()


def update(
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    by: str,
    now: float,
    *,
    message: str = "",
    eta: str = "",
    state: str = "",
) -> Decision:
    """Tell everybody who was told: words, when it should be over, where the work stands. At least one of the three."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    if not (message or eta or state):
        raise ResponseError("an update needs a message, an ETA or a state")
    if state and state not in STATES:
        raise ResponseError(f"{state!r} is no state; use one of {', '.join(STATES)}")
    if incident.status is Status.CLOSED:
        raise ResponseError(f"incident {incident.id} is closed; add a note instead")
    incident = ledger.put(replace(incident, eta=eta[:MAXIMUM_WORD] or incident.eta, state=state or incident.state, updated=now))
    parts = [message[:MAXIMUM_TEXT], f"ETA {eta[:MAXIMUM_WORD]}" if eta else "", state]
    ledger.say(incident, "update", "; ".join(filter(None, parts)), actor=by)
    tell(ledger, incident, NoticeKind.UPDATE, message[:MAXIMUM_TEXT], actor=by)
    return ledger.decide()


def tick(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, item: str, now: float) -> Decision:
    """A human has seen what only a human can see, e.g. that the support channel is quiet.

    `item` is its name, or the name without the service where only one service has such an item.
    """
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    names = [known.name for known in incident.verifications if known.human]
    meant = [name for name in names if item == name] or [name for name in names if item == name.partition(": ")[2]]
    if len(meant) != 1:
        raise ResponseError(f"{item!r} is nothing to tick here; there is {', '.join(map(repr, names)) or 'nothing'}")
    (item,) = meant
    ledger.put(
        replace(
            incident,
            verifications=tuple(
                replace(known, ok=True, at=now, by=by) if known.name == item else known for known in incident.verifications
            ),
        )
    )
    ledger.say(incident, "verified", f"seen: {item}", actor=by)
    return ledger.decide()


def record_probes(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, results: Mapping[str, tuple[bool, str]], now: float
) -> Decision:
    """What the probes found, by the name of the verification: passed or not, and one line. All passed: the incident is resolved."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or incident.verifying is None or not incident.status.active:
        return Decision()
    known = {item.name: item for item in incident.verifications}
    for name, (ok, message) in results.items():
        before = known.get(name, Verification(name))
        if ok != before.ok:
            ledger.say(incident, "verified" if ok else "not verified", f"{name}: {message}")
        known[name] = replace(before, ok=ok, at=now, by=DETECTOR, message=message)
    incident = ledger.put(replace(incident, verifications=tuple(known.values())))
    if not needs_probes(ledger, incident):
        finish(ledger, incident)
    return ledger.decide()


def name_responders(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, responders: Mapping[str, str], now: float
) -> Decision:
    """Who is called: service owner, engineer on call, manager on call, as looked up; put into the ticket."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or dict(incident.responders) == dict(responders):
        return Decision()
    before = list_facts(incident, catalogue, "")["responders"]
    incident = ledger.put(replace(incident, responders=dict(responders)))
    named = ", ".join(f"{role.replace('_', ' ')}: {name}" for role, name in responders.items() if name)
    ledger.say(incident, "responders", named or "nobody could be looked up")
    late = [role for role in SUMMONED if responders.get(role) and responders[role] != before.get(role)]
    if incident.summoned and incident.status.active and late:  # the summons went out before they were known
        named = ", ".join(f"{role.replace('_', ' ')}: {responders[role]}" for role in late)
        tell(ledger, incident, NoticeKind.SUMMON, named, facts={"summoned": late})
    return ledger.decide()


def note_oddities(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, oddities: Sequence[str], now: float
) -> Decision:
    """Signals that look odd against their baselines during the watch: said in the thread, paging nobody."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None or not oddities:
        return Decision()
    text = "looks odd during the watch: " + "; ".join(oddities)
    ledger.say(incident, "odd", text)
    tell(ledger, incident, NoticeKind.UPDATE, text)
    return ledger.decide()


def add_note(
    book: Book,
    catalogue: Catalogue,
    paging: Paging,
    incident_id: str,
    by: str,
    text: str,
    now: float,
    *,
    at: float | None = None,
) -> Decision:
    """Add words to the timeline; at most 4,000 characters are kept. `at`: when they were written, where that was elsewhere."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    ledger.say(incident, "note", text[:MAXIMUM_TEXT], actor=by, at=at)
    return ledger.decide()


def set_cause(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, text: str, now: float) -> Decision:
    """Write down the root cause; a later one replaces it, the timeline keeps both."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = _find(ledger, incident_id)
    state = "identified" if incident.state == "investigating" else incident.state
    incident = ledger.put(replace(incident, root_cause=text[:MAXIMUM_TEXT], state=state))
    ledger.say(incident, CAUSE, f"{CAUSE_WORDS}{text[:MAXIMUM_TEXT]}", actor=by)
    if incident.status is not Status.CLOSED:  # our own channels: what outsiders read, a person words as an update
        tell(ledger, incident, NoticeKind.UPDATE, f"{CAUSE_WORDS}{text[:MAXIMUM_TEXT]}")
    return ledger.decide()


def _add_words(said: str, text: str) -> str:
    return f"{said}: {text.strip()[:MAXIMUM_TEXT]}" if text.strip() else said


def _find(ledger: Ledger, incident_id: str) -> Incident:
    incident = ledger.find(incident_id)
    if incident is None:
        msg = f"no incident {incident_id} is known; `detector incidents list` shows them"
        raise ResponseError(msg)
    return incident
