"""Who beside PagerDuty hears of an incident, and of what: Slack, mail, status page, MQTT, webhook.

Called by `correlate` when an incident is settled and by `response`. A destination hears the opening first; whoever got an opening
gets everything else it listens to, and always the end. The public hears of CRITICAL and HIGH only, stakeholders after a delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detector.domain.disclosure import is_public
from detector.domain.incident import Incident, NoticeKind
from detector.domain.ledger import DETECTOR, Ledger

SLACK, MQTT, WEBHOOK, EMAIL, STATUSPAGE = "slack", "mqtt", "webhook", "email", "statuspage"
ON_CALL, STAKEHOLDERS = "on_call", "stakeholders"
_ON_CALL_HEARS = frozenset({NoticeKind.RISE, NoticeKind.RESOLVE, NoticeKind.RELAPSE, NoticeKind.REMINDER, NoticeKind.ESCALATE})
_PUBLIC_HEARS = frozenset({NoticeKind.RESOLVE, NoticeKind.RELAPSE})
_SILENT_ABOUT = {
    MQTT: frozenset({NoticeKind.REMINDER, NoticeKind.SUMMON, NoticeKind.ESCALATE}),
    WEBHOOK: frozenset({NoticeKind.SUMMON}),
}


def open_channels(ledger: Ledger, incident: Incident) -> Incident:
    """Tell every destination that should know of the incident by now and does not yet."""
    for channel, route in ledger.paging.audience:
        name = f"{channel}:{route}"
        if name not in incident.told and _should_know(ledger, incident, channel, route):
            incident = ledger.send(incident, NoticeKind.TRIGGER, channel, route, message=incident.summary)
            incident = ledger.put(replace(incident, told=(*incident.told, name), updated=ledger.now))
    return incident


def tell(
    ledger: Ledger,
    incident: Incident,
    kind: NoticeKind,
    message: str = "",
    *,
    actor: str = DETECTOR,
    facts: Mapping[str, Any] | None = None,
    to_all: bool = False,
) -> Incident:
    """Tell everybody who heard of the incident and listens to this kind; `to_all`: as what a person says is told.

    `facts`: what this notice says beside the incident's.
    """
    told = False
    for channel, route in ledger.paging.audience:
        if f"{channel}:{route}" in incident.told and _listens(channel, route, kind, human=to_all or actor != DETECTOR):
            incident = ledger.send(incident, kind, channel, route, message=message, actor=actor, facts=facts)
            told = True
    return ledger.put(replace(incident, updated=ledger.now)) if told else incident


def find_customer_due(ledger: Ledger, incident: Incident) -> float | None:
    """When stakeholders are to be told, None where they are not or were."""
    if (EMAIL, STAKEHOLDERS) not in ledger.paging.audience or f"{EMAIL}:{STAKEHOLDERS}" in incident.told:
        return None
    return incident.detected + ledger.paging.customer_delay_seconds if is_public(incident, ledger.catalogue) else None


def _should_know(ledger: Ledger, incident: Incident, channel: str, route: str) -> bool:
    match channel, route:
        case "statuspage", _:
            return is_public(incident, ledger.catalogue)
        case "email", "stakeholders":
            due = find_customer_due(ledger, incident)
            return due is not None and (incident.acknowledged is not None or due <= ledger.now)
        case "email", _:
            return incident.peak_severity >= ledger.paging.page_from and not (incident.folded and incident.hushed)
        case "slack", _:  # its storm speaks for it there, but not in a channel of the service's own
            return not (incident.folded and incident.hushed) or bool(ledger.catalogue.find(incident.service).slack)
        case _:
            return True


def _listens(channel: str, route: str, kind: NoticeKind, *, human: bool) -> bool:
    match channel:
        case "email" if route == ON_CALL:
            return kind in _ON_CALL_HEARS or (human and kind is NoticeKind.UPDATE)
        case "email" | "statuspage":
            return kind in _PUBLIC_HEARS or (human and kind is NoticeKind.UPDATE)
        case _:
            return kind not in _SILENT_ABOUT.get(channel, frozenset())
