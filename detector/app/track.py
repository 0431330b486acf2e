"""One rule in memory: its alert states, and which of their rows in the store are behind. The roster holds one for each rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.app.trail import Trail
from detector.domain.alert import AlertState, Phase, RuleProgress
from detector.domain.blind import RuleHealth
from detector.domain.label import Labels
from detector.domain.reading import Plan
from detector.ports.store import AlertRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_PENDING, _FIRING = Phase.PENDING.value, Phase.FIRING.value


def deserves_row(state: AlertState) -> bool:
    """Whether a restart must know of the alert: it is not at rest, is missing, or ended and may relapse."""
    return state.phase is not Phase.INACTIVE or state.ended is not None or state.missing_seconds is not None or state.absent


@dataclass(slots=True)
class Track:
    """One rule in memory.

    `outcome`: of the last evaluation, or idle; it took `seconds`. `stored`: alerts that have a row. `dirty`: alerts whose row is
    behind. `orphaned`: monotonic seconds when the rule left the set. `plan`: what it asks, as it was asked last. `rested`: the plan
    under which it was last evaluated with nothing to judge.
    """

    name: str
    progress: RuleProgress
    states: dict[Labels, AlertState] = field(default_factory=dict)
    stored: set[Labels] = field(default_factory=set)
    dirty: set[Labels] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((phase.value for phase in Phase), 0))
    outcome: str = "idle"
    seconds: float = 0.0
    was_hot: bool = False
    progress_dirty: bool = False
    orphaned: float | None = None
    trail: Trail = field(default_factory=Trail)
    plan: Plan | None = None
    rested: Plan | None = None
    _health: RuleHealth = RuleHealth.IDLE
    _tally: Counter[RuleHealth] = field(default_factory=Counter)

    @property
    def health(self) -> RuleHealth:
        """Of the last evaluation."""
        return self._health

    @health.setter
    def health(self, health: RuleHealth) -> None:
        if health is not self._health:
            self._tally[self._health] -= 1
            self._tally[health] += 1
            self._health = health

    def count_in(self, tally: Counter[RuleHealth]) -> None:
        """Keep this tally of several rules' health from now on, which is asked after every evaluation of any of them."""
        self._tally[self._health] -= 1
        self._tally = tally
        tally[self._health] += 1

    @property
    def hot(self) -> bool:
        """Whether an alert is pending or firing."""
        return self.counts[_PENDING] + self.counts[_FIRING] > 0

    def records(self, changed: Mapping[Labels, AlertState], dropped: Iterable[Labels]) -> list[AlertRecord]:
        """The rows that these changes need: written where a restart must know, deleted where one exists in vain."""
        found = []
        for labels, state in changed.items():
            if deserves_row(state):
                found.append(AlertRecord(self.name, labels, state))
            elif labels in self.stored:
                found.append(AlertRecord(self.name, labels, None))
        found.extend(AlertRecord(self.name, labels, None) for labels in dropped if labels in self.stored)
        return found

    def swap(self, changed: Mapping[Labels, AlertState], dropped: Iterable[Labels]) -> None:
        """Make the changes the present; rows that this leaves behind are dirty."""
        for labels, state in changed.items():
            before = self.states.get(labels)
            if before is None:
                self.counts[state.phase.value] += 1
            elif before.phase is not state.phase:
                self.counts[before.phase.value] -= 1
                self.counts[state.phase.value] += 1
            self.states[labels] = state
            if labels in self.stored or deserves_row(state):
                self.dirty.add(labels)
        for labels in dropped:
            before = self.states.pop(labels, None)
            if before is not None:
                self.counts[before.phase.value] -= 1
            if labels in self.stored:
                self.dirty.add(labels)

    def mark_stored(self, records: Iterable[AlertRecord]) -> None:
        """These rows are written; an alert that has changed since stays dirty."""
        for record in records:
            if record.state is None:
                self.stored.discard(record.labels)
            else:
                self.stored.add(record.labels)
            now = self.states.get(record.labels)
            kept = now if now is not None and deserves_row(now) else None
            if kept is record.state:
                self.dirty.discard(record.labels)

    def behind(self) -> list[AlertRecord]:
        """Rows that are behind the present."""
        present = {labels: self.states[labels] for labels in self.dirty if labels in self.states}
        return self.records(present, self.dirty - present.keys())
