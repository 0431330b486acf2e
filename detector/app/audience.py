"""Joins several observers into one: metrics and logs hear the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detector.domain.alert import Transition
    from detector.domain.incident import Decision, Incident
    from detector.domain.rule import Rule
    from detector.ports.observer import Observer
    from detector.ports.store import Backlog, Delivery


class Audience:
    """Implements ports.observer.Observer by telling each of its observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.rules_loaded(rules, at)

    def rules_refused(self, findings: Sequence[str]) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.rules_refused(findings)

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.rule_evaluated(rule, outcome, seconds, at, detail)

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.rules_rested(rules, seconds, at)

    def slots_missed(self, rule: str, count: int) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.slots_missed(rule, count)

    def query_done(self, seconds: float, failure: str | None) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.query_done(seconds, failure)

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.alerts_counted(rule, counts)

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """Tell each."""
        seen = tuple(transitions)
        for observer in self._observers:
            observer.transitions_seen(seen)

    def decision_committed(self, decision: Decision) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.decision_committed(decision)

    def incidents_counted(self, incidents: Iterable[Incident]) -> None:
        """Tell each."""
        counted = tuple(incidents)
        for observer in self._observers:
            observer.incidents_counted(counted)

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.delivery_ended(delivery, outcome, at, detail)

    def backlog_seen(self, backlog: Mapping[str, Backlog], at: float) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.backlog_seen(backlog, at)

    def page_cut(self, part: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.page_cut(part)

    def trouble(self, what: str, detail: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.trouble(what, detail)

    def note(self, event: str, **facts: object) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.note(event, **facts)
