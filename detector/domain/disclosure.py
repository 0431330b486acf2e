"""What outsiders may know of an incident: the one place that decides which facts leave the house.

Before it: the facts of a notice, which name hosts, labels and links. After it: mail to stakeholders and public status pages. What
is not listed here is never public: no summary (rules write label values into it), no value, no label, no link, no name of a
person. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from detector.domain.catalogue import Catalogue
from detector.domain.incident import Incident, NoticeKind
from detector.domain.severity import Severity
from detector.domain.text import clean_line, cut_text

INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED = "investigating", "identified", "monitoring", "resolved"
STATES = (INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED)
OURSELVES = frozenset({"", "detector"})
UNNAMED = "our services"
_REMOVED = "(removed)"
_MAX_MESSAGE_CHARACTERS = 1_000
_MAX_SERVICES = 20
_MAX_SERVICE_CHARACTERS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Addresses of the inside that a person may write in haste: URLs, mail addresses, host names with a dot, IP addresses, host:port.
_INSIDE = re.compile(
    r"[a-z][a-z0-9+.-]*://\S+"
    r"|[^\s@]+@[^\s@]+"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"
    r"|(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])"
    r"|\b(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]+\b(?::\d+)?"
    r"|\b[a-z][\w-]*:\d{2,5}\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Public facts, each one line of clean text; "" where there is nothing to say. Times read as in `2026-11-23 06:51 UTC`."""

    kind: str
    state: str
    impact: str
    services: tuple[str, ...] = ()
    message: str = ""
    root_cause: str = ""
    eta: str = ""
    next_update: str = ""
    opened: str = ""
    resolved: str = ""

    @property
    def affected(self) -> str:
        """The services as a sentence names them."""
        return ", ".join(self.services) or UNNAMED


def is_public(incident: Incident, catalogue: Catalogue) -> bool:
    """Customers notice it and hear of it by itself: what is folded into a storm, and no worse than it was then, the storm tells."""
    return is_noticed(incident, catalogue) and not is_told_by_storm(incident)


def is_noticed(incident: Incident, catalogue: Catalogue) -> bool:
    """Customers notice it: CRITICAL or HIGH at its worst, about a service they face."""
    return incident.peak_severity >= Severity.HIGH and bool(catalogue.list_facing(incident.services)) and not incident.own


def is_told_by_storm(incident: Incident) -> bool:
    """Whether it is part of a storm and never was worse than when it was folded."""
    return bool(incident.folded) and incident.quiet is not None and incident.peak_severity <= incident.quiet


def disclose(kind: NoticeKind, severity: Severity, facts: Mapping[str, Any]) -> Disclosure:
    """The public side of a notice. `severity` is the incident's now; a person's words count only where a person wrote them."""
    state = read_state(kind, facts)
    is_over = state in {MONITORING, RESOLVED}
    return Disclosure(
        kind=kind.value,
        state=state,
        impact=describe_impact(severity),
        services=_list_services(facts),
        message=_read_message(kind, facts),
        root_cause=redact(_text(facts, "root_cause")) if is_over else "",
        eta="" if is_over else redact(_text(facts, "eta")),
        next_update="" if state == RESOLVED else format_clock(facts.get("next_update")),
        opened=format_minute(facts.get("opened")),
        resolved=format_minute(facts.get("resolved")) if is_over else "",
    )


def read_state(kind: NoticeKind, facts: Mapping[str, Any]) -> str:
    """The public state. What the notice itself says wins over a fact that is behind it: nothing opens as resolved."""
    said = facts.get("state")
    known = said if said in STATES else ""
    match kind:
        case NoticeKind.TRIGGER | NoticeKind.RISE | NoticeKind.RELAPSE:
            return known if known in {INVESTIGATING, IDENTIFIED} else INVESTIGATING
        case NoticeKind.RESOLVE:
            return known if known in {MONITORING, RESOLVED} else RESOLVED
        case NoticeKind.CLOSE:
            return RESOLVED
        case NoticeKind.UPDATE | NoticeKind.ACKNOWLEDGE | NoticeKind.REMINDER | NoticeKind.SUMMON | NoticeKind.ESCALATE:
            is_over = facts.get("status") in {"resolved", "closed"}
            return str(known) or (RESOLVED if is_over else INVESTIGATING)
        case _:
            assert_never(kind)


def describe_impact(severity: Severity) -> str:
    """How a customer meets an incident of this severity, after the names of the services."""
    match severity:
        case Severity.CRITICAL:
            return "down"
        case Severity.HIGH:
            return "disrupted"
        case Severity.MEDIUM:
            return "degraded"
        case Severity.LOW:
            return "slightly degraded"
        case _:
            assert_never(severity)


def redact(text: str) -> str:
    """One clean line without addresses of the inside."""
    # cut first as well: the patterns look at every start, which takes the square of the length
    return cut_text(_INSIDE.sub(_REMOVED, cut_text(clean_line(text), 2 * _MAX_MESSAGE_CHARACTERS)), _MAX_MESSAGE_CHARACTERS)


def format_clock(at: object) -> str:
    """Unix seconds as `06:51 UTC`; "" where there is no such moment."""
    moment = _read_moment(at)
    return "" if moment is None else moment.strftime("%H:%M UTC")


def format_minute(at: object) -> str:
    """Unix seconds as `2026-11-23 06:51 UTC`; "" where there is no such moment."""
    moment = _read_moment(at)
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")


def is_person(actor: str) -> bool:
    """Whether somebody wrote it, and not we."""
    return actor.strip().lower() not in OURSELVES


def _read_message(kind: NoticeKind, facts: Mapping[str, Any]) -> str:
    """What a person wrote as an update. Other lines are ours, and name rules, values and people."""
    return redact(_text(facts, "message")) if kind is NoticeKind.UPDATE and is_person(_text(facts, "actor")) else ""


def _list_services(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Affected services by name; a name that is an address of the inside is left out."""
    listed = facts.get("services")
    names = [facts.get("service"), *(listed if isinstance(listed, (list, tuple)) else ())]
    facing = facts.get("facing")  # of all services those that customers face; names of others say nothing to them
    if isinstance(facing, (list, tuple)):
        names = list(facing)
    clean = [cut_text(clean_line(name), _MAX_SERVICE_CHARACTERS) for name in names if isinstance(name, str)]
    public = [name for name in clean if name and not _INSIDE.search(name)]
    return tuple(dict.fromkeys(public))[:_MAX_SERVICES]


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _read_moment(at: object) -> datetime | None:
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        return None
    try:
        return _EPOCH + timedelta(seconds=at)
    except (OverflowError, ValueError):
        return None
