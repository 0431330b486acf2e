"""Step 3b of the path: open incidents and transitions in, changed incidents, timeline lines and notices out. Pure.

Called inside the store's transaction when a transition or an incident's timer is due. The shell commits what it returns; the
channels deliver the notices. An alert that fires opens an incident or joins the open one of its service; an incident has recovered
when every joined alert has; a resolved incident is watched, and an alert that fires again within the watch is a relapse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detector.domain.alert import Change, EndReason, Transition
from detector.domain.blind import BLIND_RULE
from detector.domain.catalogue import Catalogue
from detector.domain.incident import (
    BLIND_ID,
    Book,
    Decision,
    Incident,
    JoinedAlert,
    NoticeKind,
    Page,
    Status,
    name_incident,
    name_key,
)
from detector.domain.ledger import Ledger, Paging
from detector.domain.severity import Severity

REPAGE_AFTER_ACKNOWLEDGE_SECONDS = 1800.0
REPAGE_AFTER_HUMAN_RESOLVE_SECONDS = 900.0


def correlate(book: Book, transitions: Sequence[Transition], catalogue: Catalogue, paging: Paging, now: float) -> Decision:
    """Decide on transitions, in their order, then on the timers that are due at `now`."""
    ledger = Ledger(book, catalogue, paging, now)
    for transition in transitions:
        _apply(ledger, transition)
    for incident in list(ledger.incidents()):
        if incident.due is not None and incident.due <= now:
            _run_timers(ledger, incident)
    return ledger.decide()


def _apply(ledger: Ledger, transition: Transition) -> None:
    match transition.change:
        case Change.PENDING | Change.CLEARED:
            return
        case Change.FIRED | Change.ABSENT:
            _begin(ledger, transition)
        case Change.ENDED | Change.PRESENT:
            _end(ledger, transition)
        case Change.ROSE | Change.FELL:
            _change_severity(ledger, transition)
        case Change.UNKNOWN | Change.KNOWN:
            _note_unknown(ledger, transition)


def _begin(ledger: Ledger, transition: Transition) -> None:
    """An alert fires: it comes back into its incident, joins the open one of its service, or opens its own."""
    alert = _make_alert(transition)
    known = _find_by_alert(ledger, alert)
    if known is not None:
        if known.alerts[alert.key].firing:
            return
        if known.status.active:
            ledger.say(known, "fired", f"{alert.rule} fires again: {alert.summary}", at=transition.at)
            _refresh(ledger, known, replace(known, alerts={**known.alerts, alert.key: alert}))
        else:
            _relapse(ledger, known, alert)
        return
    open_one = next(
        (
            incident
            for incident in ledger.incidents()
            if incident.status.active
            and incident.service == alert.service
            and incident.join == transition.join
            and incident.id != BLIND_ID
        ),
        None,
    )
    if open_one is not None and transition.rule != BLIND_RULE:
        _join(ledger, open_one, alert)
        return
    _open(ledger, transition, alert)


def _make_alert(transition: Transition) -> JoinedAlert:
    absent = transition.change is Change.ABSENT
    state = transition.state
    return JoinedAlert(
        rule=transition.rule,
        labels=transition.labels,
        service=transition.service,
        severity=Severity.HIGH if absent else state.severity or Severity.MEDIUM,
        breached=transition.at - (state.missing_seconds or 0.0) if absent else state.breached or transition.at,
        fired=transition.at,
        absent=absent,
        summary=f"{transition.service}: no data" if absent else transition.summary,
        condition="" if absent else transition.open_text,
        signal=None if absent else state.signal,
        threshold=None if absent else state.threshold,
        blocked=() if absent else state.blocked,
        signals={} if absent else state.signals,
        links=transition.links,
        demote_after_seconds=transition.demote_after_seconds,
    )


def _open(ledger: Ledger, transition: Transition, alert: JoinedAlert) -> None:
    identity = BLIND_ID if transition.rule == BLIND_RULE else name_incident(alert.rule, alert.labels, alert.breached)
    incident = Incident(
        id=identity,
        episode=1,
        status=Status.OPEN,
        severity=alert.severity,
        peak_severity=alert.severity,
        service=alert.service,
        services=(alert.service,),
        rules=(alert.rule,),
        labels=alert.labels,
        opened=alert.breached,
        detected=transition.at,
        summary=alert.summary,
        alerts={alert.key: alert},
        join=transition.join,
        watch_seconds=transition.watch_seconds,
        rule_labels=transition.rule_labels,
        links=transition.links,
    )
    ledger.say(incident, "breach", f"first breach seen by {alert.rule}{_describe_breach(alert)}", at=alert.breached)
    ledger.say(incident, "opened", f"opened as {alert.severity.value}: {alert.summary}")
    _page(ledger, None, incident)


def _join(ledger: Ledger, incident: Incident, alert: JoinedAlert) -> None:
    ledger.say(incident, "joined", f"{alert.rule} joined{_describe_breach(alert)}: {alert.summary}")
    joined = replace(incident, alerts={**incident.alerts, alert.key: alert}, opened=min(incident.opened, alert.breached))
    _refresh(ledger, incident, joined)


def _relapse(ledger: Ledger, incident: Incident, alert: JoinedAlert) -> None:
    """The same incident, its next episode, new keys: a trigger after a resolve would open another alert anyway."""
    again = replace(
        incident,
        episode=incident.episode + 1,
        status=Status.OPEN,
        severity=alert.severity,
        peak_severity=max(incident.peak_severity, alert.severity),
        alerts={**incident.alerts, alert.key: alert},
        opened=alert.breached if incident.status is Status.CLOSED else incident.opened,
        acknowledged=None,
        acknowledged_by="",
        resolved=None,
        closed=None,
        end_reason="",
        relapses=(*incident.relapses, ledger.now),
        due=None,
    )
    ledger.say(again, "relapse", f"relapse, episode {again.episode}: {alert.summary}{_describe_breach(alert)}")
    _page(ledger, None, again, NoticeKind.RELAPSE)


def _end(ledger: Ledger, transition: Transition) -> None:
    key = replace(_make_alert(transition), absent=transition.change is Change.PRESENT).key
    for incident in list(ledger.incidents()):
        alert = incident.alerts.get(key)
        if alert is None or not alert.firing:
            continue
        signals = alert.signals if alert.absent else transition.state.signals or alert.signals
        ended = replace(alert, ended=transition.at, ended_reason=transition.reason, signals=signals)
        ledger.say(incident, "ended", f"{alert.rule} ended ({transition.reason}){_describe_recovery(ended)}", at=transition.at)
        _refresh(ledger, incident, replace(incident, alerts={**incident.alerts, key: ended}), transition.reason)


def _change_severity(ledger: Ledger, transition: Transition) -> None:
    key = _make_alert(transition).key
    for incident in list(ledger.incidents()):
        alert = incident.alerts.get(key)
        if alert is None or not alert.firing:
            continue
        state = transition.state
        changed = replace(
            alert,
            severity=state.severity or alert.severity,
            blocked=state.blocked,
            signals=state.signals,
            signal=state.signal,
            threshold=state.threshold,
        )
        _refresh(ledger, incident, replace(incident, alerts={**incident.alerts, key: changed}))


def _note_unknown(ledger: Ledger, transition: Transition) -> None:
    key = _make_alert(transition).key
    for incident in ledger.incidents():
        alert = incident.alerts.get(key)
        if alert is not None and alert.firing:
            known = transition.change is Change.KNOWN
            ledger.say(
                incident,
                transition.change.value,
                f"{alert.rule} can be judged again"
                if known
                else f"{alert.rule} cannot be judged ({transition.reason}); state kept",
                at=transition.at,
            )


def _refresh(ledger: Ledger, before: Incident, after: Incident, reason: str = "") -> None:
    """Recompute what follows from the alerts: services, rules, severity, the end, the timers, the pages."""
    alerts = after.alerts.values()
    counting = [alert for alert in alerts if _counts(alert, ledger.now)]
    severity = max((alert.severity for alert in counting), default=before.severity)
    after = replace(
        after,
        services=tuple(dict.fromkeys([after.service, *(alert.service for alert in alerts)])),
        rules=tuple(dict.fromkeys(alert.rule for alert in alerts)),
        severity=severity,
        peak_severity=max(after.peak_severity, severity),
        due=min((end for alert in alerts if (end := _lingers_until(alert)) is not None and end > ledger.now), default=None),
    )
    if severity != before.severity:
        ledger.say(after, "severity", f"severity {before.severity.value} -> {severity.value}")
    if after.status.active and not any(alert.firing for alert in alerts):
        _resolve(ledger, after, reason or EndReason.RECOVERED.value)
    elif after.status.active:
        _page(ledger, before, after)
    else:
        ledger.put(replace(after, due=before.due))


def _counts(alert: JoinedAlert, now: float) -> bool:
    """An ended alert still counts for `demote_after`, so that severity never falls early."""
    until = _lingers_until(alert)
    return until is None or now < until


def _lingers_until(alert: JoinedAlert) -> float | None:
    return None if alert.ended is None else alert.ended + alert.demote_after_seconds


def _resolve(ledger: Ledger, incident: Incident, reason: str) -> None:
    resolved = replace(
        incident, status=Status.RESOLVED, resolved=ledger.now, end_reason=reason, due=ledger.now + incident.watch_seconds
    )
    ledger.say(resolved, "resolved", f"resolved ({reason}){_describe_end(resolved)}")
    close_pages(ledger, resolved)


def close_pages(ledger: Ledger, incident: Incident) -> Incident:
    """Queue a resolve for every key that was opened and not yet closed."""
    incident = ledger.put(incident)
    for page in incident.pages:
        if not page.closed:
            incident = ledger.page(incident, NoticeKind.RESOLVE, replace(page, closed=True))
    return incident


def _page(ledger: Ledger, before: Incident | None, incident: Incident, kind: NoticeKind = NoticeKind.TRIGGER) -> None:
    """Queue the triggers that the incident's severity and services ask for."""
    incident = ledger.put(incident)
    if not ledger.paging.pagerduty or incident.severity < ledger.paging.page_from:
        return
    risen = before is not None and incident.severity > before.severity
    crossed = risen and before is not None and before.severity <= Severity.MEDIUM and incident.severity >= Severity.HIGH
    asleep = (
        before is not None
        and len(incident.alerts) > len(before.alerts)
        and incident.acknowledged is not None
        and ledger.now - incident.acknowledged > REPAGE_AFTER_ACKNOWLEDGE_SECONDS
    )
    for route in _list_routes(ledger, incident):
        open_pages = [page for page in incident.pages if page.route == route and not page.closed]
        number = 1 + sum(
            page.route == route and page.key.startswith(f"{incident.id}:{incident.episode}:") for page in incident.pages
        )
        fresh = Page(route, name_key(incident.id, incident.episode, route, number), ledger.now, incident.severity)
        if not open_pages:
            incident = ledger.page(incident, kind, fresh)
        elif (crossed and ledger.paging.on_rise_new_key) or asleep:
            incident = ledger.page(incident, NoticeKind.RISE, fresh)
        elif risen:
            incident = ledger.page(incident, NoticeKind.RISE, replace(open_pages[-1], severity=incident.severity))


def _list_routes(ledger: Ledger, incident: Incident) -> list[str]:
    """Routing key names of the services whose alerts fire, the incident's own first."""
    services = [incident.service, *(alert.service for alert in incident.alerts.values() if alert.firing)]
    return list(dict.fromkeys(ledger.catalogue.find(service).pagerduty for service in services))


def _run_timers(ledger: Ledger, incident: Incident) -> None:
    firing = any(alert.firing for alert in incident.alerts.values())
    if incident.status.active:
        _refresh(ledger, incident, incident)
    elif firing and incident.status is Status.RESOLVED:
        lead = max((alert for alert in incident.alerts.values() if alert.firing), key=lambda alert: alert.severity)
        ledger.say(incident, "still firing", "resolved by hand, and still firing after 15 min")
        _relapse(ledger, incident, lead)
    elif incident.resolved is not None and ledger.now < incident.resolved + incident.watch_seconds:
        ledger.put(replace(incident, due=incident.resolved + incident.watch_seconds))
    else:
        closed = replace(incident, status=Status.CLOSED, closed=ledger.now, due=None)
        ledger.say(closed, "closed", "closed: the watch passed without a relapse")
        ledger.put(closed)


def _find_by_alert(ledger: Ledger, alert: JoinedAlert) -> Incident | None:
    """The incident that holds the alert: the active one before the one still watched, the latest first.

    The book holds closed incidents only where their id is fixed: those come back as their next episode.
    """
    holding = [incident for incident in ledger.incidents() if alert.key in incident.alerts]
    return max(holding, key=lambda incident: (incident.status.active, incident.detected, incident.id), default=None)


def _describe_breach(alert: JoinedAlert) -> str:
    track = alert.signals.get(alert.signal or "")
    if track is None or track.value is None:
        return ""
    bound = "" if alert.threshold is None else f", threshold {alert.threshold:g}"
    return f" ({alert.signal} {track.value:.6g}{bound})"


def _describe_recovery(alert: JoinedAlert) -> str:
    track = alert.signals.get(alert.signal or "")
    if track is None or track.at_recovery is None:
        return ""
    peak = "" if track.peak is None else f", peak {track.peak:.6g}"
    return f" ({alert.signal} {track.at_recovery:.6g} at recovery{peak})"


def _describe_end(incident: Incident) -> str:
    texts = [_describe_recovery(alert) for alert in incident.alerts.values() if not alert.absent]
    return next((text for text in texts if text), "")
