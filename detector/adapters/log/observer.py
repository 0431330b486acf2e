"""Tells what the daemon does, one line an event: every transition, every change of an incident, every delivery, every fault.

A rule that fails the same way at each evaluation is told of when that begins or changes, every five minutes, and when it ends. One
that misses slots is told of at the first, then every five minutes with their number since.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from detector.adapters.log.stream import get_logger
from detector.domain.alert import Change, Transition
from detector.domain.label import format_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.domain.incident import Decision, Incident
    from detector.domain.rule import Rule
    from detector.ports.store import Backlog, Delivery

REPEAT_SECONDS = 300.0
_LOUD = {Change.FIRED, Change.ROSE, Change.UNKNOWN, Change.ABSENT}
_PHASES = {
    Change.PENDING: ("inactive", "pending"),
    Change.CLEARED: ("pending", "inactive"),
    Change.FIRED: ("pending", "firing"),
    Change.ENDED: ("firing", "inactive"),
}


class LogObserver:
    """Implements ports.observer.Observer with log lines."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = get_logger("detector").bind()  # once, not at every line that nobody wants to read
        self._monotonic = monotonic
        self._told: dict[tuple[str, str], tuple[str, float]] = {}
        self._missed: dict[str, tuple[float, int]] = {}

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """One line a load."""
        self._log.info("last good rules loaded" if at is None else "rules loaded", rules=len(rules))

    def rules_refused(self, findings: Sequence[str]) -> None:
        """One line a finding."""
        for finding in findings:
            self._log.error("rules refused", finding=finding)

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """Failures, rarely; the first success after one."""
        self._log.debug("evaluated", rule=rule, outcome=outcome, seconds=round(seconds, 3), detail=detail)
        key = ("evaluation", rule)
        if outcome == "error":
            if self._is_news(key, detail, at):
                self._log.warning("evaluation failed", rule=rule, detail=detail)
        elif self._told.pop(key, None) is not None:
            self._log.info("evaluation works again", rule=rule, outcome=outcome)

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """One line for all of them."""
        self._log.debug("evaluated", rules=len(rules), outcome="ok", seconds=round(seconds, 3), at=at)

    def slots_missed(self, rule: str, count: int) -> None:
        """At the first, then every five minutes with those that were missed since."""
        told_at, waiting = self._missed.get(rule, (float("-inf"), 0))
        if self._monotonic() - told_at < REPEAT_SECONDS:
            self._missed[rule] = (told_at, waiting + count)
            return
        self._missed[rule] = (self._monotonic(), 0)
        self._log.warning("slots missed", rule=rule, count=waiting + count)

    def query_done(self, seconds: float, failure: str | None) -> None:
        """Told by the rule's evaluation."""

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Counted, not told."""

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """One line a transition."""
        for transition in transitions:
            self._tell_transition(transition)

    def decision_committed(self, decision: Decision) -> None:
        """One line an event of a timeline, one a notice."""
        severities = {incident.id: incident for incident in decision.incidents}
        for event in decision.events:
            incident = severities.get(event.incident)
            self._log.info(
                "incident",
                incident=event.incident,
                kind=event.kind,
                actor=event.actor,
                message=event.message,
                at=event.at,
                **({} if incident is None else {"service": incident.service, "status": incident.status.value}),
                **({} if incident is None else {"severity": incident.severity.value}),
            )
        for notice in decision.notices:
            self._log.info(
                "notice queued",
                notice=notice.id,
                incident=notice.incident,
                kind=notice.kind.value,
                channel=notice.channel,
                key=notice.key,
            )

    def incidents_counted(self, incidents: Iterable[Incident]) -> None:
        """Counted, not told."""

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """One line an attempt; a retry that fails as the last one did is told every five minutes."""
        key = ("delivery", delivery.id)
        if outcome == "retried" and not self._is_news(key, detail, at):
            return
        if outcome != "retried":
            self._told.pop(key, None)
        tell = self._log.info if outcome in {"accepted", "collapsed"} else self._log.warning
        tell(
            "notice " + outcome,
            notice=delivery.id,
            incident=delivery.incident,
            kind=delivery.kind.value,
            channel=delivery.channel,
            route=delivery.route,
            key=delivery.key,
            attempts=delivery.attempts,
            waited_seconds=round(at - delivery.created, 3),
            **({"detail": detail} if detail else {}),
        )

    def backlog_seen(self, backlog: Mapping[str, Backlog], at: float) -> None:
        """Counted, not told."""

    def trouble(self, what: str, detail: str) -> None:
        """One line."""
        self._log.error("trouble", what=what, detail=detail)

    def page_cut(self, part: str) -> None:
        """One line."""
        self._log.info("page cut to PagerDuty's limits", part=part)

    def note(self, event: str, **facts: object) -> None:
        """One line."""
        self._log.info(event, **facts)

    def _is_news(self, key: tuple[str, str], detail: str, at: float) -> bool:
        told = self._told.get(key)
        if told is not None and told[0] == detail and 0 <= at - told[1] < REPEAT_SECONDS:
            return False
        self._told[key] = (detail, at)
        return True

    def _tell_transition(self, transition: Transition) -> None:
        state = transition.state
        track = state.signals.get(state.signal) if state.signal else None
        before, after = _PHASES.get(transition.change, (state.phase.value, state.phase.value))
        tell = self._log.warning if transition.change in _LOUD else self._log.info
        tell(
            "transition",
            rule=transition.rule,
            service=transition.service,
            labels=format_labels(transition.labels),
            change=transition.change.value,
            before=before,
            after=after,
            severity=state.severity.value if state.severity else None,
            signal=state.signal,
            value=track.value if track else None,
            threshold=state.threshold,
            at=transition.at,
            **({"reason": transition.reason} if transition.reason else {}),
        )
