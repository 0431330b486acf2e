"""Step 3b of the path: open incidents and transitions in, changed incidents, timeline lines and notices out. Pure.

Called inside the store's transaction when a transition or an incident's timer is due. The shell commits what it returns; the
channels deliver the notices. An alert that fires opens an incident or joins the open one of its service; an incident has recovered
when every joined alert has; a resolved incident is watched, and an alert that fires again within the watch is a relapse.

Transitions are applied to the alerts first; then each incident they touched is settled once. So the order in which alerts of one
batch arrive changes neither severity nor who is paged, and a thousand alerts of one service cost one look at their incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from detector.domain.ailment import OWN_RULES
from detector.domain.alert import Change, Transition
from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue
from detector.domain.dependency import JOIN_WITHIN_SECONDS, find_related, link_back, list_dependencies, stand_together
from detector.domain.incident import (
    FIXED_IDS,
    Book,
    Decision,
    Incident,
    JoinedAlert,
    NoticeKind,
    Status,
    name_alert,
    name_incident,
)
from detector.domain.ledger import Ledger, Paging
from detector.domain.mute import Mute
from detector.domain.page import open_pages
from detector.domain.reception import is_received
from detector.domain.recovery import begin_verification, finish, list_verifications, needs_probes
from detector.domain.severity import Severity
from detector.domain.storm import fold, leave_storm, settle_storms
from detector.domain.ticket import describe_breach, describe_recovery
from detector.domain.watch import FLAPPING_RELAPSES, FLAPPING_WITHIN_SECONDS, describe_mute, find_due, find_muter, inform


def correlate(
    book: Book, transitions: Sequence[Transition], catalogue: Catalogue, paging: Paging, now: float, mutes: Sequence[Mute] = ()
) -> Decision:
    """Decide on transitions, then on the timers that are due at `now`."""
    ledger = Ledger(book, catalogue, paging, now, mutes)
    # Known alerts first: a relapse brings its incident back before a new alert of the service looks for one to join.
    for transition in sorted(transitions, key=lambda transition: not ledger.find_by_alert(_name_alert(transition))):
        _apply(ledger, transition)
    settle_storms(ledger)
    _settle_touched(ledger)
    for incident in ledger.incidents():
        if incident.due is not None and incident.due <= now:
            _run_timer(ledger, incident)
        elif incident.status.active and (mutes or incident.muted) and describe_mute(ledger, incident)[0] != incident.muted:
            ledger.touch(incident)
    _settle_touched(ledger)
    settle_storms(ledger)
    _settle_touched(ledger)
    return ledger.decide()


def _apply(ledger: Ledger, transition: Transition) -> None:
    match transition.change:
        case Change.PENDING | Change.CLEARED:
            return
        case Change.FIRED | Change.ABSENT:
            _begin(ledger, transition)
        case Change.ENDED | Change.PRESENT:
            _end(ledger, transition)
        case Change.ROSE | Change.FELL | Change.SETTLED:
            _change_severity(ledger, transition)
        case Change.UNKNOWN | Change.KNOWN:
            _note_unknown(ledger, transition)


def _begin(ledger: Ledger, transition: Transition) -> None:
    """An alert fires: it comes back into its incident, joins the open one of its service, or opens its own."""
    alert = _make_alert(transition)
    holding = ledger.find_by_alert(alert.key)
    if holding:  # the active one before the one still watched, the latest first; closed ones are here only if their id is fixed
        _begin_again(ledger, max(reversed(holding), key=lambda incident: incident.status.active), alert)
        return
    incident = _find_to_join(ledger, transition, alert)
    if incident is None:
        _open(ledger, transition, alert)
        return
    text = f"{alert.rule} joined{describe_breach(alert)}: {alert.summary}"
    ledger.touch(incident)
    ledger.say(incident, "joined", text)
    ledger.add_news(incident, text)
    ledger.hold(replace(incident, opened=min(incident.opened, alert.breached)), alert)


def _find_to_join(ledger: Ledger, transition: Transition, alert: JoinedAlert) -> Incident | None:
    """The open incident of the alert's service; else that of something it depends on, begun lately and at least as severe."""
    if transition.rule in FIXED_IDS:
        return None
    own = transition.rule in OWN_RULES
    for incident in ledger.find_by_service(alert.service):
        alike = incident.join == transition.join and incident.own is own and incident.id not in FIXED_IDS
        if incident.status.active and alike and not incident.route:
            return incident
    for service in list_dependencies(ledger.catalogue, alert.service):
        for incident in ledger.find_by_service(service):
            lately = ledger.now - incident.detected <= JOIN_WITHIN_SECONDS
            firing = incident.service == service and incident.status.active and not incident.own
            here = firing and lately and stand_together(transition.join, incident.join)
            if here and incident.severity >= alert.severity:
                return incident
    return None


def _begin_again(ledger: Ledger, incident: Incident, alert: JoinedAlert) -> None:
    known = incident.alerts[alert.key]
    over = known.ended is not None and alert.fired <= known.ended and alert.breached == known.breached
    if known.firing or over or (known.fired, known.breached) == (alert.fired, alert.breached):
        return  # told twice, perhaps by two replicas, of which one was cut off meanwhile
    if not incident.status.active:
        _relapse(ledger, incident, alert)
        return
    ledger.touch(incident)
    ledger.say(incident, "fired", f"{alert.rule} fires again: {alert.summary}", at=alert.fired)
    held = [severity for severity, _ in _list_severities(incident, known, ledger.now)]
    if held:  # none where it ended in an earlier episode, though it may have been a moment ago
        until = _linger(known)
        alert = replace(alert, held_severity=max(held), held_until=max(until, known.held_until or until))
    ledger.hold(incident, alert)


def _make_alert(transition: Transition) -> JoinedAlert:
    absent = transition.change is Change.ABSENT
    state = transition.state
    return JoinedAlert(
        rule=transition.rule,
        labels=transition.labels,
        service=transition.service,
        severity=Severity.HIGH if absent else state.severity or Severity.MEDIUM,
        breached=_find_breach(transition),
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
        stale_after_seconds=transition.stale_after_seconds,
        settle_by=transition.settle_by,
    )


def _find_breach(transition: Transition) -> float:
    state = transition.state
    if transition.change is Change.ABSENT:
        return transition.at - (state.missing_seconds or 0.0)
    return transition.at if state.breached is None else state.breached


def _open(ledger: Ledger, transition: Transition, alert: JoinedAlert) -> None:
    identity = transition.rule if transition.rule in FIXED_IDS else name_incident(alert.rule, alert.labels, alert.breached)
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
        join=transition.join,
        watch_seconds=transition.watch_seconds,
        rule_labels=transition.rule_labels,
        links=transition.links,
    )
    incident = replace(incident, see_also=find_related(ledger, incident), verifications=list_verifications(ledger, incident))
    ledger.touch(incident, anew=True)
    ledger.say(incident, "breach", f"first breach seen by {alert.rule}{describe_breach(alert)}", at=alert.breached)
    ledger.say(incident, "opened", f"opened as {alert.severity.value}: {alert.summary}")
    incident, _ = _mute(ledger, None, ledger.hold(incident, alert))
    ledger.note_new(incident)
    link_back(ledger, incident)
    fold(ledger, incident)


def _relapse(ledger: Ledger, incident: Incident, alert: JoinedAlert, *, repage: bool = False) -> None:
    """The same incident, its next episode, new keys: a trigger after a resolve would open another alert anyway.

    `repage`: it never ended; a human resolved it, and it pages once more whatever it did today.
    """
    if incident.status is Status.CLOSED:  # of a fixed id: another event of the same kind
        incident = replace(incident, opened=alert.breached, detected=ledger.now, summary=alert.summary, root_cause="")
    again = replace(
        incident,
        episode=incident.episode + 1,
        status=Status.OPEN,
        severity=alert.severity,
        summary=alert.summary if alert.service == incident.service else incident.summary,
        acknowledged=None,
        acknowledged_by="",
        resolved=None,
        closed=None,
        end_reason="",
        relapses=(*incident.relapses, ledger.now),
        due=None,
        state="investigating",
        eta="",
        summoned=False,
        summoned_at=None,
        escalations=0,
        stale=False,
        verifying=None,
        verifications=list_verifications(ledger, incident),
        checks=(),  # they told of the episode before
        suspects=(),
    )
    again = leave_storm(ledger, again)
    flapping = not repage and sum(ledger.now - at <= FLAPPING_WITHIN_SECONDS for at in again.relapses) >= FLAPPING_RELAPSES
    if flapping:
        again = replace(again, quiet=incident.peak_severity)
    word = "flapping" if flapping else "relapse"
    text = f"{word}, episode {again.episode}: {alert.summary}{describe_breach(alert)}"
    ledger.touch(again, anew=True)
    ledger.say(again, word, text)
    ledger.add_news(again, text)
    ledger.hold(again, alert)


def _end(ledger: Ledger, transition: Transition) -> None:
    for incident, alert in _find_firing(ledger, transition):
        if is_received(alert.rule) and transition.state.breached is not None and transition.state.breached < alert.breached:
            continue  # word of an earlier firing, which one of several replicas took and was late to write
        signals = alert.signals if alert.absent else transition.state.signals or alert.signals
        ended = replace(alert, ended=transition.at, ended_reason=transition.reason, signals=signals, unknown="")
        ledger.touch(incident)
        text = f"{alert.rule} ended ({transition.reason}){describe_recovery(ended)}"
        ledger.say(incident, "ended", text, at=transition.at)
        ledger.add_news(incident, text)
        ledger.hold(incident, ended)


def _change_severity(ledger: Ledger, transition: Transition) -> None:
    for incident, alert in _find_firing(ledger, transition):
        state = transition.state
        changed = replace(
            alert,
            severity=state.severity or alert.severity,
            blocked=state.blocked,
            signals=state.signals,
            signal=state.signal,
            threshold=state.threshold,
            settle_by=transition.settle_by,
        )
        ledger.touch(incident)
        if transition.change is Change.FELL or not transition.summary:
            ledger.hold(incident, changed)
            continue
        # the title of a page is what is true now, not what was at the first breach
        title = transition.summary if incident.summary == alert.summary else incident.summary
        ledger.hold(replace(incident, summary=title), replace(changed, summary=transition.summary))


def _note_unknown(ledger: Ledger, transition: Transition) -> None:
    why = "" if transition.change is Change.KNOWN else transition.reason
    for incident, alert in _find_firing(ledger, transition):
        if bool(alert.unknown) == bool(why):
            continue
        text = f"cannot be judged ({why}); state kept" if why else "can be judged again"
        ledger.say(incident, transition.change.value, f"{alert.rule} {text}", at=transition.at)
        ledger.touch(incident)
        since = transition.at if why else None
        ledger.hold(incident, replace(alert, unknown=why, unknown_since=since, gone_wait_seconds=transition.gone_wait_seconds))


def _find_firing(ledger: Ledger, transition: Transition) -> Iterator[tuple[Incident, JoinedAlert]]:
    """The alert that the transition tells of, in every incident where it fires."""
    key = _name_alert(transition)
    for incident in ledger.find_by_alert(key):
        if incident.alerts[key].firing:
            yield incident, incident.alerts[key]


def _name_alert(transition: Transition) -> str:
    return name_alert(transition.rule, transition.labels, absent=transition.change in {Change.ABSENT, Change.PRESENT})


def _settle_touched(ledger: Ledger) -> None:
    for before, incident in ledger.take_touched():
        if incident.status.active:
            _settle(ledger, before, incident)


def _settle(ledger: Ledger, before: Incident | None, incident: Incident) -> None:
    """Work out what follows from the alerts: services, rules, severity, the timer, the pages, the end."""
    alerts = incident.alerts.values()
    counting = [pair for alert in alerts for pair in _list_severities(incident, alert, ledger.now)]
    severity = max((severity for severity, _ in counting), default=incident.severity)
    settled = ledger.put(
        replace(
            incident,
            services=incident.services if incident.route else tuple(_list_services(incident)),
            rules=tuple(dict.fromkeys(alert.rule for alert in alerts)),
            severity=severity,
            peak_severity=max(incident.peak_severity, severity),
            verifying=None if any(alert.firing for alert in alerts) else incident.verifying,
        )
    )
    if severity != incident.severity:
        text = f"severity {incident.severity.value} -> {severity.value}"
        ledger.say(settled, "severity", text)
        ledger.add_news(settled, text)
    firing = any(alert.firing for alert in alerts)
    settled, unmute_at = _mute(ledger, before, settled)
    if firing and before is not None and before.muted and not settled.muted:
        before = _recall(before)
    if (firing or before is None) and not settled.muted:  # what begins and ends in one batch has begun: its channels hear of both
        settled = open_pages(ledger, before, settled)
        settled = inform(ledger, before, settled)
    if firing:
        ends = [until for _, until in counting if until is not None]
        ledger.put(replace(settled, due=find_due(ledger, settled, [*ends, *unmute_at])))
    elif needs_probes(ledger, settled):
        begin_verification(ledger, settled)
    else:
        finish(ledger, settled)


def _list_services(incident: Incident) -> Iterable[str]:
    return dict.fromkeys([incident.service, *(alert.service for alert in incident.alerts.values())])


def _list_severities(incident: Incident, alert: JoinedAlert, now: float) -> list[tuple[Severity, float | None]]:
    """Severities that count for the incident through this alert, and until when (None: while it fires).

    An ended alert still counts for `demote_after`, so that severity never falls early; not into a later episode.
    """
    if alert.firing:
        counting: list[tuple[Severity, float | None]] = [(alert.severity, None)]
    elif not incident.relapses or (alert.ended or 0.0) > incident.relapses[-1]:
        counting = [(alert.severity, _linger(alert))]
    else:
        return []
    if alert.held_severity is not None:
        counting.append((alert.held_severity, alert.held_until))
    return [(severity, until) for severity, until in counting if until is None or now < until]


def _linger(alert: JoinedAlert) -> float:
    return (alert.ended or 0.0) + alert.demote_after_seconds


def _mute(ledger: Ledger, before: Incident | None, incident: Incident) -> tuple[Incident, list[float]]:
    """Say when the incident becomes muted or is no longer; also when its mute ends. `before` as it was last settled."""
    text, ends = describe_mute(ledger, incident)
    if text and not incident.muted:
        ledger.say(incident, "muted", text, actor=find_muter(ledger, incident, text))
        incident = ledger.put(replace(incident, muted=text, muted_since=ledger.now, heard=before.severity if before else None))
    elif text != incident.muted:
        by = find_muter(ledger, incident, text)
        ledger.say(incident, "muted" if text else "unmuted", text or f"no longer muted: {incident.muted}", actor=by)
        if not text and any(alert.firing for alert in incident.alerts.values()):
            ledger.add_news(incident, f"no longer muted ({incident.muted}), still firing: {incident.summary}")
        incident = ledger.put(replace(incident, muted=text))
    return incident, [] if ends is None else [ends]


def _recall(before: Incident) -> Incident | None:
    """As it was when last heard of, so that what was withheld since counts as new; None: not heard of in this episode."""
    if before.heard is None or before.muted_since is None:
        return None
    known = {key: alert for key, alert in before.alerts.items() if alert.fired <= before.muted_since}
    return replace(before, severity=before.heard, alerts=known)


def _run_timer(ledger: Ledger, incident: Incident) -> None:
    firing = [alert for alert in incident.alerts.values() if alert.firing]
    if incident.status.active:
        ledger.touch(incident)
    elif firing and incident.status is Status.RESOLVED:
        ledger.say(incident, "still firing", "resolved by hand, and still firing after 15 min")
        _relapse(ledger, incident, max(firing, key=lambda alert: alert.severity), repage=True)
    elif incident.resolved is not None and ledger.now < incident.resolved + incident.watch_seconds:
        ledger.put(replace(incident, due=incident.resolved + incident.watch_seconds))
    else:
        closed = replace(incident, status=Status.CLOSED, closed=ledger.now, due=None)
        ledger.say(closed, "closed", "closed: the watch passed without a relapse")
        tell(ledger, ledger.put(closed), NoticeKind.CLOSE)
