"""What the public status page says: components, what is wrong now, what was wrong lately. Pure.

Before it: incidents, timelines and the catalogue. After it: `web.bulletin` writes it as HTML, JSON and Atom. Every word passes
`disclosure`: no label, value, rule, link or person leaves the house, and of services only those that customers face.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detector.domain.catalogue import Catalogue
from detector.domain.disclosure import (
    INVESTIGATING,
    MONITORING,
    RESOLVED,
    STATES,
    describe_impact,
    disclose,
    is_noticed,
    is_person,
    is_public,
    is_told_by_storm,
    redact,
)
from detector.domain.incident import BLIND_ID, Event, Incident, NoticeKind, Status
from detector.domain.severity import Severity

OPERATIONAL, UNKNOWN = "operational", "unknown"
RECENT_SECONDS = 14 * 86400.0
MAX_CURRENT, MAX_RECENT, MAX_UPDATES = 50, 30, 20
_AT_WORK = "Our engineers are working on it."
_AGAIN = "The problem is back. We are investigating."
_STATE_WORDS = {
    "investigating": "We are investigating.",
    "identified": "The cause is identified and we are working on it.",
    "monitoring": "The service has recovered and we are watching it.",
    "resolved": "This incident is resolved.",
}


@dataclass(frozen=True, slots=True)
class Component:
    """A service that customers face. `status`: operational, unknown (we cannot see now), or its impact."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Update:
    """One public line; `at` in unix seconds."""

    at: float
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class PublicIncident:
    """One incident as outsiders see it: the newest update first; times in unix seconds, whole minutes are for who shows them."""

    id: str
    state: str
    impact: str
    services: tuple[str, ...]
    opened: float
    resolved: float | None
    changed: float
    eta: str = ""
    root_cause: str = ""
    updates: tuple[Update, ...] = ()

    @property
    def title(self) -> str:
        """As in "checkout, search disrupted"."""
        return f"{', '.join(self.services)} {self.impact}"


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything on the page. `status` is that of the worst component, or of what is open beside them."""

    status: str
    components: tuple[Component, ...] = ()
    current: tuple[PublicIncident, ...] = ()
    recent: tuple[PublicIncident, ...] = ()
    more: int = 0


def choose_current(incidents: Iterable[Incident], catalogue: Catalogue) -> list[Incident]:
    """What customers notice among what somebody works on, the latest first; what was muted before anybody heard of it stays in.

    Parts of a storm are among them: `publish` takes the state of components from them, and shows the storm.
    """
    found = (each for each in incidents if each.status.active and is_noticed(each, catalogue))
    return sorted((each for each in found if not each.muted or each.heard is not None), key=_age)


def choose_recent(incidents: Iterable[Incident], catalogue: Catalogue, now: float) -> list[Incident]:
    """The public ones among those that are over, watched or closed, of the last two weeks, the latest first."""
    found = (each for each in incidents if not each.status.active and is_public(each, catalogue))
    return sorted((each for each in found if now - each.opened < RECENT_SECONDS), key=_age)[:MAX_RECENT]


def list_told(current: Iterable[Incident]) -> list[Incident]:
    """Those that are told by themselves, not by their storm."""
    return [each for each in current if not is_told_by_storm(each)]


def is_blind(incidents: Iterable[Incident]) -> bool:
    """Whether the daemon sees nothing, so that nobody may call anything operational."""
    return any(each.id == BLIND_ID and each.status.active for each in incidents)


def publish(
    current: Sequence[Incident],
    recent: Sequence[Incident],
    timelines: Mapping[str, Sequence[Event]],
    catalogue: Catalogue,
    *,
    blind: bool,
) -> Publication:
    """The page of these incidents, as `choose_current` and `choose_recent` gave them; `timelines` by incident, those it has."""
    told = list_told(current)
    shown = told[:MAX_CURRENT]
    facing = {name for name, service in catalogue.services.items() if service.customer_facing}
    worst: dict[str, Severity] = {}
    for incident in current:
        for name in [] if incident.route else catalogue.list_facing(incident.services):  # its parts say how bad each is
            worst[name] = max(worst.get(name, Severity.LOW), incident.severity)
    quiet = UNKNOWN if blind else OPERATIONAL
    names = {name: public for name in facing | worst.keys() if (public := _disclose_name(name))}
    components = [
        Component(public, describe_impact(worst[name]) if name in worst else quiet) for name, public in sorted(names.items())
    ]
    status = describe_impact(max(worst.values())) if worst else quiet
    return Publication(
        status,
        tuple(components),
        tuple(view_public(incident, timelines.get(incident.id, ()), catalogue) for incident in shown),
        tuple(view_public(incident, timelines.get(incident.id, ()), catalogue) for incident in recent),
        len(told) - len(shown),
    )


def view_public(incident: Incident, timeline: Sequence[Event], catalogue: Catalogue) -> PublicIncident:
    """The public side of an incident."""
    kind = _name_kind(incident)
    facts = {
        "service": "",
        "services": catalogue.list_facing(incident.services),
        "status": incident.status.value,
        "state": incident.state,
        "eta": incident.eta,
        "root_cause": incident.root_cause,
        "opened": incident.opened,
        "resolved": incident.resolved,
    }
    told = disclose(kind, incident.severity if incident.status.active else incident.peak_severity, facts)
    updates = [found for event in timeline if (found := _read_update(event)) is not None]
    updates = _drop_repeated(sorted(updates, key=lambda update: -update.at))[:MAX_UPDATES]
    return PublicIncident(
        id=incident.id,
        state=told.state,
        impact=told.impact,
        services=told.services or (told.affected,),
        opened=incident.opened,
        resolved=None if incident.status.active else incident.resolved,
        changed=max([incident.opened, *(update.at for update in updates)]),
        eta=told.eta,
        root_cause=told.root_cause,
        updates=tuple(updates),
    )


def _name_kind(incident: Incident) -> NoticeKind:
    match incident.status:
        case Status.CLOSED:
            return NoticeKind.CLOSE
        case Status.RESOLVED:
            return NoticeKind.RESOLVE
        case _:
            return NoticeKind.UPDATE


def _read_update(event: Event) -> Update | None:
    """The public line of an event: a person's update in their words, ours in fixed ones; most events are nobody's business."""
    match event.kind:
        case "opened":
            return Update(event.at, INVESTIGATING, _STATE_WORDS[INVESTIGATING])
        case "acknowledged":
            return Update(event.at, "", _AT_WORK)
        case "relapse" | "flapping" | "still firing":
            return Update(event.at, INVESTIGATING, _AGAIN)
        case "resolved":
            verified = event.message.startswith("resolved (recovered)")  # by hand, nobody knows whether the service is well
            return Update(event.at, RESOLVED, _STATE_WORDS[MONITORING if verified else RESOLVED])
        case "update" if is_person(event.actor):
            return _read_words(event)
        case _:
            return None


def _drop_repeated(updates: Sequence[Update]) -> list[Update]:
    """Newest first: that another engineer has acknowledged is no news to outsiders right after the first."""
    at_work = [update.text == _AT_WORK for update in updates]
    return [update for place, update in enumerate(updates) if not all(at_work[place : place + 2]) or place == len(updates) - 1]


def _read_words(event: Event) -> Update:
    """As `response.update` joined them: message, ETA, state."""
    parts = event.message.split("; ")
    state = parts.pop() if parts[-1] in STATES else ""
    eta = f"{parts.pop()}." if parts and parts[-1].startswith("ETA ") else ""
    words = redact(" ".join(filter(None, ("; ".join(parts), eta))))
    return Update(event.at, state, words or _STATE_WORDS[state or INVESTIGATING])


def _disclose_name(name: str) -> str:
    """The name as the public may read it; "" for an address of the inside."""
    told = disclose(NoticeKind.UPDATE, Severity.LOW, {"services": [name]})
    return told.services[0] if told.services else ""


def _age(incident: Incident) -> tuple[float, str]:
    return -incident.opened, incident.id
