"""How an incident ends: its metrics have recovered, then the probes of its services pass, then it is resolved and watched.

`advance` verified the metrics of every alert; this is the last step. The shell runs the probes and reports through `response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detector.domain.alert import EndReason
from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue
from detector.domain.incident import Incident, NoticeKind, Status, Verification
from detector.domain.ledger import Ledger
from detector.domain.page import close_pages
from detector.domain.ticket import describe_recovery


def list_verifications(ledger: Ledger, incident: Incident) -> tuple[Verification, ...]:
    """What the catalogue wants to be sure of for the incident's services, nothing known yet."""
    items = plan_verifications(ledger.catalogue, incident)
    return tuple(Verification(name, human=not item.get("url")) for name, item in items.items())


def plan_verifications(catalogue: Catalogue, incident: Incident) -> Mapping[str, Mapping[str, Any]]:
    """The catalogue's items (keys as in the rule file) by the names that the ticket shows; those with a `url` are probes.

    A storm has none of its own: what is folded into it was verified one by one.
    """
    if incident.route:
        return {}
    return {_name_item(service, item): item for service in incident.services for item in catalogue.find(service).verify}


def needs_probes(ledger: Ledger, incident: Incident) -> bool:
    """Whether a probe of the incident's services has still to pass; a rule that was removed waits for none."""
    if any(alert.ended_reason == EndReason.REMOVED.value for alert in incident.alerts.values()):
        return False
    wanted = {item.name for item in list_verifications(ledger, incident) if not item.human}
    passed = {item.name for item in incident.verifications if item.ok}
    return bool(wanted - passed)


def begin_verification(ledger: Ledger, incident: Incident) -> Incident:
    """The metrics have recovered; the shell sees `verifying` and runs the probes."""
    if incident.verifying is not None:
        return incident
    ledger.say(incident, "verifying", f"metrics have recovered{_describe(incident)}; the probes must pass before it is resolved")
    kept = {item.name: item for item in incident.verifications if item.human}
    fresh = tuple(kept.get(item.name, item) for item in list_verifications(ledger, incident))
    return ledger.put(replace(incident, verifying=ledger.now, verifications=fresh, due=None))


def finish(ledger: Ledger, incident: Incident) -> Incident:
    """Resolve it: verified. Every key that was opened is closed, everybody who was told hears of it, and the watch begins."""
    last = max(incident.alerts.values(), key=lambda alert: (alert.ended or 0.0, alert.ended_reason == EndReason.RECOVERED.value))
    reason = last.ended_reason or EndReason.RECOVERED.value
    resolved = replace(
        incident,
        status=Status.RESOLVED,
        resolved=ledger.now,
        end_reason=reason,
        due=ledger.now + incident.watch_seconds,
        state="resolved",
        verifying=None,
        muted="",
        stale=False,
    )
    text = f"resolved ({reason}){_describe(incident)}"
    ledger.say(resolved, "resolved", text)
    ledger.take_news(resolved)
    return tell(ledger, close_pages(ledger, resolved), NoticeKind.RESOLVE, text)


def _name_item(service: str, item: Mapping[str, Any]) -> str:
    where = f" ({item['environment']})" if item.get("environment") else ""
    return f"{service}: {item.get('name') or item.get('url', 'check')}{where}"


def _describe(incident: Incident) -> str:
    texts = [describe_recovery(alert) for alert in incident.alerts.values() if not alert.absent]
    return next(filter(None, texts), "")
