"""What a decision writes, gathered while it is made: changed incidents, timeline lines, numbered notices.

`correlate` and `response` fill it and return its `Decision`; nothing outside a single call sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from detector.domain.catalogue import Catalogue
from detector.domain.incident import PAGERDUTY, Book, Decision, Event, Incident, JoinedAlert, Notice, NoticeKind, Page, name_notice
from detector.domain.mute import Mute
from detector.domain.severity import Severity
from detector.domain.ticket import list_facts

DETECTOR = "detector"
CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Paging:
    """Settings of the decisions. `on_rise`: whether a rise from low/medium to high/critical pages under a new key.

    `pagerduty`: whether there is a routing key at all. `tells_pages`: what a diagnosis found goes to open keys as one
    more trigger; else it goes there as a note, if at all. `audience`: every other destination, as (channel, route).
    """

    page_from: Severity = Severity.MEDIUM
    on_rise_new_key: bool = True
    external_url: str = ""
    pagerduty: bool = True
    audience: tuple[tuple[str, str], ...] = ()
    update_every_seconds: float = 1800.0
    escalate_after_seconds: float = 900.0
    customer_delay_seconds: float = 300.0
    storm_threshold: int = 20
    tells_pages: bool = False


@dataclass(frozen=True, slots=True)
class _Queued:
    """A notice to be: it belongs to the episode in which it was queued."""

    kind: NoticeKind
    incident: str
    episode: int
    channel: str
    route: str
    key: str
    sequence: int
    message: str = ""
    actor: str = DETECTOR
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """The book being changed. `now` is the moment of the decision."""

    book: Book
    catalogue: Catalogue
    paging: Paging
    now: float
    mutes: Sequence[Mute] = ()
    _changed: dict[str, Incident] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _queued: list[_Queued] = field(default_factory=list)
    _touched: dict[str, Incident | None] = field(default_factory=dict)
    _new: list[float] | None = None
    _news: dict[str, list[str]] = field(default_factory=dict)
    _by_alert: dict[str, list[str]] = field(default_factory=dict)
    _by_service: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the book: a storm brings thousands of transitions, and each looks for its incident."""
        for incident in self.book.incidents.values():
            for service in {incident.service, *incident.services}:
                self._by_service.setdefault(service, []).append(incident.id)
            for key in incident.alerts:
                self._by_alert.setdefault(key, []).append(incident.id)

    def find(self, incident: str) -> Incident | None:
        """The incident as it stands in this decision."""
        return self._changed.get(incident) or self.book.incidents.get(incident)

    def incidents(self) -> list[Incident]:
        """Every incident of the book as it stands in this decision, oldest first."""
        return _sort_by_age({**self.book.incidents, **self._changed}.values())

    def find_by_alert(self, key: str) -> list[Incident]:
        """The incidents that hold the alert, oldest first."""
        return _sort_by_age(incident for name in self._by_alert.get(key, ()) if (incident := self.find(name)))

    def find_by_service(self, service: str) -> list[Incident]:
        """The incidents that affect the service, its own before those it joined, oldest first."""
        found = _sort_by_age(incident for name in self._by_service.get(service, ()) if (incident := self.find(name)))
        return sorted(found, key=lambda incident: incident.service != service)

    def put(self, incident: Incident) -> Incident:
        """Keep a changed incident."""
        if self.find(incident.id) is None:
            self._by_service.setdefault(incident.service, []).append(incident.id)
        self._changed[incident.id] = incident
        return incident

    def hold(self, incident: Incident, alert: JoinedAlert) -> Incident:
        """Keep the incident with the alert in it as given."""
        if alert.key not in incident.alerts or self.find(incident.id) is None:
            self._by_alert.setdefault(alert.key, []).append(incident.id)
        if incident.id not in self._by_service.setdefault(alert.service, []):
            self._by_service[alert.service].append(incident.id)
        return self.put(replace(incident, alerts={**incident.alerts, alert.key: alert}))

    def touch(self, incident: Incident, *, anew: bool = False) -> None:
        """Note that an incident is to be settled once all transitions are applied. Call before changing it.

        `anew`: it begins or comes back, so that nothing it was before counts.
        """
        if anew:
            self._touched[incident.id] = None
        else:
            self._touched.setdefault(incident.id, incident)

    def take_touched(self) -> list[tuple[Incident | None, Incident]]:
        """Touched incidents as they were and as they stand, in the order they were touched; none is touched after that."""
        touched, self._touched = self._touched, {}
        return [(before, after) for name, before in touched.items() if (after := self.find(name))]

    def say(self, incident: Incident, kind: str, message: str, *, actor: str = DETECTOR, at: float | None = None) -> None:
        """Add a line to the incident's timeline."""
        self._events.append(Event(incident.id, self.now if at is None else at, actor, kind, message))

    def page(self, incident: Incident, kind: NoticeKind, page: Page) -> Incident:
        """Queue a notice for one PagerDuty key; a key seen for the first time is remembered by the incident."""
        keys = [known.key for known in incident.pages]
        pages = tuple(page if known.key == page.key else known for known in incident.pages)
        if page.key not in keys:
            pages = (*pages, page)
        incident = replace(incident, pages=pages, sequence=incident.sequence + 1)
        self._queued.append(_Queued(kind, incident.id, incident.episode, PAGERDUTY, page.route, page.key, incident.sequence))
        return self.put(incident)

    def send(
        self,
        incident: Incident,
        kind: NoticeKind,
        channel: str,
        route: str,
        *,
        message: str = "",
        actor: str = DETECTOR,
        facts: Mapping[str, Any] | None = None,
    ) -> Incident:
        """Queue a notice for a destination beside PagerDuty, which knows the incident by its id."""
        incident = replace(incident, sequence=incident.sequence + 1)
        self._queued.append(
            _Queued(
                kind, incident.id, incident.episode, channel, route, incident.id, incident.sequence, message, actor, facts or {}
            )
        )
        return self.put(incident)

    def count_new(self, since: float) -> int:
        """How many incidents about services were detected after `since`, those of this decision included, muted ones not."""
        if self._new is None:
            self._new = [incident.detected for incident in self.book.incidents.values() if _counts_as_new(incident)]
            self._new += [
                incident.detected
                for name, incident in self._changed.items()
                if name not in self.book.incidents and _counts_as_new(incident)
            ]
        return sum(detected > since for detected in self._new)

    def note_new(self, incident: Incident) -> None:
        """Count a new incident."""
        if self._new is not None and _counts_as_new(incident):
            self._new.append(incident.detected)

    def add_news(self, incident: Incident, text: str) -> None:
        """Note what is to be told of the incident when it is settled."""
        self._news.setdefault(incident.id, []).append(text)

    def take_news(self, incident: Incident) -> str:
        """What is to be told, in one line."""
        return "; ".join(self._news.pop(incident.id, ()))

    def decide(self) -> Decision:
        """Everything gathered; notices carry the facts of the incident as it stands at the end of the decision."""
        changed = {
            incident.id: self._sign(replace(incident, revision=incident.revision + 1))
            for incident in self._changed.values()
            if incident != self.book.incidents.get(incident.id)
        }
        facts: dict[str, Mapping[str, Any]] = {}
        notices = []
        for queued in self._queued:
            incident = changed[queued.incident]
            said = {**queued.facts, "message": queued.message, "actor": queued.actor} if queued.message else {}
            values = facts.get(incident.id)
            if values is None:
                values = facts[incident.id] = list_facts(
                    incident, self.catalogue, self.paging.external_url, self._next_update(incident)
                )
            notices.append(
                Notice(
                    id=name_notice(incident.id, queued.episode, queued.sequence, queued.kind, queued.channel, queued.route),
                    incident=incident.id,
                    episode=queued.episode,
                    kind=queued.kind,
                    channel=queued.channel,
                    route=queued.route,
                    key=queued.key,
                    severity=incident.severity,
                    at=self.now,
                    values={**values, **said},
                )
            )
        return Decision(tuple(changed.values()), tuple(self._events), tuple(notices))

    def _sign(self, incident: Incident) -> Incident:
        """Note the version of the rule files where it is another one than in the incident's decision before."""
        version = self.catalogue.version
        if not version or incident.version == version:
            return incident
        self.say(incident, CONFIG, f"{'from here on ' if incident.version else ''}decided by rule files {version}")
        return replace(incident, version=version)

    def _next_update(self, incident: Incident) -> float | None:
        """When the people who were told hear again at the latest."""
        if not incident.status.active or not self.paging.update_every_seconds:
            return None
        return self.now + self.paging.update_every_seconds


def _counts_as_new(incident: Incident) -> bool:
    return not (incident.own or incident.route or incident.muted)


def _sort_by_age(incidents: Iterable[Incident]) -> list[Incident]:
    return sorted(incidents, key=lambda incident: (incident.detected, incident.id))
