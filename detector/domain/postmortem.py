"""What is known of an incident once it is over: facts and figures for the post-mortem. Pure; nothing is guessed, nothing invented.

Before it: `app/historian` read the timeline, deliveries and samples. After it: an adapter writes the document. Times: unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from detector.domain.audience import EMAIL, ON_CALL, SLACK, WEBHOOK
from detector.domain.catalogue import Catalogue
from detector.domain.incident import PAGERDUTY, Book, Decision, Event, Incident, NoticeKind
from detector.domain.ledger import Ledger, Paging
from detector.domain.response import CAUSE, ResponseError

DUE_SECONDS = 86_400.0
KIND = "post-mortem"
SAID = frozenset({CAUSE, "note", "update"})  # what people say of an incident that is over, too
_INTERNAL = frozenset({(EMAIL, ON_CALL)})
_OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})


@dataclass(frozen=True, slots=True)
class Lesson:
    """Where the post-mortem of an incident stands: due when, finished by whom, whether somebody was reminded."""

    incident: str
    due: float
    finished: float | None = None
    finished_by: str = ""
    reminded: float | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """One notice on its way, as the outbox has it: `state` queued | claimed | accepted | rejected | collapsed."""

    kind: NoticeKind
    channel: str
    route: str
    key: str
    state: str
    severity: str
    queued: float
    attempts: int = 0
    first_attempt: float | None = None
    delivered: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One signal of one alert over the incident; `points` are (unix seconds, value), oldest first. `fault`: why there are none."""

    rule: str
    signal: str
    labels: str
    points: tuple[tuple[float, float], ...] = ()
    threshold: float | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to be seen in the plot: breach, page, acknowledge, mitigation, recovery."""

    at: float
    word: str


@dataclass(frozen=True, slots=True)
class RuleFact:
    """A rule of the incident as it was loaded when the incident ended; `condition` is its `open`.

    `changes`: how it differs from what it said as the incident opened, as lines of a diff; `removed`: it is gone since.
    """

    name: str
    file: str
    line: int
    condition: str
    changes: tuple[str, ...] = ()
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the document shows.

    `digest` names the rule files that ran at the end, `digest_before` those at the opening, empty where that is not known any more;
    `test` is a rule test of the incident.
    """

    incident: Incident
    events: tuple[Event, ...]
    hops: tuple[Hop, ...]
    due: float
    curves: tuple[Curve, ...] = ()
    rules: tuple[RuleFact, ...] = ()
    digest: str = ""
    digest_before: str = ""
    test: str = ""
    responders: tuple[tuple[str, str], ...] = field(default=())

    @property
    def paged(self) -> float | None:
        """When PagerDuty, else the first destination, accepted the opening."""
        opened = [hop for hop in self.hops if hop.kind in _OPENING and hop.delivered is not None]
        pages = [hop for hop in opened if hop.channel == PAGERDUTY] or opened
        return min((hop.delivered for hop in pages if hop.delivered is not None), default=None)

    @property
    def spans(self) -> tuple[tuple[str, float | None], ...]:
        """Seconds from the first breach to each step; None where it was not taken."""
        incident = self.incident
        steps = (
            ("detect", incident.detected),
            ("page", self.paged),
            ("acknowledge", incident.acknowledged),
            ("mitigate", incident.mitigated),
            ("recover", incident.resolved),
        )
        return tuple((word, None if at is None else max(0.0, at - incident.opened)) for word, at in steps)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Moments of the plot, oldest first."""
        incident = self.incident
        found = [Mark(incident.opened, "breach"), *(Mark(run.started, f"mitigation {run.name}") for run in incident.mitigations)]
        found += [Mark(at, "relapse") for at in incident.relapses]
        steps = (("page", self.paged), ("acknowledge", incident.acknowledged), ("recovery", incident.resolved))
        found += [Mark(at, word) for word, at in steps if at is not None]
        return tuple(sorted(found, key=lambda mark: (mark.at, mark.word)))

    @property
    def actions(self) -> tuple[Event, ...]:
        """What people did, oldest first."""
        return tuple(event for event in self.events if event.actor != "detector")


def note_draft(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, where: str, now: float) -> Decision:
    """The draft is written."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None:
        return Decision()
    ledger.say(incident, KIND, f"drafted: {where}; to be filled in within {DUE_SECONDS / 3600:.0f} h")
    return ledger.decide()


def remind(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, now: float) -> Decision:
    """The document is due and not finished: said in the timeline and to those inside who heard of the incident."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None:
        return Decision()
    text = f"the post-mortem is due; when it is filled in: detector incidents postmortem {incident.id} --done"
    ledger.say(incident, KIND, text)
    for channel, route in paging.audience:
        if f"{channel}:{route}" in incident.told and (channel in {SLACK, WEBHOOK} or (channel, route) in _INTERNAL):
            incident = ledger.send(incident, NoticeKind.UPDATE, channel, route, message=text)
    return ledger.decide()


def finish(lesson: Lesson | None, incident_id: str, by: str, now: float) -> Lesson:
    """Somebody has filled it in. Raises ResponseError where there is none, or it is finished."""
    if lesson is None:
        raise ResponseError(f"incident {incident_id} has no post-mortem yet; it is drafted when the incident is resolved")
    if lesson.finished is not None:
        raise ResponseError(f"the post-mortem of {incident_id} was finished by {lesson.finished_by} already")
    return replace(lesson, finished=now, finished_by=by)


def note_finish(book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, by: str, now: float) -> Decision:
    """Into the timeline."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is not None:
        ledger.say(incident, KIND, "finished", actor=by)
    return ledger.decide()


def list_due(lessons: Sequence[Lesson], now: float) -> tuple[Lesson, ...]:
    """Those of which somebody is to be reminded now: when due, and again each day until it is finished."""
    return tuple(
        lesson
        for lesson in lessons
        if lesson.finished is None and lesson.due <= now and (lesson.reminded is None or lesson.reminded + DUE_SECONDS <= now)
    )
