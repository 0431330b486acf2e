"""Runs the slots: one named, guarded task a batch; each due slot starts the evaluation of every rule of the batch.

Rules that wait for the same answers are walked in one task; a rule that has to wait for more goes on in a task of its own. A rule
whose last evaluation still runs skips the slot, and only that rule does. `slot` says when, `evaluation` says what.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from detector.app.guard import describe_fault, guard, wait_for
from detector.app.headstart import begin_now
from detector.app.slot import keep_text, make_batches
from detector.app.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from detector.app.evaluation import Evaluator, Round
    from detector.app.slot import Batch, BatchKey
    from detector.app.tenancy import Tenancy
    from detector.domain.outcome import Outcome
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer

LAG_EVERY_SECONDS = 1.0
OVERDUE_SECONDS = 5.0
STOP_SECONDS = 5.0
CROWD = 500  # rules that are begun without giving way to the loop
SLICE_SECONDS = 0.005  # rules are judged so long without giving way to the loop
LEFT_OUT = 4  # slots that are caught up: about as many as pass while a lease runs out


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
    """Evaluates the rules it was given, each at its slots, until stopped; of several replicas, those that `tenancy` allows.

    `last_tick`: monotonic seconds of the last moment at which the loop turned and every batch was on time, for the watchdog.
    `lag_seconds`: how late the event loop woke a sleeper last.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        clock: Clock,
        observer: Observer,
        name_query: Callable[[str], str] = keep_text,
        *,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._name_query = name_query
        self._tenancy = tenancy
        self._clock = clock
        self._observer = observer
        self._batches: dict[BatchKey, Batch] = {}
        self._rules: dict[str, Rule] = {}
        self._running: dict[BatchKey, _Running] = {}
        self._evaluations: dict[str, asyncio.Task[None]] = {}
        self._passed: dict[str, deque[float]] = {}
        if tenancy is not None:
            tenancy.on_gained = self.catch_up
        self.last_tick = clock.monotonic()
        self.lag_seconds = 0.0

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Run these from now on. A batch that stays keeps its slots; evaluations under way end by themselves."""
        self._batches = {batch.key: batch for batch in make_batches(rules, self._name_query)}
        self._rules = {rule.name: rule for rule in rules}
        if self._tenancy is not None:
            self._tenancy.assign(self._batches)
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
        free = []
        tenancy = self._tenancy if self._tenancy is not None and self._tenancy.shared else None
        for rule in batch.rules:
            if tenancy is not None and not tenancy.may_run(rule.name):
                self._passed.setdefault(rule.name, deque(maxlen=LEFT_OUT)).append(slot)  # another replica does
                continue
            busy = rule.name in self._evaluations
            if missed or busy:
                self._observer.slots_missed(rule.name, missed + busy)
            if not busy and not (tenancy is not None and self._catch_up(rule, tenancy.find_reached(rule.name), slot)):
                free.append(rule)
        if free:
            self._spawn(self._begin(free, slot), [rule.name for rule in free])

    def catch_up(self, name: str, reached: float | None) -> None:
        """This replica leads the rule now, which was last evaluated at `reached`: run the newest slots that were left out."""
        rule = self._rules.get(name)
        if rule is not None and name not in self._evaluations:
            self._catch_up(rule, reached)

    def _catch_up(self, rule: Rule, reached: float | None, *following: float) -> bool:
        """Run what was left out, then what follows, in their order; False where nothing was.

        A breach is then first seen at the slot at which the other replicas see it, and its incident has the same id.
        """
        passed = self._passed.pop(rule.name, ())
        left_out = [slot for slot in passed if reached is None or reached < slot]
        if left_out:
            self._spawn(self._run_in_turn(rule, (*left_out, *following)), [rule.name])
        return bool(left_out)

    async def _run_in_turn(self, rule: Rule, slots: Sequence[float]) -> None:
        for slot in slots:
            await self._evaluator.evaluate(self._evaluator.begin(rule, slot))

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
        self._rules.clear()
        for task in tickers:
            task.cancel()
        await asyncio.gather(*tickers, return_exceptions=True)
        drained = asyncio.create_task(self._drain(), name="drain")
        if not await wait_for((drained,), patience_seconds, self._clock):
            for evaluation in set(self._evaluations.values()):
                evaluation.cancel()
        await drained

    async def _drain(self) -> None:
        while under_way := set(self._evaluations.values()):
            await asyncio.wait(under_way)
            await asyncio.sleep(0)  # what has ended is taken off

    async def _begin(self, rules: Sequence[Rule], slot: float) -> None:
        """Ask for all of them; those that wait for the same answers go on together.

        After each crowd the loop has a turn, so that the first queries are on their way while the last are written.
        """
        began = self._clock.monotonic()
        for start in range(0, len(rules), CROWD):
            if start:
                await asyncio.sleep(0)
            crowds: dict[tuple[asyncio.Future[Outcome], ...], list[Round]] = {}
            for rule in rules[start : start + CROWD]:
                now = self._evaluator.begin(rule, slot, began)
                crowds.setdefault(now.answers, []).append(now)
            for answers, crowd in crowds.items():
                self._spawn(self._walk(answers, crowd), [now.rule.name for now in crowd])

    async def _walk(self, answers: tuple[asyncio.Future[Outcome], ...], crowd: Sequence[Round]) -> None:
        """Evaluate one after the other once the answers are there; whose evaluation has to wait goes on by itself."""
        if answers:
            await asyncio.wait(answers)
        crowd = await self._rest(crowd)
        began = self._clock.monotonic()
        for now in crowd:
            if self._clock.monotonic() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = self._clock.monotonic()
            name = now.rule.name
            try:
                rest = begin_now(self._evaluator.evaluate(now))
            except Exception as fault:  # noqa: BLE001 - one rule's evaluation: a sick rule hurts only itself
                self._observer.trouble(f"rule {name}", describe_fault(fault))
            else:
                if rest is not None:
                    self._spawn(rest, [name])

    async def _rest(self, crowd: Sequence[Round]) -> Sequence[Round]:
        try:
            return await self._evaluator.rest(crowd)
        except Exception as fault:  # noqa: BLE001 - a short cut: where it fails the long way is gone
            self._observer.trouble(f"rule {crowd[0].rule.name}", describe_fault(fault))
            return crowd

    def _spawn(self, work: Coroutine[Any, Any, None], names: Sequence[str]) -> None:
        """Run it in a task of its own; until that ends the rules are busy, unless another has taken them over."""
        task = asyncio.create_task(work, name=f"rule {names[0]}")
        self._evaluations.update(dict.fromkeys(names, task))
        task.add_done_callback(partial(self._end, names))

    def _end(self, names: Sequence[str], task: asyncio.Task[None]) -> None:
        for name in names:
            if self._evaluations.get(name) is task:
                del self._evaluations[name]
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._observer.trouble(task.get_name(), describe_fault(fault))
