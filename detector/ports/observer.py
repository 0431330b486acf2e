"""Who counts and measures: the application tells, metrics and logs listen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from detector.domain.alert import Transition
from detector.domain.incident import Decision, Incident
from detector.domain.rule import Rule
from detector.ports.store import Backlog, Delivery


class Observer(Protocol):
    """All methods return at once and never raise. Names mirror the metrics they feed (design: own metrics)."""

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """A good set runs from now on; every series of it exists at zero. `at` None: the last good one, the files being bad."""

    def rules_refused(self, findings: Sequence[str]) -> None:
        """A load had findings; the old set goes on."""

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """One evaluation ended: outcome ok, no_data or error."""

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """One evaluation of each of them ended ok, as the one before, and found nothing: no alert is known and none was read."""

    def slots_missed(self, rule: str, count: int) -> None:
        """Slots that were skipped because the last one was still running or the loop was late."""

    def query_done(self, seconds: float, failure: str | None) -> None:
        """One request to the source ended; `failure` is a FailureReason."""

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Alerts of the rule by phase."""

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """Every transition, once it is committed."""

    def decision_committed(self, decision: Decision) -> None:
        """Incidents, events and notices, once they are committed."""

    def incidents_counted(self, incidents: Iterable[Incident]) -> None:
        """The incidents that are not closed, after a commit."""

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """One attempt ended: accepted, retried, rejected or collapsed."""

    def backlog_seen(self, backlog: Mapping[str, Backlog], at: float) -> None:
        """Undelivered rows by channel."""

    def page_cut(self, part: str) -> None:
        """Something in a page was over PagerDuty's limits and was cut; `part` says what."""

    def trouble(self, what: str, detail: str) -> None:
        """Something failed that no other method tells of, e.g. a commit."""

    def note(self, event: str, **facts: object) -> None:
        """A plain log line."""
