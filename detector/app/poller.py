"""Runs the slots: one named, guarded task a batch; each due slot starts the evaluation of every rule of the batch on its own.

A rule whose last evaluation still runs skips the slot, and only that rule does. `slot` says when, `evaluation` says what.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault, guard, wait_for
from detector.app.slot import keep_text, make_batches
from detector.app.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from detector.app.slot import Batch, BatchKey
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer

LAG_EVERY_SECONDS = 1.0
OVERDUE_SECONDS = 5.0
STOP_SECONDS = 5.0


@dataclass(slots=True)
class _Running:
    ticker: Ticker
    task: asyncio.Task[None]


class _BatchDuty:
    """Starts the rules that the batch has at that moment."""

    def __init__(self, poller: Poller, key: BatchKey) -> None:
        self._poller = poller
        self._key = key

    def due(self, slot: float, missed: int) -> None:
        self._poller.start_slot(self._key, slot, missed)


class Poller:
    """Evaluates the rules it was given, each at its slots, until stopped.

    `last_tick`: monotonic seconds of the last moment at which the loop turned and every batch was on time, for the watchdog.
    `lag_seconds`: how late the event loop woke a sleeper last.
    """

    def __init__(
        self,
        evaluate: Callable[[Rule, float], Awaitable[None]],
        clock: Clock,
        observer: Observer,
        name_query: Callable[[str], str] = keep_text,
    ) -> None:
        self._evaluate = evaluate
        self._name_query = name_query
        self._clock = clock
        self._observer = observer
        self._batches: dict[BatchKey, Batch] = {}
        self._running: dict[BatchKey, _Running] = {}
        self._evaluations: dict[str, asyncio.Task[None]] = {}
        self.last_tick = clock.monotonic()
        self.lag_seconds = 0.0

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Run these from now on. A batch that stays keeps its slots; evaluations under way end by themselves."""
        self._batches = {batch.key: batch for batch in make_batches(rules, self._name_query)}
        for key in self._running.keys() - self._batches.keys():
            self._running.pop(key).task.cancel()
        for key in self._batches.keys() - self._running.keys():
            ticker = Ticker(self._batches[key].grid, _BatchDuty(self, key), self._clock)
            name = f"batch {key.query[:60]}"
            task = asyncio.create_task(guard(name, ticker.run, self._clock, self._observer), name=name)
            self._running[key] = _Running(ticker, task)

    def start_slot(self, key: BatchKey, slot: float, missed: int) -> None:
        """Start every rule of the batch that is free; count what was missed."""
        batch = self._batches.get(key)
        if batch is None:
            return
        for rule in batch.rules:
            busy = rule.name in self._evaluations
            if missed or busy:
                self._observer.slots_missed(rule.name, missed + busy)
            if not busy:
                task = asyncio.create_task(self._run_rule(rule, slot), name=f"rule {rule.name}")
                self._evaluations[rule.name] = task
                task.add_done_callback(self._end_rule)

    async def run_lag(self) -> None:
        """Measure how late the loop is, and keep `last_tick`. Guard this."""
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(LAG_EVERY_SECONDS)
            monotonic = self._clock.monotonic()
            self.lag_seconds = max(0.0, monotonic - began - LAG_EVERY_SECONDS)
            if all(monotonic - running.ticker.next_turn < OVERDUE_SECONDS for running in self._running.values()):
                self.last_tick = monotonic

    async def stop(self, *, patience_seconds: float = STOP_SECONDS) -> None:
        """Start nothing more, wait for evaluations under way, cut them after `patience_seconds`."""
        tickers = [running.task for running in self._running.values()]
        self._running.clear()
        self._batches.clear()
        for task in tickers:
            task.cancel()
        await asyncio.gather(*tickers, return_exceptions=True)
        under_way = set(self._evaluations.values())
        if not await wait_for(under_way, patience_seconds, self._clock):
            for evaluation in under_way:
                evaluation.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _run_rule(self, rule: Rule, slot: float) -> None:
        try:
            await self._evaluate(rule, slot)
        finally:
            self._evaluations.pop(rule.name, None)

    def _end_rule(self, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._observer.trouble(task.get_name(), describe_fault(fault))
