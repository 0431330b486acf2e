"""Which alerts of a rule must be evaluated when, in one stretch of a past: everything else `advance` would leave as it is.

Before it: a loaded `stretch`. After it: `backtest` evaluates the moments that are named here, and goes on with every alert that is
not at rest. Why nothing is missed stands in `domain.quiet`; a rule that this does not cover is evaluated at every moment.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.domain.baseline import plan_baselines
from detector.domain.catalogue import Service
from detector.domain.judgement import BASELINE_SUFFIX
from detector.domain.label import Labels
from detector.domain.outcome import Matrix, Trace
from detector.domain.quiet import Bound, find_directions, names_baseline
from detector.domain.reading import divide, list_filled
from detector.domain.rule import Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.app.norm import Norm
    from detector.app.stretch import Stretch
    from detector.domain.catalogue import Catalogue
    from detector.domain.rule import Policy, Rule, Signal

_NOTHING = Trace()


@dataclass(slots=True)
class Survey:
    """One rule in one stretch.

    `present`: steps at which an alert's series is there, None for all steps. `waking`: alerts to evaluate by step. `crowded`: two
    series stand for one alert, which fails the whole rule where they meet, so that every alert is evaluated at every step.
    `openings`: steps at which an alert at rest may open; with `unbounded` every step.
    """

    present: dict[Labels, frozenset[int] | None] = field(default_factory=dict)
    waking: dict[int, list[Labels]] = field(default_factory=lambda: defaultdict(list))
    openings: set[int] = field(default_factory=set)
    crowded: bool = False
    unbounded: bool = False

    def is_present(self, labels: Labels, step: int) -> bool:
        """Whether the alert's series is there at that step."""
        if labels not in self.present:
            return False
        steps = self.present[labels]
        return steps is None or step in steps

    def mark(self, seen: bytearray) -> None:
        """Set the byte of every step at which the rule has a series."""
        for steps in self.present.values():
            if steps is None:
                seen[:] = b"\1" * len(seen)
                return
        for steps in self.present.values():
            for step in steps or ():
                seen[step] = 1


async def survey_rule(rule: Rule, catalogue: Catalogue, stretch: Stretch) -> Survey:
    """Survey a rule; loads its baselines where a breach cannot be ruled out without them."""
    plans = {query: stretch.plain(rule, query) for signal in rule.signals for query in list_filled(rule, signal)}
    survey = Survey(crowded=any(len(series) > 1 for matrix in plans.values() for series in matrix.index(rule.by).values()))
    for signal in rule.signals:
        _note_presence(survey, plans[list_filled(rule, signal)[-1]], rule, stretch.count)
    survey.unbounded = survey.crowded
    unsettled: list[tuple[Labels, Bound]] = []
    for labels in () if survey.crowded else survey.present:
        _note_edges(survey, labels, stretch.count)
        policy = rule.policy_for(labels)
        directions = find_directions(policy)
        if directions is None:
            survey.unbounded = True
            for step in range(1, stretch.count):
                survey.waking[step].append(labels)
            continue
        bound = Bound(policy.open, directions, _list_columns(rule, policy, plans, labels), _flags(rule, catalogue, labels))
        if _may_breach(bound):
            unsettled.append((labels, bound))
    if rule.baselines and (survey.unbounded or any(names_baseline(bound.condition) for _, bound in unsettled)):
        norm = await stretch.load_baselines(rule)
        unsettled = [(labels, _bind_baselines(rule, bound, labels, norm)) for labels, bound in unsettled]
    for labels, bound in unsettled:
        _note_breaches(survey, labels, bound, stretch.count)
    return survey


def _note_breaches(survey: Survey, labels: Labels, bound: Bound, count: int) -> None:
    if bound.judge_whole() is True:
        steps = survey.present[labels]
        for step in bound.list_breaches(range(count) if steps is None else sorted(steps)):
            survey.waking[step].append(labels)
            survey.openings.add(step)


def _may_breach(bound: Bound) -> bool:
    answer = bound.judge_whole()
    return answer is True or (answer is None and names_baseline(bound.condition))


def _note_presence(survey: Survey, matrix: Matrix, rule: Rule, count: int) -> None:
    for key, series in matrix.index(rule.by).items():
        for labels in series:
            trace = matrix.series[labels]
            if len(trace.values) + len(trace.undefined) == count:
                survey.present[key] = None
            else:
                known = survey.present.get(key, frozenset())
                survey.present[key] = None if known is None else known | trace.values.keys() | trace.undefined


def _note_edges(survey: Survey, labels: Labels, count: int) -> None:
    """Every coming and going of the series, and the first step: what came before it is not known here."""
    survey.waking[0].append(labels)
    steps = survey.present[labels]
    if steps is None:
        return
    for step in steps:
        if step and step - 1 not in steps:
            survey.waking[step].append(labels)
        if step + 1 < count and step + 1 not in steps:
            survey.waking[step + 1].append(labels)


def _flags(rule: Rule, catalogue: Catalogue, labels: Labels) -> Mapping[str, bool]:
    return catalogue.services.get(rule.service_of(labels), Service("")).flags


def _find_trace(matrix: Matrix, rule: Rule, labels: Labels) -> Trace:
    series = matrix.index(rule.by).get(labels, ())
    return matrix.series[series[0]] if series else _NOTHING


def list_columns(rule: Rule, name: str, stretch: Stretch) -> dict[Labels, Mapping[int, float]]:
    """The values of a signal that `open` is judged by, by alert and step; of a crowded alert those of one series."""
    signal = next(signal for signal in rule.signals if signal.name == name)
    plans = {query: stretch.plain(rule, query) for query in list_filled(rule, signal)}
    return {labels: _list_values(rule, signal, plans, labels) for labels in plans[list_filled(rule, signal)[-1]].index(rule.by)}


def _list_columns(rule: Rule, policy: Policy, plans: Mapping[str, Matrix], labels: Labels) -> dict[str, Mapping[int, float]]:
    """The values that `open` is judged by, of the signals that it names."""
    named = [signal for signal in rule.signals if signal.name in policy.open.names]
    return {signal.name: _list_values(rule, signal, plans, labels) for signal in named}


def _list_values(rule: Rule, signal: Signal, plans: Mapping[str, Matrix], labels: Labels) -> Mapping[int, float]:
    traces = [_find_trace(plans[query], rule, labels) for query in list_filled(rule, signal)]
    if not isinstance(signal, Ratio):
        return traces[0].values
    shares = divide(signal, traces[0].values, traces[1].values, traces[1].undefined)
    return shares.values if shares.lower is None else shares.lower


def _add_baselines(bound: Bound, baselines: Mapping[str, Mapping[int, float]]) -> Bound:
    return Bound(bound.condition, bound.directions, {**bound.columns, **baselines}, bound.flags)


def _name_baselines(rule: Rule, bound: Bound) -> dict[str, str]:
    """Signals by the names of the baselines that the condition uses."""
    names = bound.condition.names
    return {name + BASELINE_SUFFIX: name for name in plan_baselines(rule) if name + BASELINE_SUFFIX in names}


def _bind_baselines(rule: Rule, bound: Bound, labels: Labels, norm: Norm) -> Bound:
    """With the baselines of every step, unless their limits alone rule every breach out."""
    named = _name_baselines(rule, bound)
    limited = _add_baselines(bound, {full: dict(enumerate(norm.find_limits(name, labels))) for full, name in named.items()})
    if limited.judge_whole() is not True:
        return limited
    return _add_baselines(bound, {full: norm.list_values(name, labels) for full, name in named.items()})
