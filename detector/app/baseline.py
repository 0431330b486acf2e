"""Keeps baselines: asked of the source at most once a minute a rule, on slots of their own, and handed to `evaluation`.

The queries and what their answers mean stand in `domain.baseline`. Backtest uses the same grid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault, guard
from detector.app.slot import make_grid
from detector.app.ticker import Ticker
from detector.domain.baseline import HISTORY_AFTER_SECONDS, plan_baselines, plan_history, read_baselines, read_history
from detector.domain.outcome import QueryFailed
from detector.domain.reading import Values
from detector.domain.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.cache import QueryCache
    from detector.app.roster import Roster
    from detector.app.slot import Grid
    from detector.domain.outcome import Outcome
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer

EVERY_SECONDS = 60.0
KEEP_SECONDS = 600.0
HISTORY_EVERY_SECONDS = 3600.0
HISTORY_RETRY_SECONDS = 300.0
QUERY_TIMEOUT_SECONDS = 10.0


def baseline_grid(rule: Rule) -> Grid:
    """The slots at which the rule's baselines are asked."""
    return make_grid(EVERY_SECONDS, rule.name)


@dataclass(slots=True)
class _Table:
    """One signal's baselines and when they were asked (monotonic seconds)."""

    values: Values
    asked: float


@dataclass(slots=True)
class _Kept:
    rule: Rule
    tables: dict[str, _Table] = field(default_factory=dict)
    history: Mapping[str, Values] = field(default_factory=dict)
    history_due: float = float("-inf")
    task: asyncio.Task[None] | None = None
    asking: asyncio.Task[None] | None = None


class BaselineKeeper:
    """Baselines and history of every rule that has any."""

    def __init__(
        self,
        cache: QueryCache,
        roster: Roster,
        clock: Clock,
        observer: Observer,
        *,
        query_timeout_seconds: float = QUERY_TIMEOUT_SECONDS,
    ) -> None:
        self._cache = cache
        self._roster = roster
        self._clock = clock
        self._observer = observer
        self._query_timeout_seconds = query_timeout_seconds
        self._kept: dict[str, _Kept] = {}

    def baselines(self, rule: Rule) -> Mapping[str, Values]:
        """Baselines by signal and alert; those that could not be asked for ten minutes are missing."""
        kept = self._kept.get(rule.name)
        if kept is None:
            return {}
        oldest = self._clock.monotonic() - KEEP_SECONDS
        return {name: table.values for name, table in kept.tables.items() if table.asked >= oldest}

    def history(self, rule: Rule) -> Mapping[str, Values]:
        """Medians around the same hour of past days; empty until an alert of the rule has been open for an hour."""
        kept = self._kept.get(rule.name)
        return {} if kept is None else kept.history

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Keep baselines for these; those of a rule whose baseline queries did not change are kept."""
        wanted = {rule.name: rule for rule in rules if rule.baselines}
        for name, kept in list(self._kept.items()):
            rule = wanted.pop(name, None)
            if rule is not None and plan_baselines(rule) == plan_baselines(kept.rule):
                kept.rule = rule
                continue
            self._drop(name)
            if rule is not None:
                wanted[name] = rule
        for name, rule in wanted.items():
            kept = self._kept[name] = _Kept(rule)
            ticker = Ticker(baseline_grid(rule), _BaselineDuty(self, kept), self._clock, catch_up=True)
            kept.task = asyncio.create_task(
                guard(f"baseline {name}", ticker.run, self._clock, self._observer), name=f"baseline {name}"
            )

    def start(self, kept: _Kept, slot: float) -> None:
        """Ask at this slot, unless the last asking still runs."""
        if kept.asking is None or kept.asking.done():
            kept.asking = asyncio.create_task(self._ask(kept, slot), name=f"baseline query {kept.rule.name}")
            kept.asking.add_done_callback(self._end)

    async def stop(self) -> None:
        """Ask nothing more."""
        tasks = [task for kept in self._kept.values() for task in (kept.task, kept.asking) if task is not None]
        for name in list(self._kept):
            self._drop(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, kept: _Kept, slot: float) -> None:
        plan = plan_baselines(kept.rule)
        outcomes = await self._query(tuple(plan.values()), slot)
        tables = read_baselines(kept.rule, outcomes)
        asked = self._clock.monotonic()
        for name, query in plan.items():
            if not isinstance(outcomes[query], QueryFailed):
                kept.tables[name] = _Table(tables.get(name, {}), asked)
        await self._ask_history(kept, slot)

    async def _ask_history(self, kept: _Kept, slot: float) -> None:
        if not self._long_open(kept.rule.name, slot):
            kept.history, kept.history_due = {}, float("-inf")
            return
        if self._clock.monotonic() < kept.history_due:
            return
        queries = tuple(dict.fromkeys(query for texts in plan_history(kept.rule).values() for query in texts))
        outcomes = await self._query(queries, slot)
        failed = any(isinstance(outcome, QueryFailed) for outcome in outcomes.values())
        kept.history_due = self._clock.monotonic() + (HISTORY_RETRY_SECONDS if failed else HISTORY_EVERY_SECONDS)
        if not failed or not kept.history:
            kept.history = read_history(kept.rule, outcomes)

    async def _query(self, queries: tuple[str, ...], slot: float) -> dict[str, Outcome]:
        return await self._cache.ask_all(queries, slot, self._query_timeout_seconds)

    def _long_open(self, name: str, now: float) -> bool:
        """Whether an alert of the rule fires for about an hour; asked a slot early so that the answer is there in time."""
        if not self._roster.track(name).hot:
            return False
        since = now - HISTORY_AFTER_SECONDS + EVERY_SECONDS
        return any(state.fired is not None and state.fired <= since for state in self._roster.states(name).values())

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name)
        for task in (kept.task, kept.asking):
            if task is not None:
                task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._observer.trouble(task.get_name(), describe_fault(fault))


class _BaselineDuty:
    def __init__(self, keeper: BaselineKeeper, kept: _Kept) -> None:
        self._keeper = keeper
        self._kept = kept

    def due(self, slot: float, missed: int) -> None:
        """Only the newest slot matters."""
        del missed
        self._keeper.start(self._kept, slot)
