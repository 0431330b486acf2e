"""How rules fared over the last day, at a bounded number of moments: whether `recover` held, and whether any series was there.

Before it: `detector check --prometheus`, with rules that load. After it: a warning where an incident would hardly ever end,
or never begin. Each moment is judged as the daemon judges it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.norm import cut_alerts
from detector.app.stretch import PastError, Stretch
from detector.domain.alert import AlertState
from detector.domain.baseline import read_baselines
from detector.domain.judgement import Evaluation, judge_open, judge_recovery
from detector.domain.label import Labels
from detector.domain.reading import plan_queries, read_signals
from detector.domain.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.domain.catalogue import Catalogue
    from detector.ports.source import PastSource

MOMENTS = 48
STEP_SECONDS = 1800.0
LEAST_MOMENTS = 6  # an alert that was seen more seldom has no day to speak of
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Fare:
    """What was seen of one rule. `held` and `seen`: by alert, at how many moments `recover` held, of how many with a series."""

    rule: Rule
    held: Counter[Labels]
    seen: Counter[Labels]

    @property
    def stuck(self) -> list[Labels]:
        """Alerts whose `recover` held less than half of the time, the worst first."""
        judged = [labels for labels, seen in self.seen.items() if seen >= LEAST_MOMENTS]
        return sorted((labels for labels in judged if self._share(labels) < SHARE), key=lambda each: (self._share(each), each))

    def _share(self, labels: Labels) -> float:
        return self.held[labels] / self.seen[labels]


async def audit_rules(rules: Iterable[Rule], catalogue: Catalogue, source: PastSource, now: float) -> list[Fare]:
    """Look at each rule whose conditions are its own; one whose queries fail is left out."""
    stretch = Stretch(source, now - (MOMENTS - 1) * STEP_SECONDS, MOMENTS, STEP_SECONDS)
    found = []
    for rule in rules:
        if rule.vector:
            continue
        try:
            found.append(await _audit(rule, catalogue, stretch))
        except PastError:
            continue
    return found


async def _audit(rule: Rule, catalogue: Catalogue, stretch: Stretch) -> Fare:
    await stretch.load([rule])
    norm = await stretch.load_baselines(rule) if rule.baselines else None
    fare = Fare(rule, Counter(), Counter())
    for step in range(stretch.count):
        readings = read_signals(
            rule, cut_alerts(rule, {query: stretch.plain(rule, query) for query in plan_queries(rule)}, step, None)
        )
        baselines = {} if norm is None else read_baselines(rule, norm.answer(step, readings.keys))
        evaluation = Evaluation(rule, catalogue, readings, stretch.time_of(step), baselines=baselines)
        for labels in readings.keys:
            policy, state = rule.policy_for(labels), AlertState(labels)
            fare.seen[labels] += 1
            if not judge_open(evaluation, policy, labels, state).missing and judge_recovery(evaluation, policy, labels, state):
                fare.held[labels] += 1
    return fare
