"""Rules over a long past: the incidents that they would have opened, at what price in pages.

Walks through the past in stretches of bounded size. In each, every rule is surveyed, the moments that may change an alert are
evaluated with `replay`, rule by rule, and then `correlate` is called in the order of time. Several sets of rules (a change and
what was before it) share what is loaded. `replay.replay_slots` gives the same incidents by asking at every slot; a test holds them
equal.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.app.norm import cut_alerts
from detector.app.replay import Replay
from detector.app.stretch import MOST_POINTS, POINTS, Stretch
from detector.app.survey import Survey, survey_rule
from detector.domain.alert import Phase
from detector.domain.label import Labels
from detector.domain.quiet import is_resting
from detector.domain.reading import plan_queries, read_signals
from detector.ports.source import PastSource

if TYPE_CHECKING:
    from detector.domain.alert import AlertState, Transition
    from detector.domain.rule import Rule

_LOADS = 3  # queries of stretches to come at once; those of the stretch that is evaluated need not wait behind them
_PROBE = 60
_AHEAD = 2  # stretches that are loaded meanwhile, so that a server with several cores always has something to do
_TELLINGS = 24  # stretches of a short past too, so that its progress is seen
_BREATH = 256  # steps between two turns of the event loop


@dataclass(slots=True)
class _Course:
    """One set of rules on its way; `ranks`: in which order its alerts were first seen, `restless`: those not at rest, by rule."""

    replay: Replay
    ranks: dict[str, dict[Labels, int]] = field(default_factory=lambda: defaultdict(dict))
    restless: dict[str, set[Labels]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class Backtest:
    """Replays on their way through one past. `tell` hears how many slots are done; `look` sees each stretch before it is left.

    `points`: how many are held in memory, over all queries of this stretch and those that are loaded meanwhile.
    `seen`: rules that found a series so far. `blank`: pairs of (first, last) slot between which no rule did.
    """

    source: PastSource
    replays: Sequence[Replay]
    start: float
    step_seconds: float
    tell: Callable[[int], None] = lambda _: None
    look: Callable[[Stretch], None] = lambda _: None
    points: int = POINTS
    seen: set[str] = field(default_factory=set)
    blank: list[tuple[float, float]] = field(default_factory=list)
    done: int = 0
    _courses: list[_Course] = field(default_factory=list)
    _length: int = _PROBE
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOADS))
    _trust: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin."""
        self._courses = [_Course(replay) for replay in self.replays]

    async def run(self, count: int) -> None:
        """Go on until `count` slots are done. Raises PastError when the source does not tell the past."""
        coming: deque[asyncio.Task[Stretch]] = deque()
        asked, before = self.done, None
        try:
            while self.done < count:
                if not coming:
                    asked = self._ask(coming, asked, count)
                stretch = await coming.popleft()
                if before is not None:
                    stretch.follow(before)
                before = stretch
                held = self.points // max(1, stretch.series) // (1 + _AHEAD)
                self._length = max(1, min(MOST_POINTS, held, max(_PROBE, count // _TELLINGS)))
                while asked < count and len(coming) < _AHEAD:
                    asked = self._ask(coming, asked, count)
                await self._run_stretch(stretch)
                self.done += stretch.count
                self.tell(self.done)
        finally:
            for task in coming:
                task.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    def _ask(self, coming: deque[asyncio.Task[Stretch]], first: int, count: int) -> int:
        """Begin to load the stretch that begins with slot `first`; the slot after it."""
        length = min(self._length, count - first)
        coming.append(asyncio.create_task(self._load(first, length), name="backtest: a stretch to come"))
        return first + length

    async def _load(self, first: int, length: int) -> Stretch:
        stretch = Stretch(self.source, self.start + first * self.step_seconds, length, self.step_seconds, self._trust)
        await stretch.load((rule for replay in self.replays for rule in replay.rules.rules), self._gate)
        return stretch

    async def _run_stretch(self, stretch: Stretch) -> None:
        for course in self._courses:
            replay = course.replay
            surveys = {rule.name: await survey_rule(rule, replay.rules.catalogue, stretch) for rule in replay.rules.rules}
            answering = bytearray(stretch.count)
            for name, survey in surveys.items():
                survey.mark(answering)
                if survey.present:
                    self.seen.add(name)
            told: dict[int, list[Transition]] = defaultdict(list)
            for rule in replay.rules.rules:
                await _run_rule(course, rule, surveys[rule.name], stretch, answering, told)
            _decide(replay, stretch, told)
            if course is self._courses[-1]:
                self._note_blank(stretch, answering)
        self.look(stretch)

    def _note_blank(self, stretch: Stretch, answering: bytearray) -> None:
        for step, answers in enumerate(answering):
            if answers:
                continue
            at = stretch.time_of(step)
            if self.blank and at - self.blank[-1][1] <= self.step_seconds:
                self.blank[-1] = (self.blank[-1][0], at)
            else:
                self.blank.append((at, at))


async def _run_rule(
    course: _Course, rule: Rule, survey: Survey, stretch: Stretch, answering: bytearray, told: dict[int, list[Transition]]
) -> None:
    """Evaluate a rule wherever something may change; transitions are added to `told` by step."""
    states, restless, ranks = course.replay.states[rule.name], course.restless[rule.name], course.ranks[rule.name]
    plans = {query: stretch.plain(rule, query) for query in plan_queries(rule)}
    restless |= states.keys() - survey.present.keys()
    # An alert at rest that is still there as the stretch begins is left as it is.
    survey.waking[0] += [labels for labels in survey.present if labels not in states or not survey.is_present(labels, 0)]
    waking = sorted(survey.waking)
    step = 0
    while step < stretch.count:
        if not restless and not survey.crowded:
            following = bisect_left(waking, step)
            if following == len(waking):
                return
            step = waking[following]
        if step % _BREATH == 0:
            await asyncio.sleep(0)
        keys = None if survey.crowded else _list_awake(survey, states, restless, step)
        readings = read_signals(rule, cut_alerts(rule, plans, step, keys))
        ordered = _sort_keys(ranks, states.keys() | readings.keys if keys is None else keys)
        at = stretch.time_of(step)
        opening = survey.unbounded or (step in survey.openings and any(_may_open(states.get(labels)) for labels in ordered))
        found = await course.replay.evaluate(rule, at, readings, ordered, stretch, answering=bool(answering[step]), opening=opening)
        if found:
            told[step] += found
        for labels in ordered:
            state = states.get(labels)
            if state is None:
                del ranks[labels]
            if state is None or (is_resting(state) and survey.is_present(labels, step)):
                restless.discard(labels)
            else:
                restless.add(labels)
        step += 1


def _may_open(state: AlertState | None) -> bool:
    return state is None or state.phase is Phase.INACTIVE


def _list_awake(survey: Survey, states: Mapping[Labels, AlertState], restless: set[Labels], step: int) -> set[Labels]:
    """Alerts to evaluate at a step: those the daemon would, without those that it would leave as they are."""
    awake = restless.union(survey.waking.get(step, ()))
    return {labels for labels in awake if labels in states or survey.is_present(labels, step)}


def _sort_keys(ranks: dict[Labels, int], keys: set[Labels]) -> list[Labels]:
    """Known alerts in the order they were first seen, then the new ones by label: the order in which the daemon has them."""
    last = next(reversed(ranks.values()), -1)
    ranks |= {labels: rank for rank, labels in enumerate(sorted(keys - ranks.keys()), last + 1)}
    return sorted(keys, key=ranks.__getitem__)


def _decide(replay: Replay, stretch: Stretch, told: dict[int, list[Transition]]) -> None:
    """Step 3b wherever something was told or a timer is due, in the order of time."""
    waiting = sorted(told)
    step = 0
    while step < stretch.count:
        following = bisect_left(waiting, step)
        step = min(waiting[following] if following < len(waiting) else stretch.count, stretch.find_step(replay.due, step))
        if step < stretch.count:
            replay.decide(told.get(step, []), stretch.time_of(step))
        step += 1
