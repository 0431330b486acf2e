"""Which alerts of a rule must be evaluated when, in one stretch of a past: everything else `advance` would leave as it is.

Before it: a loaded `stretch`. After it: `backtest` evaluates the moments that are named here, and goes on with every alert that is
not at rest. Why nothing is missed stands in `domain.quiet`; a rule that this does not cover is evaluated at every moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.domain.baseline import plan_baselines
from detector.domain.catalogue import Service
from detector.domain.condition import Envelope
from detector.domain.judgement import BASELINE_SUFFIX
from detector.domain.label import Labels
from detector.domain.outcome import Matrix, Trace
from detector.domain.quiet import Bound, find_envelope, find_worst, names_baseline, pick_worst, sift
from detector.domain.reading import divide, list_filled
from detector.domain.rule import Policy, Ratio

if TYPE_CHECKING:
    from detector.app.stretch import Stretch
    from detector.domain.catalogue import Catalogue
    from detector.domain.rule import Rule, Signal

_NOTHING = Trace()


@dataclass(slots=True)
class Survey:
    """One rule in one stretch.

    `present`: steps at which an alert's series is there, None for all steps. `waking`: alerts to evaluate by step; at the first one
    beside those that were not there before. `crowded`: two series stand for one alert, which fails the whole rule where they meet,
    so that every alert is evaluated at every step.
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
    plans = {signal.name: [stretch.plain(rule, query) for query in list_filled(rule, signal)] for signal in rule.signals}
    matrices = [matrix for plan in plans.values() for matrix in plan]
    survey = Survey(crowded=any(len(series) > 1 for matrix in matrices for series in matrix.index(rule.by).values()))
    for plan in plans.values():
        _note_presence(survey, plan[-1], rule, stretch.count)
    survey.unbounded = survey.crowded
    groups: dict[tuple[int, tuple[bool, ...]], _Group] = {}
    for labels in () if survey.crowded else survey.present:
        _note_edges(survey, labels, stretch.count)
        policy, flags = rule.policy_for(labels), _flags(rule, catalogue, labels)
        key = id(policy), tuple(flags.values())
        if key not in groups:
            groups[key] = _Group(policy, find_envelope(policy), flags)
        groups[key].members.append(labels)
    for group in groups.values():
        if group.envelope is None:
            survey.unbounded = True
            for step in range(stretch.count):
                survey.waking[step] += group.members
        else:
            await _note_group(survey, rule, group, group.envelope, plans, stretch)
    if rule.baselines and survey.unbounded:
        await stretch.load_baselines(rule)
    return survey


@dataclass(frozen=True, slots=True)
class _Group:
    """Alerts that are judged alike."""

    policy: Policy
    envelope: Envelope | None
    flags: Mapping[str, bool]
    members: list[Labels] = field(default_factory=list)


_Plans = Mapping[str, Sequence[Matrix]]


async def _note_group(survey: Survey, rule: Rule, group: _Group, envelope: Envelope, plans: _Plans, stretch: Stretch) -> None:
    """The breaches of a group: ruled out for as many alerts as possible at once, then looked for step by step in the others."""
    based, wanted = names_baseline(envelope), {name for name, _ in envelope.ends.values()}
    signals = {signal.name: signal for signal in rule.signals if signal.name in wanted}
    worst: dict[Labels, dict[str, float]] = {}
    for labels in group.members:
        traces = {name: [_find_trace(matrix, rule, labels) for matrix in plans[name]] for name in signals}
        found = {
            variable: find_worst(signals[name], traces[name], direction)
            for variable, (name, direction) in envelope.ends.items()
            if name in signals
        }
        worst[labels] = {variable: value for variable, value in found.items() if value is not None}
    suspects = sift(envelope, group.flags, [*worst.items()], unknown=based)
    norm = await stretch.load_baselines(rule) if based and suspects else None
    bases = {name + BASELINE_SUFFIX: name for name in plan_baselines(rule) if name + BASELINE_SUFFIX in wanted}
    if norm is not None:
        for labels in suspects:
            for variable, (name, direction) in envelope.ends.items():
                if name in bases and (limits := norm.find_limits(bases[name], labels)):
                    worst[labels][variable] = pick_worst(limits, direction)
        suspects = sift(envelope, group.flags, [(labels, worst[labels]) for labels in suspects], unknown=False)
    for labels in suspects:
        columns = {name: _list_values(rule, signal, plans[name], labels) for name, signal in signals.items()}
        if norm is not None:
            columns |= {full: norm.list_values(name, labels) for full, name in bases.items()}
        _note_breaches(survey, labels, Bound(envelope, columns, group.flags), stretch.count)


def _note_breaches(survey: Survey, labels: Labels, bound: Bound, count: int) -> None:
    if bound.judge_whole() is True:
        steps = survey.present[labels]
        for step in bound.list_breaches(range(count) if steps is None else sorted(steps)):
            survey.waking[step].append(labels)
            survey.openings.add(step)


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
    """Every coming and going of the series but at the first step, before which it is not known here what was."""
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
    plan = [stretch.plain(rule, query) for query in list_filled(rule, signal)]
    return {labels: _list_values(rule, signal, plan, labels) for labels in plan[-1].index(rule.by)}


def _list_values(rule: Rule, signal: Signal, plan: Sequence[Matrix], labels: Labels) -> Mapping[int, float]:
    traces = [_find_trace(matrix, rule, labels) for matrix in plan]
    if not isinstance(signal, Ratio):
        return traces[0].values
    shares = divide(signal, traces[0].values, traces[1].values, traces[1].undefined)
    return shares.values if shares.lower is None else shares.lower
