"""What a decision writes, gathered while it is made: changed incidents, timeline lines, numbered notices.

`correlate` and `response` fill it and return its `Decision`; nothing outside a single call sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from detector.domain.catalogue import Catalogue
from detector.domain.incident import PAGERDUTY, Book, Decision, Event, Incident, Notice, NoticeKind, Page, name_notice
from detector.domain.severity import Severity
from detector.domain.ticket import list_facts

DETECTOR = "detector"


@dataclass(frozen=True, slots=True)
class Paging:
    """Settings of the decisions. `on_rise`: whether a rise from low/medium to high/critical pages under a new key.

    `pagerduty`: whether there is a routing key at all.
    """

    page_from: Severity = Severity.MEDIUM
    on_rise_new_key: bool = True
    external_url: str = ""
    pagerduty: bool = True


@dataclass(slots=True)
class Ledger:
    """The book being changed. `now` is the moment of the decision."""

    book: Book
    catalogue: Catalogue
    paging: Paging
    now: float
    _changed: dict[str, Incident] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _queued: list[tuple[NoticeKind, str, Page, int]] = field(default_factory=list)

    def find(self, incident: str) -> Incident | None:
        """The incident as it stands in this decision."""
        return self._changed.get(incident) or self.book.incidents.get(incident)

    def incidents(self) -> Iterator[Incident]:
        """Every incident that is not closed, as it stands in this decision, oldest first."""
        merged = {**self.book.incidents, **self._changed}
        return iter(sorted(merged.values(), key=lambda incident: (incident.detected, incident.id)))

    def put(self, incident: Incident) -> Incident:
        """Keep a changed incident."""
        self._changed[incident.id] = incident
        return incident

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
        self._queued.append((kind, incident.id, page, incident.sequence))
        return self.put(incident)

    def decide(self) -> Decision:
        """Everything gathered; notices carry the facts of the incident as it stands at the end of the decision."""
        changed = {
            incident.id: replace(incident, revision=incident.revision + 1)
            for incident in self._changed.values()
            if incident != self.book.incidents.get(incident.id)
        }
        facts: dict[str, Mapping[str, Any]] = {}
        notices = []
        for kind, identity, page, sequence in self._queued:
            incident = changed[identity]
            values = facts.setdefault(identity, list_facts(incident, self.catalogue, self.paging.external_url))
            notices.append(
                Notice(
                    id=name_notice(incident.id, incident.episode, sequence, kind, PAGERDUTY, page.route),
                    incident=incident.id,
                    episode=incident.episode,
                    kind=kind,
                    channel=PAGERDUTY,
                    route=page.route,
                    key=page.key,
                    severity=incident.severity,
                    at=self.now,
                    values=values,
                )
            )
        return Decision(tuple(changed.values()), tuple(self._events), tuple(notices))
