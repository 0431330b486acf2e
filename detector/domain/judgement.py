"""What one evaluation says of one alert: open or not, how severe, recovered or not. Three-valued; `advance` acts on it.

Only names that are known are bound, so that a condition over anything unknown answers None unless the rest decides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from detector.domain.alert import AlertState
from detector.domain.baseline import HISTORY_AFTER_SECONDS
from detector.domain.catalogue import Catalogue, Service
from detector.domain.condition import Condition
from detector.domain.label import Labels
from detector.domain.outcome import QueryFailed
from detector.domain.reading import Readings, Values, ladder_names, signal_queries
from detector.domain.rule import NoDataPolicy, Policy, Rule
from detector.domain.severity import Severity

BASELINE_SUFFIX = "_baseline"
INSUFFICIENT = "insufficient traffic"
NO_DATA = "no data"
_DEFAULT_FLAGS = Service("").flags


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything one evaluation of one rule knows. `baselines` and `history` are by signal and alert.

    `earlier_readings`: the severity window as it was `settle_lag` ago, for alerts that have just begun.
    `answering`: some rule has series now, so that series missing here are missing, not the whole source.
    """

    rule: Rule
    catalogue: Catalogue
    readings: Readings
    now: float
    severity_readings: Readings | None = None
    earlier_readings: Readings | None = None
    baselines: Mapping[str, Values] = field(default_factory=dict)
    history: Mapping[str, Values] = field(default_factory=dict)
    answering: bool = True

    @property
    def windowed(self) -> frozenset[str]:
        """Signals whose queries look over `$window`, and which the severity ladder names."""
        wanted = ladder_names(self.rule)
        return frozenset(
            signal.name
            for signal in self.rule.signals
            if signal.name in wanted and any("$window" in query for query in signal_queries(signal))
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer of `open`. `why`: what was missing when `open` is None; `failed`: a query failed rather than brought nothing.

    `missing`: every query succeeded and none had a value for the alert.
    """

    open: bool | None
    why: str = ""
    failed: bool = False
    missing: bool = False


_OPEN = Verdict(open=True)
_NOT_OPEN = Verdict(open=False)


def judge_open(evaluation: Evaluation, policy: Policy, labels: Labels, state: AlertState) -> Verdict:
    """Whether the alert's condition holds, by confidence bounds where the rule asks for them."""
    columns = evaluation.readings.columns
    condition = policy.open
    bindings: dict[str, float | bool] = {}
    thin = False
    for name in condition.names:
        column = columns.get(name)
        if column is None:
            continue
        table = column.values if column.lower is None else column.lower
        value = table.get(labels)
        if value is not None:
            bindings[name] = value
        elif labels in column.thin:
            thin = True
    if not bindings and not thin:
        silence = _judge_silence(evaluation, policy, labels)
        if silence is not None:
            return silence
    if len(bindings) < len(condition.names):
        _bind_context(bindings, evaluation, condition, labels, state)
    answer = condition.evaluate(bindings)
    if answer is not None:
        return _OPEN if answer else _NOT_OPEN
    failure = next((columns[name].failed for name in condition.names if name in columns and columns[name].failed), None)
    if failure is not None:
        return _freeze(failure)
    return Verdict(None, INSUFFICIENT if thin else _name_missing(condition, bindings))


def judge_severity(
    evaluation: Evaluation, policy: Policy, labels: Labels, state: AlertState
) -> tuple[Severity, tuple[Severity, ...]]:
    """Severity of the first rung that holds, MEDIUM where none does, and the rungs above it that were unknown.

    Each signal is taken over the severity window; where that window holds too little traffic, over the rule's own.
    """
    bindings = bind_plain(evaluation, labels)
    recent = evaluation.severity_readings
    if recent is not None:
        for name, column in recent.columns.items():
            if column.failed is not None:
                bindings.pop(name, None)
            elif (value := column.values.get(labels)) is not None:
                bindings[name] = value
    unknown: list[Severity] = []
    for rung in policy.severity:
        held = dict(bindings)
        _bind_context(held, evaluation, rung.condition, labels, state)
        answer = rung.condition.evaluate(held)
        if answer:
            return rung.severity, tuple(unknown)
        if answer is None:
            unknown.append(rung.severity)
    return Severity.MEDIUM, tuple(unknown)


def judge_recovery(evaluation: Evaluation, policy: Policy, labels: Labels, state: AlertState) -> bool | None:
    """Whether `recover` holds, by plain values; alternatives that name a missing baseline are left out."""
    bindings = bind_plain(evaluation, labels)
    _bind_context(bindings, evaluation, policy.open, labels, state)
    answer = policy.open.evaluate(bindings)
    if answer is not None:
        bindings["open"] = answer
    verdict: bool | None = True
    counted = False
    for term in policy.recover.terms:
        answers = []
        for condition in term:
            _bind_context(bindings, evaluation, condition, labels, state)
            if not any(name.endswith(BASELINE_SUFFIX) and name not in bindings for name in condition.names):
                answers.append(condition.evaluate(bindings))
        if answers:
            counted = True
            verdict = _all((verdict, _any(answers)))
    if counted:
        return verdict
    return None if answer is None else not answer


def bind_plain(evaluation: Evaluation, labels: Labels) -> dict[str, float | bool]:
    """Plain values of the rule's signals that are known for the alert."""
    bindings: dict[str, float | bool] = {}
    for name, column in evaluation.readings.columns.items():
        value = column.values.get(labels)
        if value is not None:
            bindings[name] = value
    return bindings


def find_baseline(evaluation: Evaluation, name: str, labels: Labels, state: AlertState) -> float | None:
    """The signal's baseline: of the moment while inactive, frozen after that, raised by history once open for an hour."""
    if state.breached is None:
        return evaluation.baselines.get(name, {}).get(labels)
    frozen = state.baselines.get(name)
    if state.fired is None or evaluation.now - state.fired < HISTORY_AFTER_SECONDS:
        return frozen
    past = evaluation.history.get(name, {}).get(labels)
    known = [value for value in (frozen, past) if value is not None]
    return max(known, default=None)


def _freeze(failure: QueryFailed) -> Verdict:
    """A failed query says nothing, unless the other signals decide without it."""
    return Verdict(None, f"query failed: {failure.reason.value}", failed=True)


def _judge_silence(evaluation: Evaluation, policy: Policy, labels: Labels) -> Verdict | None:
    """What it means that no signal of `open` has a value: a failure, no data, or None where another signal speaks."""
    readings = evaluation.readings
    if readings.failed is not None:
        return _freeze(readings.failed)
    idle = labels in readings.idle
    if labels in readings.keys and not idle:
        return None
    if evaluation.rule.vector:  # its condition lies in the query: an empty answer is one, NaN is none
        return Verdict(None, NO_DATA, missing=True) if idle else Verdict(open=False, missing=True)
    if policy.no_data is NoDataPolicy.RESOLVE:
        return Verdict(open=False, missing=True)
    if policy.no_data is NoDataPolicy.OPEN:
        return Verdict(open=True, missing=True)
    return Verdict(None, NO_DATA, missing=True)


def _bind_context(
    bindings: dict[str, float | bool], evaluation: Evaluation, condition: Condition, labels: Labels, state: AlertState
) -> None:
    """Bind the catalogue flags and baselines that the condition names."""
    for name in condition.names:
        if name in bindings:
            continue
        if name in _DEFAULT_FLAGS:
            service = evaluation.catalogue.services.get(evaluation.rule.service_of(labels))
            bindings.update(_DEFAULT_FLAGS if service is None else service.flags)
        elif name.endswith(BASELINE_SUFFIX):
            value = find_baseline(evaluation, name.removesuffix(BASELINE_SUFFIX), labels, state)
            if value is not None:
                bindings[name] = value


def _name_missing(condition: Condition, bindings: Mapping[str, float | bool]) -> str:
    missing = sorted(name for name in condition.names if name not in bindings)
    return f"unknown: {', '.join(missing)}" if missing else "the condition gave no answer"


def _any(answers: Iterable[bool | None]) -> bool | None:
    known = set(answers)
    return True if True in known else None if None in known else False


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = set(answers)
    return False if False in known else None if None in known else True
