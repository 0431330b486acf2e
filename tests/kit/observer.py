"""An observer that remembers what it was told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detector.domain.alert import Transition
    from detector.domain.incident import Decision, Incident
    from detector.domain.rule import Rule
    from detector.ports.store import Backlog, Delivery


class RecordingObserver:
    """The port `Observer`; deliveries and troubles are kept, the rest is ignored."""

    def __init__(self) -> None:
        self.ended: list[tuple[Delivery, str, float, str]] = []
        self.troubles: list[tuple[str, str]] = []

    @property
    def outcomes(self) -> Counter[str]:
        """How many attempts ended how."""
        return Counter(outcome for _, outcome, _, _ in self.ended)

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """Ignored."""

    def rules_refused(self, findings: Sequence[str]) -> None:
        """Ignored."""

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """Ignored."""

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """Ignored."""

    def page_cut(self, part: str) -> None:
        """Ignored."""

    def slots_missed(self, rule: str, count: int) -> None:
        """Ignored."""

    def query_done(self, seconds: float, failure: str | None) -> None:
        """Ignored."""

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Ignored."""

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """Ignored."""

    def decision_committed(self, decision: Decision) -> None:
        """Ignored."""

    def incidents_counted(self, incidents: Iterable[Incident]) -> None:
        """Ignored."""

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """Kept."""
        self.ended.append((delivery, outcome, at, detail))

    def backlog_seen(self, backlog: Mapping[str, Backlog], at: float) -> None:
        """Ignored."""

    def trouble(self, what: str, detail: str) -> None:
        """Kept."""
        self.troubles.append((what, detail))

    def note(self, event: str, **facts: object) -> None:
        """Ignored."""
