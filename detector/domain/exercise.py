"""A drill: a marked incident that is none, sent through every internal channel and ended again. Pure.

Before it: `app/drill` on its schedule or when a person asks. After it: the outbox, like every other notice; nothing joins the book.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detector.domain.audience import EMAIL, MQTT, STAKEHOLDERS, STATUSPAGE
from detector.domain.catalogue import DEFAULT_ROUTE, Catalogue
from detector.domain.incident import OWN_SERVICE, PAGERDUTY, Decision, Event, Incident, Notice, NoticeKind, Status, name_notice
from detector.domain.ledger import Paging
from detector.domain.postmortem import Hop
from detector.domain.severity import Severity
from detector.domain.ticket import list_facts

DRILL_ID = "drill"  # whose timeline holds the outcomes
KIND = "drill"
PASSED = "passed"
TITLE = "[DRILL] This is a drill: nothing is broken, nothing is to be done"
_PUBLIC = frozenset({(EMAIL, STAKEHOLDERS), (STATUSPAGE, "")})


@dataclass(frozen=True, slots=True)
class DrillHop:
    """One channel and how it did; `ok` None: still under way."""

    channel: str
    route: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The last drill; `passed` None while it runs, `at` when it began."""

    id: str
    at: float
    by: str
    passed: bool | None
    hops: tuple[DrillHop, ...] = ()


def list_internal(paging: Paging) -> tuple[tuple[str, str], ...]:
    """Every destination inside: (channel, route)."""
    pages = ((PAGERDUTY, DEFAULT_ROUTE),) if paging.pagerduty else ()
    return pages + tuple(destination for destination in paging.audience if destination not in _PUBLIC)


def list_public(paging: Paging) -> tuple[tuple[str, str], ...]:
    """Stakeholders and the public: nothing is sent to them, login and rendering are tried."""
    return tuple(destination for destination in paging.audience if destination in _PUBLIC)


def make_facts(drill: str, catalogue: Catalogue, paging: Paging, now: float, *, over: bool) -> Mapping[str, Any]:
    """What the messages show. `fallback_for` keeps a failing hop from going elsewhere: that it fails is what we want to know."""
    status = Status.RESOLVED if over else Status.OPEN
    incident = Incident(
        drill, 0, status, Severity.LOW, Severity.LOW, OWN_SERVICE, (OWN_SERVICE,), (KIND,), (), now, now, TITLE,
        resolved=now if over else None, state="resolved" if over else "investigating", end_reason="drill over" if over else "",
    )  # fmt: skip
    return {**list_facts(incident, catalogue, paging.external_url), "message": TITLE, "actor": OWN_SERVICE, "fallback_for": KIND}


def open_drill(drill: str, catalogue: Catalogue, paging: Paging, by: str, now: float) -> Decision:
    """The opening for every destination inside."""
    values = make_facts(drill, catalogue, paging, now, over=False)
    notices = tuple(_make_notice(drill, NoticeKind.TRIGGER, *to, values, now) for to in list_internal(paging))
    return Decision(events=(Event(DRILL_ID, now, by, KIND, f"{drill} began"),), notices=notices)


def end_drill(drill: str, catalogue: Catalogue, paging: Paging, now: float) -> Decision:
    """The end of it; MQTT's retained message is taken away."""
    values = make_facts(drill, catalogue, paging, now, over=True)
    notices = [_make_notice(drill, NoticeKind.RESOLVE, *to, values, now) for to in list_internal(paging)]
    notices += [_make_notice(drill, NoticeKind.CLOSE, *to, values, now) for to in list_internal(paging) if to[0] == MQTT]
    return Decision(notices=tuple(notices))


def judge_hops(paging: Paging, hops: Sequence[Hop], *, kind: NoticeKind) -> tuple[DrillHop, ...]:
    """How far each destination is with the notices of that kind."""
    found = {(hop.channel, hop.route): hop for hop in hops if hop.kind is kind}
    return tuple(_judge(channel, route, found.get((channel, route))) for channel, route in list_internal(paging))


def conclude(report: DrillReport, now: float) -> Decision:
    """The outcome as a line of the drills' own timeline."""
    failed = [f"{hop.channel}{f' ({hop.route})' if hop.route else ''}: {hop.detail}" for hop in report.hops if not hop.ok]
    text = f"failed: {'; '.join(failed) or 'no channel is configured'}" if not report.passed else PASSED
    return Decision(events=(Event(DRILL_ID, now, report.by, KIND, text),))


def find_last_success(events: Sequence[Event]) -> float | None:
    """When a drill last passed."""
    return max((event.at for event in events if event.kind == KIND and event.message == PASSED), default=None)


def _judge(channel: str, route: str, hop: Hop | None) -> DrillHop:
    match hop:
        case None:
            return DrillHop(channel, route, None, "not queued")
        case Hop(state="accepted"):
            return DrillHop(channel, route, ok=True, detail=f"accepted after {max(0.0, (hop.delivered or 0.0) - hop.queued):.1f} s")
        case Hop(state="rejected"):
            return DrillHop(channel, route, ok=False, detail=hop.error or "rejected")
        case _:
            return DrillHop(channel, route, None, hop.error or "no answer in time")


def _make_notice(drill: str, kind: NoticeKind, channel: str, route: str, values: Mapping[str, Any], now: float) -> Notice:
    key = f"{drill}:0:{route}" if channel == PAGERDUTY else drill
    identity = name_notice(drill, 0, 0, kind, channel, route)
    return Notice(identity, drill, 0, kind, channel, route, key, Severity.LOW, now, values)
