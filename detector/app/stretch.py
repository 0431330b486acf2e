"""A stretch of a long past in memory: what every query answered at each of its slots, loaded in bounded pieces.

`backtest` walks from stretch to stretch. Plain queries are loaded whole; severity windows and baselines only where something needs
them. Raises `PastError` when the source does not answer: a past with holes of our own making would be worth nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.app.baseline import EVERY_SECONDS, baseline_grid
from detector.app.norm import AskedNorm, ComputedNorm, Norm, cut_alerts
from detector.app.replay import DEADLINE_SECONDS, ask_history, find_baseline_slot
from detector.domain.baseline import plan_baselines, read_baselines
from detector.domain.median import Lattice, Track, find_lattice, is_plain, list_based, read_leads
from detector.domain.outcome import FailureReason, Matrix, QueryFailed, Samples, cut_moment
from detector.domain.reading import Readings, Values, list_filled, plan_queries, read_signals
from detector.domain.rule import Rule
from detector.ports.source import PastSource

if TYPE_CHECKING:
    from detector.domain.label import Labels

MOST_POINTS = 10_000  # a series; Prometheus refuses more than 11,000
POINTS = 1_000_000  # in memory, over all queries of a stretch
_FIRST_PIECE = 32
_LONGEST_PIECE = 256
_NormName: TypeAlias = "tuple[str, tuple[str, ...] | None, float, tuple[str, ...]]"
_Leads: TypeAlias = "dict[str, Mapping[Labels, Mapping[int, float]]]"
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


async def _join(loads: Iterable[Coroutine[Any, Any, Matrix]]) -> list[Matrix]:
    """All of them at once; when one fails the others are given up, so that none goes on behind its caller's back."""
    tasks = [asyncio.ensure_future(load) for load in loads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
    """`count` slots from `start` on. Fulfils `replay.Past` for the alerts that are asked about.

    `trust`: baseline queries that the source was found to answer as they are computed here, or not; shared by all stretches.
    """

    source: PastSource
    start: float
    count: int
    step_seconds: float
    trust: dict[str, bool] = field(default_factory=dict)
    _plain: dict[tuple[str, float], Matrix] = field(default_factory=dict)
    _pieces: dict[tuple[tuple[str, ...], float], _Piece] = field(default_factory=dict)
    _before: dict[tuple[str, float], Matrix] = field(default_factory=dict)
    _norms: dict[_NormName, Norm] = field(default_factory=dict)
    _leads: dict[_NormName, _Leads] = field(default_factory=dict)
    _slots: dict[str, list[float]] = field(default_factory=dict)
    _based: list[Rule] = field(default_factory=list)

    async def load(self, rules: Iterable[Rule], gate: asyncio.Semaphore | None = None) -> None:
        """Load the plain queries of these rules, as many at once as pass the gate; those that are there are not asked again."""
        taken = list(rules)
        self._based = [rule for rule in taken if rule.baselines]
        wanted = dict.fromkeys((query, rule.offset_seconds) for rule in taken for query in plan_queries(rule))
        missing = [key for key in wanted if key not in self._plain]

        async def load_one(query: str, offset: float) -> Matrix:
            async with gate or nullcontext():
                return await load_matrix(self.source, query, self.start - offset, self.count, self.step_seconds)

        found = await _join(load_one(*key) for key in missing)
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
            found = await _join(load_matrix(self.source, query, moment, count, self.step_seconds) for query in queries)
            piece = self._pieces[queries, rule.offset_seconds] = _Piece(step, count, dict(zip(queries, found, strict=True)))
        if step < 0:  # how the window was before an alert that began with the stretch
            outcomes = cut_alerts(rule, await self._ask_before(rule, step), 0, wanted)
        else:
            outcomes = cut_alerts(rule, {query: self.plain(rule, query) for query in plan_queries(rule)}, step, wanted)
        if piece is not None:
            outcomes |= cut_alerts(rule, piece.matrices, step - piece.first, wanted)
        return read_signals(rule, outcomes, severity=True)

    async def _ask_before(self, rule: Rule, step: int) -> Mapping[str, Matrix]:
        """The plain queries of the rule at a step before the stretch; they are kept."""
        moment = self.time_of(step) - rule.offset_seconds
        missing = [query for query in plan_queries(rule) if (query, moment) not in self._before]
        found = await self._ask(missing, moment, 1, self.step_seconds)
        self._before |= {(query, moment): matrix for query, matrix in found.items()}
        return {query: self._before[query, moment] for query in plan_queries(rule)}

    async def load_baselines(self, rule: Rule) -> Norm:
        """Baselines at every step, on the daemon's own grid of baseline slots: computed where that is the same, else asked."""
        key = _name_norm(rule)
        if key not in self._norms:
            norm = await self._compute_norm(rule)
            self._norms[key] = await self._ask_norm(rule) if norm is None else norm
        return self._norms[key]

    def follow(self, before: Stretch) -> None:
        """Take over from the stretch before this one the points that baselines at the beginning of this one are made of."""
        for rule in before._based:
            lattice, norm = self._find_lattice(rule), before._norms.get(_name_norm(rule)) or before._compute_late(rule)
            if lattice is not None and isinstance(norm, ComputedNorm):
                points = range(lattice.window(self._list_slots(rule)[0]).start, lattice.first)
                if points.start >= norm.since:
                    self._leads[_name_norm(rule)] = {name: norm.list_leads(name, points) for name in norm.tracks}

    async def baselines(self, rule: Rule, at: float, keys: Iterable[Labels]) -> Mapping[str, Values]:
        """Baselines at a slot; asked for that slot alone where they are not computed and the stretch has not loaded all of them."""
        name = _name_norm(rule)
        if name not in self._norms and (norm := await self._compute_norm(rule)) is not None:
            self._norms[name] = norm
        if name in self._norms:
            return read_baselines(rule, self._norms[name].answer(self.step_of(at), keys))
        slot = find_baseline_slot(rule, at)
        return read_baselines(
            rule, cut_alerts(rule, await self._ask(plan_baselines(rule).values(), slot, 1, EVERY_SECONDS), 0, keys)
        )

    async def _compute_norm(self, rule: Rule) -> ComputedNorm | None:
        """None where the points are not those of the baseline queries, or a server answered something else than was computed."""
        lattice = self._find_lattice(rule)
        if lattice is None or any(self.trust.get(query) is False for query in plan_baselines(rule).values()):
            return None
        points = range(lattice.window(self._list_slots(rule)[0]).start, lattice.first)
        leads = self._leads.get(_name_norm(rule))
        if leads is None:
            leads, every = {}, lattice.every_ms / 1000
            for signal in list_based(rule):
                queries = list_filled(rule, signal)
                first = await self._ask(queries, points.start * every, len(points), every) if points else {}
                found = [first.get(query, Matrix()) for query in queries]
                if not is_plain(signal, found):
                    return None
                leads[signal.name] = read_leads(signal, found, points.start)
        norm = self._make_norm(rule, lattice, leads, points.start)
        return norm if norm is not None and await self._confirm(norm) else None

    def _compute_late(self, rule: Rule) -> ComputedNorm | None:
        """From what the stretch holds alone, for moments late in it."""
        lattice = self._find_lattice(rule)
        return None if lattice is None else self._make_norm(rule, lattice, {}, lattice.first)

    def _make_norm(self, rule: Rule, lattice: Lattice, leads: _Leads, since: int) -> ComputedNorm | None:
        tracks: dict[str, Track] = {}
        for signal in list_based(rule):
            matrices = tuple(self.plain(rule, query) for query in list_filled(rule, signal))
            if not is_plain(signal, matrices):
                return None
            tracks[signal.name] = Track(signal, lattice, leads.get(signal.name, {}), matrices)
        return ComputedNorm(rule, self._list_slots(rule), tracks, since)

    async def _confirm(self, norm: ComputedNorm) -> bool:
        """Hold what is computed against the source's own answer, once a query: not all that speak PromQL are Prometheus."""
        for name, query in plan_baselines(norm.rule).items():
            if query not in self.trust:
                track = norm.tracks[name]
                matrices = await self._ask((query,), norm.slots[-1], 1, EVERY_SECONDS)
                asked = cut_moment(matrices[query].series, 0)
                same = track.answer(norm.slots[-1], track.index(None)) == asked
                if not same or isinstance(asked, Samples):
                    self.trust[query] = same
        return all(self.trust.get(query, True) for query in plan_baselines(norm.rule).values())

    async def _ask_norm(self, rule: Rule) -> AskedNorm:
        slots, every = self._list_slots(rule), self._slot_distance
        places = [round((slot - slots[0]) / every) for slot in slots]
        return AskedNorm(rule, places, await self._ask(plan_baselines(rule).values(), slots[0], places[-1] + 1, every))

    async def _ask(self, queries: Iterable[str], start: float, count: int, step_seconds: float) -> dict[str, Matrix]:
        wanted = tuple(dict.fromkeys(queries))
        found = await _join(load_matrix(self.source, query, start, count, step_seconds) for query in wanted)
        return dict(zip(wanted, found, strict=True))

    def _find_lattice(self, rule: Rule) -> Lattice | None:
        slots = self._list_slots(rule)
        return find_lattice(rule, slots, self._slot_distance, self.start, self.count, self.step_seconds)

    def _list_slots(self, rule: Rule) -> list[float]:
        """The newest baseline slot at each step."""
        if rule.name not in self._slots:
            grid = baseline_grid(rule)
            self._slots[rule.name] = [grid.time_of(grid.index_at(self.time_of(step))) for step in range(self.count)]
        return self._slots[rule.name]

    @property
    def _slot_distance(self) -> float:
        """How far apart the baseline slots are that are looked at."""
        return self.step_seconds if self.step_seconds % EVERY_SECONDS == 0 else EVERY_SECONDS

    async def history(self, rule: Rule, at: float) -> Mapping[str, Values] | None:
        """Asked at that moment; rare."""
        return await ask_history(self.source, rule, at)


def _name_norm(rule: Rule) -> _NormName:
    return rule.name, rule.by, rule.offset_seconds, tuple(plan_baselines(rule).values())
