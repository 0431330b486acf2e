"""Which keys an incident opens and closes at PagerDuty, and when a further key is due.

Called by `correlate` once for each incident that a batch of transitions changed, and by `response`. At most one key is open for
each (incident, route), but for those that a rise or a join long after the acknowledgement adds; a resolve closes all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from detector.domain.incident import Incident, NoticeKind, Page, name_key
from detector.domain.ledger import Ledger
from detector.domain.severity import Severity

REPAGE_AFTER_ACKNOWLEDGE_SECONDS = 1800.0


def open_pages(ledger: Ledger, before: Incident | None, incident: Incident) -> Incident:
    """Queue the triggers that severity and services ask for. `before` None: the incident is new, or comes back."""
    if not ledger.paging.pagerduty or incident.severity < ledger.paging.page_from:
        return incident
    if incident.hushed:
        return incident
    if find_settle_end(incident, ledger.now) is not None:
        return incident
    for route in _list_routes(ledger, incident):
        standing = [page for page in incident.pages if page.route == route and not page.closed]
        if not standing:
            kind = NoticeKind.RELAPSE if before is None and incident.episode > 1 else NoticeKind.TRIGGER
            incident = ledger.page(incident, kind, _make_page(ledger, incident, route))
        elif before is not None and _wants_another(ledger, before, incident, standing[-1]):
            incident = ledger.page(incident, NoticeKind.RISE, _make_page(ledger, incident, route))
        elif before is not None and incident.severity > before.severity:
            incident = ledger.page(incident, NoticeKind.RISE, replace(standing[-1], severity=incident.severity))
    return incident


def find_settle_end(incident: Incident, now: float) -> float | None:
    """Until when the page waits for its severity to settle; None where it does not.

    Below HIGH, and while nobody was paged in this episode, a page waits as long as every firing alert's severity still climbs with
    a window that fills: one page with the right severity, not two within seconds.
    """
    if incident.severity >= Severity.HIGH or any(not page.closed for page in incident.pages):
        return None
    ends = [alert.settle_by for alert in incident.alerts.values() if alert.firing]
    if not ends or any(end is None or end <= now for end in ends):
        return None
    return min(end for end in ends if end is not None)


def close_pages(ledger: Ledger, incident: Incident) -> Incident:
    """Queue a resolve for every key that was opened and not yet closed."""
    incident = ledger.put(incident)
    for page in incident.pages:
        if not page.closed:
            incident = ledger.page(incident, NoticeKind.RESOLVE, replace(page, closed=True))
    return incident


def acknowledge_pages(ledger: Ledger, incident: Incident) -> Incident:
    """Queue an acknowledgement for every open key that has none yet."""
    for page in incident.pages:
        if not page.closed and not page.acknowledged:
            incident = ledger.page(incident, NoticeKind.ACKNOWLEDGE, replace(page, acknowledged=True))
    return incident


def note_acknowledged(ledger: Ledger, incident: Incident, keys: Collection[str]) -> Incident:
    """Remember that PagerDuty shows these keys as acknowledged; it is told nothing back, and other keys still wait for somebody."""
    pages = tuple(replace(page, acknowledged=True) if page.key in keys else page for page in incident.pages)
    return ledger.put(replace(incident, pages=pages))


def list_open(incident: Incident, keys: Collection[str]) -> tuple[Page, ...]:
    """The pages of these keys that were not closed from here; word of any other key comes late, or is the echo of our own."""
    return tuple(page for page in incident.pages if page.key in keys and not page.closed)


def _wants_another(ledger: Ledger, before: Incident, incident: Incident, latest: Page) -> bool:
    """Whether a further key must page: an acknowledged key pages nobody, and a rise may not either."""
    crossed = before.severity <= Severity.MEDIUM and incident.severity >= Severity.HIGH
    if crossed and ledger.paging.on_rise_new_key:
        return True
    if incident.acknowledged is None or len(incident.alerts) == len(before.alerts):
        return False
    return ledger.now - max(incident.acknowledged, latest.opened) > REPAGE_AFTER_ACKNOWLEDGE_SECONDS


def _make_page(ledger: Ledger, incident: Incident, route: str) -> Page:
    episode = f"{incident.id}:{incident.episode}:"
    number = 1 + sum(page.route == route and page.key.startswith(episode) for page in incident.pages)
    return Page(route, name_key(incident.id, incident.episode, route, number), ledger.now, incident.severity)


def _list_routes(ledger: Ledger, incident: Incident) -> list[str]:
    """Routing key names of the services whose alerts fire, the incident's own first."""
    if incident.route:
        return [incident.route]
    services = dict.fromkeys([incident.service, *(alert.service for alert in incident.alerts.values() if alert.firing)])
    return list(dict.fromkeys(ledger.catalogue.find(service).pagerduty for service in services))
