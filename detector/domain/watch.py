"""What is looked at each time an active incident is settled: who must hear, what mutes it, when to look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from detector.domain.audience import find_customer_due, open_channels, tell
from detector.domain.duration import format_duration
from detector.domain.escalation import escalate, find_escalation_due
from detector.domain.incident import Incident, JoinedAlert, NoticeKind
from detector.domain.ledger import DETECTOR, Ledger
from detector.domain.mute import MuteKind, find_mute
from detector.domain.page import find_settle_end
from detector.domain.quantity import format_wait
from detector.domain.severity import Severity

FLAPPING_RELAPSES = 3
GROWTH_SECONDS = 60.0
FLAPPING_WITHIN_SECONDS = 86400.0


def describe_mute(ledger: Ledger, incident: Incident) -> tuple[str, float | None]:
    """What mutes the incident and until when: a mute for each of its firing alerts; "" where one of them is heard."""
    firing = [alert for alert in incident.alerts.values() if alert.firing]
    if not ledger.mutes or not firing or incident.own:
        return "", None
    found = [find_mute(ledger.mutes, label_alert(incident, alert), ledger.now) for alert in firing]
    mutes = [mute for mute in found if mute is not None]
    if len(mutes) < len(firing):
        return "", None
    return "; ".join(dict.fromkeys(mute.words for mute in mutes)), min(mute.ends for mute in mutes)


def find_muter(ledger: Ledger, incident: Incident, text: str) -> str:
    """Who did it, where a person muted the incident while it stood, or ended a mute of it early; else it came about by itself."""
    if text:
        acts = [
            mute.author
            for mute in ledger.mutes
            if mute.kind is not MuteKind.WINDOW and mute.starts >= incident.opened and mute.words in text
        ]
    else:
        acts = [mute.ended_by for mute in ledger.mutes if mute.ended_by and mute.words in incident.muted]
    return acts[-1] if acts else DETECTOR


def inform(ledger: Ledger, before: Incident | None, incident: Incident) -> Incident:
    """Tell those who should know what is new. `before` None: the incident is new, or comes back."""
    news = ledger.take_news(incident)
    if before is None and incident.told:
        incident = tell(ledger, incident, NoticeKind.RELAPSE, news)
    elif before is not None and incident.told:
        incident = _tell_change(ledger, before, incident, news)
    incident = open_channels(ledger, incident)
    if incident.severity >= Severity.HIGH and not (incident.summoned or incident.own or incident.hushed):
        incident = ledger.put(replace(incident, summoned=True, summoned_at=ledger.now))
        incident = tell(ledger, incident, NoticeKind.SUMMON, f"{incident.severity.value}: owner and manager are asked to join")
    return _note_stale(ledger, escalate(ledger, incident))


def find_due(ledger: Ledger, incident: Incident, moments: Sequence[float]) -> float | None:
    """The next moment at which something follows from time alone."""
    due = [*moments]
    if not incident.muted:
        customer = find_customer_due(ledger, incident)
        if customer is not None:
            due.append(customer)
        if incident.told and incident.updated is not None and ledger.paging.update_every_seconds:
            due.append(incident.updated + ledger.paging.update_every_seconds)
        due.append(_find_growth_due(incident))
        escalation = find_escalation_due(ledger, incident)
        if escalation is not None:
            due.append(escalation)
        if not incident.stale:
            due += [_find_stale(alert) for alert in _list_unknown(incident)]
    settle_end = find_settle_end(incident, ledger.now)
    if settle_end is not None:
        due.append(settle_end)
    ahead = [moment for moment in due if ledger.now < moment < inf]
    return min(ahead, default=None)


def _tell_change(ledger: Ledger, before: Incident, incident: Incident, news: str) -> Incident:
    if incident.severity > before.severity:
        return tell(ledger, incident, NoticeKind.RISE, news)
    if news:
        return tell(ledger, incident, NoticeKind.UPDATE, news)
    if _find_growth_due(incident) <= ledger.now:
        return tell(ledger, ledger.put(replace(incident, unsaid_since=None)), NoticeKind.UPDATE, incident.summary, to_all=True)
    every = ledger.paging.update_every_seconds
    if every and incident.updated is not None and ledger.now >= incident.updated + every:
        ledger.say(incident, "reminder", f"no update for {format_wait(every)}")
        waited = format_wait(ledger.now - incident.detected)
        return tell(ledger, incident, NoticeKind.REMINDER, f"still {incident.status.value} after {waited}")
    return incident


def _find_growth_due(incident: Incident) -> float:
    """When it is told that a storm has grown, once a minute at the most; never where it has not."""
    return inf if incident.unsaid_since is None else incident.unsaid_since + GROWTH_SECONDS


def _note_stale(ledger: Ledger, incident: Incident) -> Incident:
    """Say once that nothing could be judged for `stale_after`, and ask a human; forget it when something can be again."""
    unknown = _list_unknown(incident)
    stale = any(_find_stale(alert) <= ledger.now for alert in unknown)
    if stale == incident.stale:
        return incident
    incident = ledger.put(replace(incident, stale=stale))
    if not stale:
        return incident
    waited = format_duration(unknown[0].stale_after_seconds)
    text = f"stale: nothing could be judged for {waited} ({unknown[0].unknown}); please look, and resolve it by hand if it is over"
    ledger.say(incident, "stale", text)
    return tell(ledger, incident, NoticeKind.UPDATE, text)


def _list_unknown(incident: Incident) -> list[JoinedAlert]:
    return [alert for alert in incident.alerts.values() if alert.firing and alert.unknown_since is not None]


def _find_stale(alert: JoinedAlert) -> float:
    """A target that vanished is first given the evaluation that may find it gone, which says more than "stale"."""
    return (alert.unknown_since or 0.0) + alert.stale_after_seconds + alert.gone_wait_seconds


def label_alert(incident: Incident, alert: JoinedAlert) -> dict[str, str]:
    """What matchers see of an alert: rule (as `alertname` too), service and severity, the rule's labels, its own."""
    named = {"rule": alert.rule, "alertname": alert.rule, "service": alert.service, "severity": alert.severity.value}
    return {**named, **incident.rule_labels, **dict(alert.labels)}
