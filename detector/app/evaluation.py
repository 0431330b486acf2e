"""Steps 2 to 4 for one rule at one slot: ask, read, advance in chunks, commit, and only then swap memory.

The poller calls `evaluate`; what is decided is decided in `domain.advance`. A failed query goes there as well: it freezes what it
leaves unknown. A rule with something pending or firing asks its severity window at the same time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from detector.app.guard import describe_fault
from detector.domain.advance import advance
from detector.domain.alert import AlertState, Change, Transition
from detector.domain.blind import RuleHealth
from detector.domain.judgement import Evaluation
from detector.domain.label import Labels
from detector.domain.quantity import format_signal
from detector.domain.reading import make_plan, plan_queries, read_signals, settle_lag
from detector.ports.error import StaleLeaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.app.cache import Asking, QueryCache
    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.app.sentinel import Sentinel
    from detector.app.tenancy import Tenancy
    from detector.app.track import Track
    from detector.domain.outcome import Outcome
    from detector.domain.reading import Readings, Values
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Fence
    from detector.ports.template import Renderer

CHUNK = 500
QUERY_TIMEOUT_SECONDS = 10.0


class Baselines(Protocol):
    """Where baselines come from."""

    def baselines(self, rule: Rule) -> Mapping[str, Values]:
        """Baselines by signal and alert, as they are now."""

    def history(self, rule: Rule) -> Mapping[str, Values]:
        """Medians of a day and a week ago by signal and alert, where they were asked for."""


class Round(NamedTuple):
    """One rule at one slot, with its queries under way since `began` (monotonic seconds). `fence`: the lease it is led under."""

    rule: Rule
    track: Track
    at: float
    began: float
    hot: bool
    asking: Asking
    fence: Fence | None = None

    @property
    def answers(self) -> tuple[asyncio.Future[Outcome], ...]:
        """What must be answered before anything can be said: the same for rules that ask the same."""
        return self.asking.answers


@dataclass(slots=True)
class _Found:
    """What advancing all alerts of a rule gave."""

    changed: dict[Labels, AlertState] = field(default_factory=dict)
    dropped: set[Labels] = field(default_factory=set)
    transitions: list[Transition] = field(default_factory=list)
    wants_severity: bool = False
    wants_earlier: bool = False


class Evaluator:
    """Evaluates rules; a sick rule hurts only itself."""

    def __init__(
        self,
        cache: QueryCache,
        roster: Roster,
        committer: Committer,
        sentinel: Sentinel,
        baselines: Baselines,
        renderer: Renderer,
        clock: Clock,
        observer: Observer,
        *,
        tenancy: Tenancy | None = None,
        query_timeout_seconds: float = QUERY_TIMEOUT_SECONDS,
    ) -> None:
        self._tenancy = tenancy
        self._cache = cache
        self._roster = roster
        self._committer = committer
        self._sentinel = sentinel
        self._baselines = baselines
        self._renderer = renderer
        self._clock = clock
        self._observer = observer
        self._query_timeout_seconds = query_timeout_seconds

    def begin(self, rule: Rule, at: float, began: float | None = None) -> Round:
        """Ask what the rule asks at slot `at` (unix seconds), whose evaluation began at monotonic seconds `began`: now, if None."""
        track = self._roster.track(rule.name)
        plan = track.plan
        if plan is None or plan.rule is not rule:
            plan = track.plan = make_plan(rule)
        hot_now = track.hot
        hot = hot_now or track.was_hot
        track.was_hot = hot_now
        queries = plan.queries + plan.severity_queries if hot else plan.queries
        began = self._clock.monotonic() if began is None else began
        fence = None if self._tenancy is None else self._tenancy.make_fence(rule.name)
        asking = self._cache.begin(queries, at - rule.offset_seconds, self._query_timeout_seconds)
        return Round(rule, track, at, began, hot, asking, fence)

    async def rest(self, rounds: Sequence[Round]) -> Sequence[Round]:
        """End the rounds of one slot that find nothing, as the one before; what is left must be evaluated.

        A rule whose condition lies in its query, that has no alert and is answered with none, stays where it was. So it is with
        thousands of alike rules at every slot: what `evaluate` would note of them is noted for all at once.
        """
        left: list[Round] = []
        rested: list[Round] = []
        for now in rounds:
            track = now.track
            stays = track.rested is track.plan and not now.hot and not track.states and self._cache.is_silent(now.asking)
            (rested if stays else left).append(now)
        if rested:
            at, seconds = rested[0].at, self._clock.monotonic() - rested[0].began
            for now in rested:
                now.track.seconds = seconds
                self._roster.note_progress(now.track, at, "", series=False)
            self._observer.rules_rested([now.rule.name for now in rested], seconds, at)
            await self._sentinel.look(self._clock.now(), "")
        return left

    async def evaluate(self, now: Round) -> None:
        """Hear the answers and judge. Never raises for a fault of the rule; waits for nothing where nothing has happened."""
        rule, track, at = now.rule, now.track, now.at
        try:
            readings = await self._advance(now)
        except Exception as fault:  # noqa: BLE001 - one rule's evaluation: a sick rule hurts only itself
            outcome, detail, series, track.health = "error", f"internal: {describe_fault(fault)}", False, RuleHealth.FAILED
            track.rested = None
        else:
            outcome, detail = _name_outcome(rule, readings)
            series = not readings.empty
            track.health = _judge_health(rule, readings, seen=track.progress.seen_series)
            track.trail.add(rule, readings, at)
            found_nothing = rule.vector and outcome == "ok" and readings.empty and not track.states
            track.rested = track.plan if found_nothing else None
        if outcome == "error":
            track.trail.fail(detail, at)
        track.outcome, track.seconds = outcome, self._clock.monotonic() - now.began
        self._roster.note_progress(track, at, detail, series=series)
        self._observer.rule_evaluated(rule.name, outcome, track.seconds, at, detail)
        await self._sentinel.look(self._clock.now(), f"{rule.name}: {detail}" if detail else "")

    async def _advance(self, now: Round) -> Readings:
        rule, track, at = now.rule, now.track, now.at
        outcomes = await self._cache.hear(now.asking)
        readings = read_signals(rule, outcomes)
        evaluation = Evaluation(
            rule,
            self._roster.catalogue,
            readings,
            at,
            severity_readings=read_signals(rule, outcomes, severity=True) if now.hot else None,
            baselines=self._baselines.baselines(rule),
            history=self._baselines.history(rule),
            answering=not readings.empty or self._roster.answering(),
        )
        found = await _advance_all(evaluation, track.states)
        if found.wants_severity:
            outcomes |= await self._ask(rule, plan_queries(rule, severity=True), at)
            evaluation = replace(evaluation, severity_readings=read_signals(rule, outcomes, severity=True))
            found = await _advance_all(evaluation, track.states)
        if found.wants_earlier:
            evaluation = replace(evaluation, earlier_readings=await self._look_earlier(rule, at))
            found = await _advance_all(evaluation, track.states)
        await self._settle(track, found, now.fence)
        return readings

    async def _look_earlier(self, rule: Rule, at: float) -> Readings:
        """The severity window as it was a moment ago: asked only while an alert has just begun."""
        queries = plan_queries(rule) + plan_queries(rule, severity=True)
        outcomes = await self._ask(rule, queries, at - settle_lag(rule))
        return read_signals(rule, outcomes, severity=True)

    async def _ask(self, rule: Rule, queries: tuple[str, ...], at: float) -> dict[str, Outcome]:
        # Not cut at `every`: a Prometheus slower than that still answers, and the slots it takes are skipped and counted.
        return await self._cache.ask_all(queries, at - rule.offset_seconds, self._query_timeout_seconds)

    async def _settle(self, track: Track, found: _Found, fence: Fence | None) -> None:
        """Commit where something happened, then make it the present; else the checkpoint writes it. Nothing where we were late."""

        def swap() -> None:
            track.swap(found.changed, found.dropped)

        if found.transitions:
            told = [replace(transition, summary=summarise(transition, self._renderer)) for transition in found.transitions]
            try:
                await self._committer.submit(track.records(found.changed, found.dropped), told, swap, fence)
            except StaleLeaseError:
                if self._tenancy is not None:
                    self._tenancy.drop(track.name)
                self._observer.note("evaluation refused", rule=track.name, detail="another replica leads it")
                return
        elif self._tenancy is None or self._tenancy.stands(track.name, fence):
            swap()
        else:
            return
        if found.changed or found.dropped:
            self._observer.alerts_counted(track.name, dict(track.counts))


def summarise(transition: Transition, renderer: Renderer) -> str:
    """The summary of a transition as its incident shows it."""
    if transition.change in {Change.ABSENT, Change.PRESENT}:
        return f"{transition.service}: no data"
    if not transition.summary:
        return describe_alert(transition)
    return renderer.render(transition.summary, list_values(transition))


def list_values(transition: Transition) -> dict[str, Any]:
    """What a summary template may name: labels and signal values by name, service, rule, severity, value, threshold."""
    state = transition.state
    signals = {name: track.value for name, track in state.signals.items()}
    return {
        **dict(transition.labels),
        **{f"{name}_baseline": value for name, value in state.baselines.items()},
        **signals,
        "labels": dict(transition.labels),
        "service": transition.service,
        "rule": transition.rule,
        "severity": None if state.severity is None else state.severity.value,
        "signal": state.signal,
        "value": signals.get(state.signal or ""),
        "threshold": state.threshold,
    }


def describe_alert(transition: Transition) -> str:
    """The summary of a rule that has none."""
    state = transition.state
    track = state.signals.get(state.signal or "")
    if track is None or track.value is None:
        return f"{transition.service}: {transition.rule}"
    signal, value, threshold = state.signal or "", track.value, state.threshold
    bound = "" if threshold is None else f", threshold {format_signal(signal, threshold, value)}"
    return f"{transition.service}: {signal} is {format_signal(signal, value, threshold)}{bound}"


async def _advance_all(evaluation: Evaluation, states: Mapping[Labels, AlertState]) -> _Found:
    """Advance every alert that is known or was read, giving way to the loop after every chunk."""
    keys = [*states, *sorted(labels for labels in evaluation.readings.keys if labels not in states)]
    found = _Found()
    for start in range(0, len(keys), CHUNK):
        if start:
            await asyncio.sleep(0)
        advanced = advance(evaluation, keys[start : start + CHUNK], states)
        found.changed |= advanced.states
        found.dropped |= advanced.dropped
        found.transitions += advanced.transitions
        found.wants_earlier |= advanced.wants_earlier
        if advanced.wants_severity:
            found.wants_severity = True
            return found  # the caller asks for it and begins anew
    return found


def _name_outcome(rule: Rule, readings: Readings) -> tuple[str, str]:
    """Outcome and detail; an empty answer to a rule whose condition lies in its query is an answer."""
    failure = readings.failed
    if failure is not None:
        return "error", f"{failure.reason.value}: {failure.detail}" if failure.detail else failure.reason.value
    return ("no_data" if readings.empty and not rule.vector else "ok"), ""


def _judge_health(rule: Rule, readings: Readings, *, seen: bool) -> RuleHealth:
    if readings.failed is not None:
        return RuleHealth.FAILED
    if not readings.empty:
        return RuleHealth.OK
    return RuleHealth.GONE if seen and not rule.vector else RuleHealth.IDLE
