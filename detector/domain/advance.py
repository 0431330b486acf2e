"""Step 3a of the path: alert states and one evaluation in, alert states and transitions out. Pure; alerts are independent.

The very same state object comes back where nothing changed. Durations are sums of gaps between successful evaluations, each gap
capped at twice `every`: downtime, unknown and clock jumps add nothing. `correlate` comes after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from detector.domain.alert import AlertState, Change, EndReason, Phase, SignalTrack, Transition
from detector.domain.condition import Condition
from detector.domain.judgement import (
    BASELINE_SUFFIX,
    NO_DATA,
    Evaluation,
    Verdict,
    bind_plain,
    find_baseline,
    judge_open,
    judge_recovery,
    judge_severity,
)
from detector.domain.label import Labels, label_value, project_labels
from detector.domain.rule import NoDataPolicy, Policy, Rule
from detector.domain.severity import Severity

ABSENT_AFTER_SECONDS = 180.0
FORGET_AFTER_SECONDS = 3600.0
LONGEST_RECOVERY_SECONDS = 3600.0
CLIMB = 0.1
_JOB = "job"


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one call changed: new states by alert, alerts to forget, transitions in the order of the keys given.

    `wants_severity`: an alert is pending or firing and no severity readings were given; ask for them and call again.
    `wants_earlier`: an alert has just begun to fire, below HIGH, and no earlier readings were given; likewise.
    """

    states: dict[Labels, AlertState] = field(default_factory=dict)
    dropped: set[Labels] = field(default_factory=set)
    transitions: tuple[Transition, ...] = ()
    wants_severity: bool = False
    wants_earlier: bool = False


def advance(evaluation: Evaluation, keys: Iterable[Labels], states: Mapping[Labels, AlertState]) -> Advanced:
    """Advance the named alerts by one evaluation. Callers pass keys in chunks: all of readings.keys and of the known states."""
    changed: dict[Labels, AlertState] = {}
    dropped: set[Labels] = set()
    transitions: list[Transition] = []
    wants = earlier = False
    rule = evaluation.rule
    single = rule.policy if not rule.overrides else None
    for labels in keys:
        old = states.get(labels)
        before = old if old is not None else AlertState(labels)
        policy = single or rule.policy_for(labels)
        after, changes = _advance_alert(evaluation, policy, before)
        if after is None:
            dropped.add(labels)
            continue
        if after is not old:
            changed[labels] = after
        wants = wants or (after.phase is not Phase.INACTIVE and evaluation.severity_readings is None)
        earlier = earlier or (after.settling and evaluation.earlier_readings is None)
        if changes:
            transitions.extend(_tell(rule, policy, change, state, evaluation.now, reason) for change, state, reason in changes)
    return Advanced(changed, dropped, tuple(transitions), wants, earlier)


def end_alerts(rule: str, states: Mapping[Labels, AlertState], now: float, reason: str) -> Advanced:
    """End every alert of a rule that exists no more; firing and absent ones say so."""
    transitions = []
    for labels, state in states.items():
        if state.phase is Phase.FIRING:
            transitions.append(Transition(Change.ENDED, rule, labels, now, "", state, reason=reason))
        if state.absent:
            transitions.append(Transition(Change.PRESENT, rule, labels, now, "", state, reason=reason))
    return Advanced({}, set(states), tuple(transitions))


_Changes = list[tuple[Change, AlertState, str]]


def _advance_alert(evaluation: Evaluation, policy: Policy, state: AlertState) -> tuple[AlertState | None, _Changes]:
    verdict = judge_open(evaluation, policy, state.labels, state)
    changes: _Changes = []
    if verdict.missing and state.labels not in evaluation.readings.keys:
        state = _count_missing(evaluation, policy, state, changes)
        if state.phase is Phase.INACTIVE and not state.absent and (state.missing_seconds or 0.0) > FORGET_AFTER_SECONDS:
            return None, changes
    elif state.missing_seconds is not None and not verdict.failed:
        if state.absent:
            changes.append((Change.PRESENT, state, EndReason.RECOVERED.value))
        state = replace(state, missing_seconds=None, missing_from=None, absent=False)
    match state.phase:
        case Phase.INACTIVE:
            return (_open(evaluation, policy, state, changes) if verdict.open else state), changes
        case Phase.PENDING:
            return _advance_pending(evaluation, policy, state, verdict, changes), changes
        case Phase.FIRING:
            return _advance_firing(evaluation, policy, state, verdict, changes), changes


def _open(evaluation: Evaluation, policy: Policy, state: AlertState, changes: _Changes) -> AlertState:
    rule, now = evaluation.rule, evaluation.now
    frozen = {name: find_baseline(evaluation, name, state.labels, state) for name in rule.baselines}
    relapsed = state.ended is not None and now - state.ended <= policy.watch_seconds
    pending = AlertState(
        labels=state.labels,
        phase=Phase.PENDING,
        evaluated=now,
        breached=now,
        ended=state.ended,
        relapses=state.relapses + 1 if relapsed else 0,
        pending_seconds=0.0,
        missing_seconds=state.missing_seconds,
        missing_from=state.missing_from,
        absent=state.absent,
        baselines={name: value for name, value in frozen.items() if value is not None},
    )
    pending = _track(evaluation, policy, pending)
    if policy.for_seconds <= 0:
        return _fire(evaluation, policy, pending, changes)
    changes.append((Change.PENDING, pending, ""))
    return pending


def _advance_pending(evaluation: Evaluation, policy: Policy, state: AlertState, verdict: Verdict, changes: _Changes) -> AlertState:
    if verdict.open is None:
        return _mark_unknown(state, verdict, changes)
    state = _mark_known(state, changes)
    if not verdict.open:
        changes.append((Change.CLEARED, state, ""))
        return AlertState(
            state.labels,
            ended=state.ended,
            relapses=max(0, state.relapses - 1) if state.ended is not None else 0,
            missing_seconds=state.missing_seconds,
            missing_from=state.missing_from,
            absent=state.absent,
        )
    pending_seconds = (state.pending_seconds or 0.0) + _gap(evaluation, state.evaluated)
    state = _track(evaluation, policy, replace(state, pending_seconds=pending_seconds, evaluated=evaluation.now))
    if pending_seconds >= policy.for_seconds:
        return _fire(evaluation, policy, state, changes)
    return state


def _fire(evaluation: Evaluation, policy: Policy, state: AlertState, changes: _Changes) -> AlertState:
    severity, unknown = judge_severity(evaluation, policy, state.labels, state)
    fired = replace(
        state,
        phase=Phase.FIRING,
        fired=evaluation.now,
        pending_seconds=None,
        severity=severity,
        blocked=tuple(rung.value for rung in unknown),
    )
    fired = replace(fired, settling=_is_settling(evaluation, fired))
    changes.append((Change.FIRED, fired, ""))
    return fired


def _is_settling(evaluation: Evaluation, state: AlertState) -> bool:
    """Whether a severity below HIGH may be too low because its window has only begun to fill with the breach.

    So it is while the signal over the severity window is worse than it was a quarter of that window ago, for one severity window
    at most. Without earlier readings it is assumed, and they are asked for.
    """
    begun = state.breached is not None and evaluation.now - state.breached < evaluation.rule.severity_window_seconds
    signal = state.signal
    if not begun or signal is None or state.severity is None or state.severity >= Severity.HIGH:
        return False
    if signal not in evaluation.windowed:
        return False
    if evaluation.earlier_readings is None or evaluation.severity_readings is None:
        return True
    now, before = (
        column.values.get(state.labels) if (column := readings.columns.get(signal)) is not None else None
        for readings in (evaluation.severity_readings, evaluation.earlier_readings)
    )
    if now is None or before is None:
        return now is not None
    track = state.signals.get(signal)
    falling = track is not None and track.peak is not None and state.threshold is not None and track.peak < state.threshold
    return now < before * (1 - CLIMB) if falling else now > before * (1 + CLIMB)


def _settle(evaluation: Evaluation, state: AlertState, changes: _Changes) -> AlertState:
    if not state.settling or _is_settling(evaluation, state):
        return state
    settled = replace(state, settling=False)
    if changes and changes[-1][0] in {Change.ROSE, Change.FELL}:  # that says it already
        changes[-1] = (changes[-1][0], settled, changes[-1][2])
    else:
        changes.append((Change.SETTLED, settled, ""))
    return settled


def _advance_firing(evaluation: Evaluation, policy: Policy, state: AlertState, verdict: Verdict, changes: _Changes) -> AlertState:
    if verdict.open is None:
        state = _mark_unknown(state, verdict, changes)
        if verdict.missing and _is_gone(evaluation, policy, state):
            return _end(evaluation, state, EndReason.GONE, changes)
        # A failed query freezes everything; a successful one without an answer counts as not recovered.
        return state if verdict.failed or state.recovering_seconds is None else replace(state, recovering_seconds=None)
    state = _mark_known(state, changes)
    gap = _gap(evaluation, state.evaluated)
    state = _track(evaluation, policy, replace(state, evaluated=evaluation.now), breached=verdict.open)
    state = _settle(evaluation, _judge_ladder(evaluation, policy, state, gap, changes), changes)
    if verdict.open:
        flaps = state.flaps + (state.calm_seconds is not None)
        return replace(state, calm_seconds=None, recovering_seconds=None, flaps=flaps)
    calm = 0.0 if state.calm_seconds is None else state.calm_seconds + gap
    recovered = True if verdict.missing else judge_recovery(evaluation, policy, state.labels, state)
    recovering = None
    if recovered:
        recovering = 0.0 if state.recovering_seconds is None else state.recovering_seconds + gap
    state = replace(state, calm_seconds=calm, recovering_seconds=recovering)
    if recovering is None or recovering < _recovery_seconds(policy, state) or calm < policy.keep_open_seconds:
        return state
    no_data = verdict.missing and not evaluation.rule.vector
    return _end(evaluation, state, EndReason.NO_DATA if no_data else EndReason.RECOVERED, changes)


def _end(evaluation: Evaluation, state: AlertState, reason: EndReason, changes: _Changes) -> AlertState:
    ended = replace(state, ended=evaluation.now, signals=_seal(evaluation, state))
    changes.append((Change.ENDED, ended, reason.value))
    return AlertState(
        state.labels,
        ended=evaluation.now,
        relapses=state.relapses,
        missing_seconds=state.missing_seconds,
        missing_from=state.missing_from,
        absent=state.absent,
    )


def _is_gone(evaluation: Evaluation, policy: Policy, state: AlertState) -> bool:
    """Whether a target that vanished while it fired is gone for good: for `stale_after`, while the rest of its job answers."""
    if state.absent or (state.missing_seconds or 0.0) < policy.stale_after_seconds:
        return False
    job = label_value(state.labels, _JOB)
    return job is not None and any(label_value(labels, _JOB) == job for labels in evaluation.readings.keys)


def _judge_ladder(evaluation: Evaluation, policy: Policy, state: AlertState, gap: float, changes: _Changes) -> AlertState:
    """Severity rises at once and falls only after `demote_after`; an unknown rung blocks any fall below it."""
    current = state.severity or Severity.LOW
    found, unknown = judge_severity(evaluation, policy, state.labels, state)
    blocked = tuple(rung.value for rung in unknown)
    if found > current:
        risen = replace(state, severity=found, lower_seconds=None, lower_severity=None, blocked=blocked)
        changes.append((Change.ROSE, risen, current.value))
        return risen
    if unknown:
        found = max(found, min(current, max(unknown)))
    if found == current:
        if state.lower_seconds is None and blocked == state.blocked:
            return state
        return replace(state, lower_seconds=None, lower_severity=None, blocked=blocked)
    lower_seconds = 0.0 if state.lower_seconds is None else state.lower_seconds + gap
    lower = found if state.lower_severity is None else max(found, state.lower_severity)
    if lower_seconds < policy.demote_after_seconds:
        return replace(state, lower_seconds=lower_seconds, lower_severity=lower, blocked=blocked)
    fallen = replace(state, severity=lower, lower_seconds=None, lower_severity=None, blocked=blocked)
    changes.append((Change.FELL, fallen, current.value))
    return fallen


def _recovery_seconds(policy: Policy, state: AlertState) -> float:
    """`recover_for`, doubled by each relapse within `watch`, to an hour at most."""
    longest = max(policy.recover_for_seconds, LONGEST_RECOVERY_SECONDS)
    return min(policy.recover_for_seconds * 2.0 ** min(state.relapses, 32), longest)


def _count_missing(evaluation: Evaluation, policy: Policy, state: AlertState, changes: _Changes) -> AlertState:
    """Count how long a known series has been gone while others answer; for a core service that is an incident of its own."""
    if not evaluation.answering:
        return state
    missing = 0.0 if state.missing_seconds is None else state.missing_seconds + _gap(evaluation, state.missing_from)
    if (missing, evaluation.now) != (state.missing_seconds, state.missing_from):
        state = replace(state, missing_seconds=missing, missing_from=evaluation.now)
    service = evaluation.catalogue.services.get(evaluation.rule.service_of(state.labels))
    core = service is not None and service.core
    watched = core and not evaluation.rule.vector and policy.no_data is NoDataPolicy.KEEP
    if watched and not state.absent and missing >= ABSENT_AFTER_SECONDS:
        state = replace(state, absent=True)
        changes.append((Change.ABSENT, state, NO_DATA))
    elif state.absent and not watched:  # a reload: nobody waits for this series any more
        changes.append((Change.PRESENT, state, EndReason.GONE.value))
        state = replace(state, absent=False)
    return state


def _mark_unknown(state: AlertState, verdict: Verdict, changes: _Changes) -> AlertState:
    if state.unknown == verdict.why:
        return state
    marked = replace(state, unknown=verdict.why)
    if not state.unknown:
        changes.append((Change.UNKNOWN, marked, verdict.why))
    return marked


def _mark_known(state: AlertState, changes: _Changes) -> AlertState:
    if not state.unknown:
        return state
    known = replace(state, unknown="")
    changes.append((Change.KNOWN, known, state.unknown))
    return known


def _gap(evaluation: Evaluation, since: float | None) -> float:
    if since is None:
        return 0.0
    return min(max(0.0, evaluation.now - since), 2 * evaluation.rule.every_seconds)


def _falling(condition: Condition) -> frozenset[str]:
    """Signals whose breach lies below a bound: their worst value is the smallest."""
    return frozenset(comparison.signal for comparison in condition.comparisons if comparison.operator.startswith("<"))


def _track(evaluation: Evaluation, policy: Policy, state: AlertState, *, breached: bool = True) -> AlertState:
    """Follow values and peaks, and while `open` holds which comparison of it does by the plain values.

    Once it holds no more, what still does is not what was wrong: `errors >= 5` outlasts `error_rate > 0.01`.
    """
    bindings = bind_plain(evaluation, state.labels)
    falling = _falling(policy.open)
    signals = dict(state.signals)
    for name, value in bindings.items():
        peak = signals[name].peak if name in signals else None
        worst = min if name in falling else max
        signals[name] = SignalTrack(float(value), float(value) if peak is None else worst(peak, float(value)))
    for name in evaluation.rule.baselines:
        baseline = find_baseline(evaluation, name, state.labels, state)
        if baseline is not None:
            bindings[name + BASELINE_SUFFIX] = baseline
    held = next((comparison for comparison in policy.open.comparisons if breached and comparison.holds(bindings)), None)
    if held is None:
        # a vector rule compares inside its query, so its one signal is what breached
        named = evaluation.rule.signals[0].name if evaluation.rule.vector else state.signal
        return replace(state, signals=signals, signal=named)
    return replace(state, signals=signals, signal=held.signal, threshold=held.bound(bindings))


def _seal(evaluation: Evaluation, state: AlertState) -> dict[str, SignalTrack]:
    """The tracks with the values of this evaluation as those at recovery; a series that is gone has none."""
    values = bind_plain(evaluation, state.labels)
    return {name: replace(track, at_recovery=values.get(name)) for name, track in state.signals.items()}


def _tell(rule: Rule, policy: Policy, change: Change, state: AlertState, now: float, reason: str) -> Transition:
    return Transition(
        change=change,
        rule=rule.name,
        labels=state.labels,
        at=now,
        service=rule.service_of(state.labels),
        state=state,
        summary=policy.summary,
        reason=reason,
        open_text=policy.open.text,
        rule_labels=policy.labels,
        links=policy.links,
        join=project_labels(state.labels, rule.join_by),
        watch_seconds=policy.watch_seconds,
        demote_after_seconds=policy.demote_after_seconds,
        stale_after_seconds=policy.stale_after_seconds,
        gone_wait_seconds=0.0 if label_value(state.labels, _JOB) is None else 2 * rule.every_seconds,
        settle_by=(state.breached or now) + rule.severity_window_seconds if state.settling else None,
    )
