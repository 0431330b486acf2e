"""The daemon's decisions over a past, without its clock and its store: for backtest, rule tests and the tests' own replays.

The steps of the path are those of `evaluation` and `committer`: `advance` for a rule at a slot, `correlate` where something
happened or a timer is due. What queries answered comes from a `Past`. `replay_slots` here asks a source at every slot; `backtest`
reads ranges and passes over the moments at which nothing can change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

from detector.app.baseline import EVERY_SECONDS, HISTORY_EVERY_SECONDS, baseline_grid
from detector.app.evaluation import summarise
from detector.app.transaction import fold_book
from detector.domain.advance import Advanced, advance
from detector.domain.alert import AlertState, Change, Phase, Transition
from detector.domain.baseline import HISTORY_AFTER_SECONDS, plan_baselines, plan_history, read_baselines, read_history
from detector.domain.correlate import correlate
from detector.domain.incident import PAGERDUTY, Book, Incident, Notice, NoticeKind
from detector.domain.judgement import Evaluation
from detector.domain.label import Labels
from detector.domain.ledger import Paging
from detector.domain.outcome import Outcome, QueryFailed
from detector.domain.reading import Values, plan_queries, read_signals, settle_lag
from detector.domain.rule import RuleSet
from detector.ports.calendar import Calendar
from detector.ports.source import SampleSource
from detector.ports.template import Renderer

if TYPE_CHECKING:
    from detector.domain.mute import Mute
    from detector.domain.reading import Readings
    from detector.domain.rule import Rule

DEADLINE_SECONDS = 120.0
_CALENDAR_SECONDS = 86400.0  # how far a calendar looks ahead
_PAGING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})


class Past(Protocol):
    """What the queries of a rule answered; `at` is a slot in unix seconds, `keys` the alerts that are asked about."""

    async def severity(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Readings:
        """Signals over the severity window."""

    async def baselines(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Mapping[str, Values]:
        """Baselines as the daemon had them at that slot."""

    async def history(self, rule: Rule, at: float) -> Mapping[str, Values] | None:
        """Medians of a day and a week before the baseline slot `at`; None where a query failed."""


@dataclass(slots=True)
class _History:
    values: Mapping[str, Values] = field(default_factory=dict)
    due: float = -inf


@dataclass(slots=True)
class Replay:
    """One set of rules on its way through a past. Every rule is evaluated at every step, whatever its own `every` says.

    `pages`: PagerDuty keys that a trigger was queued for, each a page. `flaps`: breaches that came back while their alert was
    recovering, and relapses of incidents. `listen` and `heed` hear of every transition and notice. With a `calendar` the
    maintenance windows of the rules mute; `muted`: by what, first, for each incident that ever was.
    """

    rules: RuleSet
    paging: Paging
    renderer: Renderer
    step_seconds: float
    listen: Callable[[Transition], None] = lambda _: None
    heed: Callable[[Notice], None] = lambda _: None
    calendar: Calendar | None = None
    states: dict[str, dict[Labels, AlertState]] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)
    book: Book = field(default_factory=Book)
    muted: dict[str, str] = field(default_factory=dict)
    _flaps: int = 0
    _window_change: float = inf
    _histories: dict[str, _History] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Durations are counted in gaps of at most twice `every`, so `every` must be the step."""
        rules = tuple(replace(rule, every_seconds=self.step_seconds) for rule in self.rules.rules)
        self.rules = replace(self.rules, rules=rules)
        self.states = {rule.name: {} for rule in rules}

    @property
    def flaps(self) -> int:
        """So far."""
        running = sum(state.flaps for states in self.states.values() for state in states.values() if state.phase is Phase.FIRING)
        return self._flaps + running + sum(len(incident.relapses) for incident in self.incidents.values())

    @property
    def due(self) -> float:
        """When the next timer of an incident wants `decide`, or a window begins or ends over one; infinite for none."""
        due = min((incident.due for incident in self.book.incidents.values() if incident.due is not None), default=inf)
        return min(due, self._window_change)

    async def evaluate(
        self,
        rule: Rule,
        at: float,
        readings: Readings,
        keys: Iterable[Labels],
        past: Past,
        *,
        answering: bool,
        opening: bool = True,
    ) -> list[Transition]:
        """Steps 3a and the summaries for these alerts of a rule at one slot; the new states are taken over at once.

        Without `opening` no inactive alert can open now, and the baselines of this moment, which no other alert needs, are not
        asked for.
        """
        states = self.states[rule.name]
        wanted = list(keys)
        evaluation = Evaluation(
            rule,
            self.rules.catalogue,
            readings,
            at,
            baselines=await past.baselines(rule, at, wanted) if rule.baselines and opening else {},
            history=await self._look_back(rule, at, past) if rule.baselines else {},
            answering=answering,
        )
        advanced = advance(evaluation, wanted, states)
        if advanced.wants_severity:
            severity = await past.severity(rule, at, wanted)
            evaluation = replace(evaluation, severity_readings=severity)
            advanced = advance(evaluation, wanted, states)
        if advanced.wants_earlier:
            # On the grid of the steps; where a step is longer than the window, nothing can be seen to fill.
            lag_seconds = ceil(settle_lag(rule) / self.step_seconds) * self.step_seconds
            fills = lag_seconds < rule.severity_window_seconds
            earlier = await past.severity(rule, at - lag_seconds, wanted) if fills else evaluation.severity_readings
            advanced = advance(replace(evaluation, earlier_readings=earlier), wanted, states)
        return self._take(rule, advanced)

    def decide(self, told: list[Transition], at: float) -> None:
        """Step 3b: what these transitions of one slot, and the timers that are due, mean for incidents."""
        for transition in told:
            self.listen(transition)
            if transition.change is Change.ENDED:
                self._flaps += transition.state.flaps
        decision = correlate(self.book, told, self.rules.catalogue, self.paging, at, self._find_windows(at))
        self.book = fold_book(self.book, decision)
        if not any(incident.status.active for incident in self.book.incidents.values()):
            self._window_change = inf
        for incident in decision.incidents:
            self.incidents[incident.id] = incident
            if incident.muted:
                self.muted.setdefault(incident.id, incident.muted)
        for notice in decision.notices:
            self.heed(notice)
            if notice.channel == PAGERDUTY and notice.kind in _PAGING:
                self.pages.add(notice.key)

    def _find_windows(self, at: float) -> tuple[Mute, ...]:
        """The windows that hold; notes when to ask again, which matters to incidents that are open then."""
        if self.calendar is None or not self.rules.maintenance:
            return ()
        found = self.calendar.find_mutes(self.rules.maintenance, at)
        changes = (moment for mute in found for moment in (mute.starts, mute.ends) if moment > at)
        self._window_change = min(changes, default=at + _CALENDAR_SECONDS)
        return found

    def _take(self, rule: Rule, advanced: Advanced) -> list[Transition]:
        states = self.states[rule.name]
        states |= advanced.states
        for labels in advanced.dropped:
            states.pop(labels, None)
        return [replace(told, summary=summarise(told, self.renderer)) for told in advanced.transitions]

    async def _look_back(self, rule: Rule, at: float, past: Past) -> Mapping[str, Values]:
        """As the keeper of baselines does: asked once an hour, from shortly before an alert has been open for an hour."""
        slot = find_baseline_slot(rule, at)
        since = slot - HISTORY_AFTER_SECONDS + EVERY_SECONDS
        kept = self._histories.setdefault(rule.name, _History())
        if not any(state.fired is not None and state.fired <= since for state in self.states[rule.name].values()):
            kept.values, kept.due = {}, -inf
        elif slot >= kept.due:
            kept.due = slot + HISTORY_EVERY_SECONDS
            found = await past.history(rule, slot)
            kept.values = kept.values if found is None else found
        return kept.values


def find_baseline_slot(rule: Rule, at: float) -> float:
    """The newest slot at or before `at` at which the daemon asks for the rule's baselines."""
    grid = baseline_grid(rule)
    return grid.time_of(grid.index_at(at))


async def replay_slots(replay: Replay, source: SampleSource, start: float, count: int) -> Mapping[str, QueryFailed]:
    """Ask the source at every slot, as the daemon would; the queries that failed, with their last failure."""
    past = SlotPast(source)
    step_seconds = replay.step_seconds
    for at in (start + index * step_seconds for index in range(count)):
        readings = {rule.name: read_signals(rule, await past.ask(plan_queries(rule), at, rule)) for rule in replay.rules.rules}
        answering = any(not found.empty for found in readings.values())
        told: list[Transition] = []
        for rule in replay.rules.rules:
            found, states = readings[rule.name], replay.states[rule.name]
            keys = [*states, *sorted(found.keys - states.keys())]
            told += await replay.evaluate(rule, at, found, keys, past, answering=answering)
        if told or replay.due <= at:
            replay.decide(told, at)
    return past.failures


@dataclass(slots=True)
class SlotPast:
    """The past as instant queries tell it, each asked once a slot."""

    source: SampleSource
    failures: dict[str, QueryFailed] = field(default_factory=dict)
    _asked: tuple[float, dict[tuple[str, float], Outcome]] = (-inf, {})
    _baselines: dict[str, tuple[float, Mapping[str, Values]]] = field(default_factory=dict)

    async def ask(self, queries: Iterable[str], at: float, rule: Rule | None = None) -> dict[str, Outcome]:
        """Outcomes by query at `at`, minus the rule's offset."""
        moment = at - (0.0 if rule is None else rule.offset_seconds)
        if self._asked[0] != at:
            self._asked = (at, {})
        known = self._asked[1]
        texts = tuple(queries)
        wanted = [text for text in texts if (text, moment) not in known]
        answers = await asyncio.gather(*(self.source.query(text, moment, deadline_seconds=DEADLINE_SECONDS) for text in wanted))
        for text, answer in zip(wanted, answers, strict=True):
            known[text, moment] = answer
            if isinstance(answer, QueryFailed):
                self.failures[text] = answer
        return {text: known[text, moment] for text in texts}

    async def severity(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Readings:
        """Signals over the severity window; those that do not depend on it are those of the plain plan."""
        del keys
        outcomes = await self.ask((*plan_queries(rule), *plan_queries(rule, severity=True)), at, rule)
        return read_signals(rule, outcomes, severity=True)

    async def baselines(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Mapping[str, Values]:
        """Asked once a baseline slot."""
        del keys
        slot = find_baseline_slot(rule, at)
        known = self._baselines.get(rule.name)
        if known is None or known[0] != slot:
            queries = plan_baselines(rule).values()
            answers = [await self.source.query(query, slot, deadline_seconds=DEADLINE_SECONDS) for query in queries]
            outcomes = dict(zip(queries, answers, strict=True))
            self.failures |= {query: answer for query, answer in outcomes.items() if isinstance(answer, QueryFailed)}
            known = self._baselines[rule.name] = (slot, read_baselines(rule, outcomes))
        return known[1]

    async def history(self, rule: Rule, at: float) -> Mapping[str, Values] | None:
        """Asked now."""
        return await ask_history(self.source, rule, at)


async def ask_history(source: SampleSource, rule: Rule, at: float) -> Mapping[str, Values] | None:
    """Medians of a day and a week ago; None where a query failed."""
    queries = tuple(dict.fromkeys(query for texts in plan_history(rule).values() for query in texts))
    outcomes = {query: await source.query(query, at, deadline_seconds=DEADLINE_SECONDS) for query in queries}
    return None if any(isinstance(outcome, QueryFailed) for outcome in outcomes.values()) else read_history(rule, outcomes)
