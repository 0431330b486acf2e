"""Alerts and rules as Prometheus and Alertmanager would show them: read from the roster and the incidents in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.alert import Phase
from detector.domain.incident import name_alert
from detector.domain.reception import is_received
from detector.ports.wire import ShownAlert, ShownRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import JoinedAlert
    from detector.ports.clock import Clock
    from detector.ports.query import LiveAlert


class LiveExhibit:
    """Implements ports.wire.Exhibit."""

    def __init__(self, roster: Roster, committer: Committer, clock: Clock) -> None:
        self._roster = roster
        self._committer = committer
        self._clock = clock

    def now(self) -> float:
        """The moment, in unix seconds."""
        return self._clock.now()

    def alerts(self) -> list[ShownAlert]:
        """Every alert that is pending or firing, by rule and labels."""
        incidents = self._committer.book.incidents.values()
        joined = {key: alert for incident in incidents for key, alert in incident.alerts.items() if alert.firing}
        return [self._show(alert, joined) for alert in self._roster.live_alerts()]

    def rules(self) -> list[ShownRule]:
        """Every rule of the running set, in its order."""
        by_rule: dict[str, list[ShownAlert]] = {}
        for alert in self.alerts():
            by_rule.setdefault(alert.rule, []).append(alert)
        reports = self._roster.rule_reports()
        rules = self._roster.rules
        return [ShownRule(rule, report, by_rule.get(rule.name, [])) for rule, report in zip(rules, reports, strict=True)]

    def _show(self, live: LiveAlert, joined: Mapping[str, JoinedAlert]) -> ShownAlert:
        state, now = live.state, self._clock.now()
        labels, annotations = self._label(live), _annotate(live, joined.get(name_alert(live.rule, state.labels)))
        track = state.signals.get(state.signal or "")
        starts = state.breached if state.fired is None else state.fired
        if state.receipt is not None:
            starts = state.breached
        return ShownAlert(
            rule=live.rule,
            labels=labels,
            matched={"rule": live.rule, "alertname": live.rule, "service": live.service, **labels},
            annotations=annotations,
            firing=state.phase is Phase.FIRING,
            starts=now if starts is None else starts,
            updated=now if state.evaluated is None else state.evaluated,
            ends=None if state.receipt is None else state.receipt.ends,
            value=None if track is None else track.value,
            generator="" if state.receipt is None else state.receipt.generator,
            unknown=state.unknown,
        )

    def _label(self, live: LiveAlert) -> dict[str, str]:
        """A received alert keeps what its sender gave it; ours are named, and have what matchers see."""
        if is_received(live.rule):
            return dict(live.state.labels)
        rule = self._roster.rule(live.rule)
        given = {} if rule is None else rule.policy_for(live.state.labels).labels
        severity = {} if live.state.severity is None else {"severity": live.state.severity.value}
        return {"alertname": live.rule, "service": live.service, **severity, **given, **dict(live.state.labels)}


def _annotate(live: LiveAlert, joined: JoinedAlert | None) -> dict[str, str]:
    state = live.state
    if state.receipt is not None:
        told = dict(state.receipt.annotations)
    elif joined is not None:
        told = {"summary": joined.summary, **{f"{name}_url": link for name, link in joined.links.items()}}
    else:
        told = {}
    return told | ({"unknown": state.unknown} if state.unknown else {})
