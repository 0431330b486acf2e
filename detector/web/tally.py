"""Evaluations that found nothing, added up until somebody looks: thousands of rules at rest cost a slot next to nothing.

Before it: `metrics` hears of crowds of rules, the same ones at every slot. After it: their numbers, when a scrape asks for them or
when one of the rules is counted by itself, so that what is told of a rule keeps its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SLOTS = 100


@dataclass(slots=True)
class _Crowd:
    rules: Sequence[str]
    at: float
    seconds: list[float] = field(default_factory=list)


class Tally:
    """`count` takes the rules of a crowd, the seconds of each of their evaluations, and the slot of the last (unix seconds)."""

    def __init__(self, count: Callable[[Sequence[str], Sequence[float], float], None]) -> None:
        self._count = count
        self._crowds: dict[str, _Crowd] = {}
        self._members: set[str] = set()

    def add(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """One evaluation of each of them; `rules` is kept, and holds one at least."""
        crowd = self._crowds.get(rules[0])
        if crowd is None or crowd.rules != rules or len(crowd.seconds) >= MOST_SLOTS:
            if not self._members.isdisjoint(rules):
                self.settle()
            crowd = self._crowds[rules[0]] = _Crowd(rules, at)
            self._members.update(rules)
        crowd.seconds.append(seconds)
        crowd.at = at

    def settle_of(self, rule: str) -> None:
        """Count what is held, if it is of this rule too."""
        if rule in self._members:
            self.settle()

    def settle(self) -> None:
        """Count all that is held."""
        crowds = list(self._crowds.values())
        self._crowds.clear()
        self._members.clear()
        for crowd in crowds:
            self._count(crowd.rules, crowd.seconds, crowd.at)
