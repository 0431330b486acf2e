"""A stretch of a long past in memory: what every query answered at each of its slots, loaded in bounded pieces.

`backtest` walks from stretch to stretch. Plain queries are loaded whole; severity windows and baselines only where something needs
them. Raises `PastError` when the source does not answer: a past with holes of our own making would be worth nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.app.baseline import EVERY_SECONDS, baseline_grid
from detector.app.replay import DEADLINE_SECONDS, ask_history, find_baseline_slot
from detector.domain.baseline import plan_baselines, read_baselines
from detector.domain.outcome import FailureReason, Matrix, Outcome, QueryFailed, cut_moment
from detector.domain.reading import Readings, Values, plan_queries, read_signals
from detector.ports.source import PastSource

if TYPE_CHECKING:
    from detector.domain.label import Labels
    from detector.domain.rule import Rule

MOST_POINTS = 10_000  # a series; Prometheus refuses more than 11,000
POINTS = 500_000  # in memory, over all queries of a stretch
_FIRST_PIECE = 32
_LONGEST_PIECE = 256
_TOO_MUCH = frozenset({FailureReason.TOO_LARGE, FailureReason.TIMEOUT, FailureReason.BAD_QUERY})


class PastError(Exception):
    """The source did not tell the past; `failure` says why, `query` which."""

    def __init__(self, query: str, failure: QueryFailed) -> None:
        super().__init__(f"{failure.reason.value}: {failure.detail}" if failure.detail else failure.reason.value)
        self.query = query
        self.failure = failure


async def load_matrix(source: PastSource, query: str, start: float, count: int, step_seconds: float) -> Matrix:
    """One query over `count` steps; asked again in halves where the server finds that too much. Raises PastError."""
    outcome = await source.query_matrix(query, start, count, step_seconds, deadline_seconds=DEADLINE_SECONDS)
    if isinstance(outcome, Matrix):
        return outcome
    if outcome.reason not in _TOO_MUCH or count == 1 or (outcome.reason is FailureReason.BAD_QUERY and not _is_limit(outcome)):
        raise PastError(query, outcome)
    half = count // 2
    first = await load_matrix(source, query, start, half, step_seconds)
    second = await load_matrix(source, query, start + half * step_seconds, count - half, step_seconds)
    return first.join(second, half)


def _is_limit(failure: QueryFailed) -> bool:
    """Whether a refusal is about size: `query processing would load too many samples`, `exceeded maximum resolution`, ..."""
    return any(word in failure.detail for word in ("too many", "exceed", "maximum", "limit"))


@dataclass(slots=True)
class _Piece:
    """Severity matrices of a rule from step `first` on, `count` of them."""

    first: int = 0
    count: int = 0
    matrices: Mapping[str, Matrix] = field(default_factory=dict)


@dataclass(slots=True)
class Stretch:
    """`count` slots from `start` on. Fulfils `replay.Past` for the alerts that are asked about."""

    source: PastSource
    start: float
    count: int
    step_seconds: float
    _plain: dict[tuple[str, float], Matrix] = field(default_factory=dict)
    _pieces: dict[tuple[tuple[str, ...], float], _Piece] = field(default_factory=dict)
    _medians: dict[tuple[str, ...], Mapping[str, Matrix]] = field(default_factory=dict)

    async def load(self, rules: Iterable[Rule]) -> None:
        """Load the plain queries of these rules; those that are there already are not asked again."""
        wanted = dict.fromkeys((query, rule.offset_seconds) for rule in rules for query in plan_queries(rule))
        missing = [key for key in wanted if key not in self._plain]
        found = await asyncio.gather(
            *(load_matrix(self.source, query, self.start - offset, self.count, self.step_seconds) for query, offset in missing)
        )
        self._plain |= dict(zip(missing, found, strict=True))

    @property
    def series(self) -> int:
        """How many series all plain queries hold together."""
        return sum(len(matrix.series) for matrix in self._plain.values())

    def plain(self, rule: Rule, query: str) -> Matrix:
        """A query of the rule's plan, loaded before."""
        return self._plain[query, rule.offset_seconds]

    def time_of(self, step: int) -> float:
        """Unix seconds of a step of the stretch."""
        return self.start + step * self.step_seconds

    def step_of(self, at: float) -> int:
        """The step of a slot."""
        return round((at - self.start) / self.step_seconds)

    def find_step(self, at: float, first: int) -> int:
        """The first step from `first` on that is not before `at`; `count` where there is none."""
        if at > self.time_of(self.count - 1):
            return self.count
        step = max(first, self.step_of(at))
        while step > first and self.time_of(step - 1) >= at:
            step -= 1
        while self.time_of(step) < at:
            step += 1
        return step

    async def severity(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Readings:
        """Signals over the severity window; asked in pieces that grow while alerts stay open."""
        step, wanted = self.step_of(at), set(keys)
        queries = plan_queries(rule, severity=True)
        piece = self._pieces.get((queries, rule.offset_seconds))
        if queries and (piece is None or not piece.first <= step < piece.first + piece.count):
            goes_on = piece is not None and step == piece.first + piece.count
            grown = min(2 * piece.count, _LONGEST_PIECE) if piece is not None and goes_on else _FIRST_PIECE
            count = min(grown, self.count - step)
            moment = self.time_of(step) - rule.offset_seconds
            found = await asyncio.gather(*(load_matrix(self.source, query, moment, count, self.step_seconds) for query in queries))
            piece = self._pieces[queries, rule.offset_seconds] = _Piece(step, count, dict(zip(queries, found, strict=True)))
        outcomes = cut_alerts(rule, {query: self.plain(rule, query) for query in plan_queries(rule)}, step, wanted)
        if piece is not None:
            outcomes |= cut_alerts(rule, piece.matrices, step - piece.first, wanted)
        return read_signals(rule, outcomes, severity=True)

    async def load_baselines(self, rule: Rule) -> Mapping[str, Matrix]:
        """Baseline matrices by query, on the daemon's own grid of baseline slots; see `median_step`."""
        queries = tuple(plan_baselines(rule).values())
        if (rule.name, *queries) not in self._medians:
            first, every = self._find_median_grid(rule)
            count = self.median_step(rule, self.count - 1) + 1
            found = [await load_matrix(self.source, query, first, count, every) for query in queries]
            self._medians[rule.name, *queries] = dict(zip(queries, found, strict=True))
        return self._medians[rule.name, *queries]

    def median_step(self, rule: Rule, step: int) -> int:
        """Which step of the baseline matrices was the newest at a step of the stretch."""
        first, every = self._find_median_grid(rule)
        grid = baseline_grid(rule)
        return round((grid.time_of(grid.index_at(self.time_of(step))) - first) / every)

    def _find_median_grid(self, rule: Rule) -> tuple[float, float]:
        """First baseline slot and the distance of those that are looked at."""
        grid = baseline_grid(rule)
        every = self.step_seconds if self.step_seconds % EVERY_SECONDS == 0 else EVERY_SECONDS
        return grid.time_of(grid.index_at(self.start)), every

    async def baselines(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Mapping[str, Values]:
        """Baselines at a slot; asked for that slot alone where the stretch has not loaded all of them."""
        queries = tuple(plan_baselines(rule).values())
        matrices, step = self._medians.get((rule.name, *queries)), self.median_step(rule, self.step_of(at))
        if matrices is None:
            slot = find_baseline_slot(rule, at)
            found = [await load_matrix(self.source, query, slot, 1, EVERY_SECONDS) for query in queries]
            matrices, step = dict(zip(queries, found, strict=True)), 0
        return read_baselines(rule, cut_alerts(rule, matrices, step, set(keys)))

    async def history(self, rule: Rule, at: float) -> Mapping[str, Values] | None:
        """Asked at that moment; rare."""
        return await ask_history(self.source, rule, at)


def cut_alerts(rule: Rule, matrices: Mapping[str, Matrix], step: int, keys: Iterable[Labels] | None) -> dict[str, Outcome]:
    """What the queries answered at a step, of the series that belong to these alerts (None: all)."""
    outcomes: dict[str, Outcome] = {}
    for query, matrix in matrices.items():
        if keys is None:
            outcomes[query] = cut_moment(matrix.series, step)
        else:
            index = matrix.index(rule.by)
            outcomes[query] = cut_moment({labels: matrix.series[labels] for key in keys for labels in index.get(key, ())}, step)
    return outcomes
