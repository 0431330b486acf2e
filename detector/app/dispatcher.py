"""Step 5 of the path: one queue and one worker per destination, from the outbox to the channel.

Before it: the committer wrote notices and says so (`committed`), or could not and hands them over (`offer`). After it: a channel.

Rows are claimed only when one can be sent; the store gives the severest first and only the oldest of each (incident, route), so
order needs no care here. An outcome is written after the destination accepted, by a task of its own: a store that hangs keeps no
page from leaving. While the store fails, notices leave from memory under the same ids; when their rows appear, their outcome is
written instead of sending them again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from detector.app.attempt import Outcome, accept, give_back, judge
from detector.app.fallback import UNDELIVERED
from detector.app.flight import HELD_GRACE_SECONDS, OPENING, Flight, is_grave_page, remember
from detector.app.guard import is_set_within
from detector.app.keyring import Keyring
from detector.app.spare import SPARE_LIMIT, UNWRITTEN_MOST, Lane, Spare, SpareQueue, lane_of
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.domain.shard import find_shard
from detector.ports.error import NotOursError, OutsideError, PermanentError, TemporaryError
from detector.ports.store import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.app.lease import LeaseKeeper
    from detector.domain.incident import Notice
    from detector.ports.channel import Channel, Receipt
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Delivery, Store

CONCURRENCY = 16
POLL_SECONDS = 1.0
IDLE_POLL_SECONDS = 5.0
PATIENCE_SECONDS = 2.0
FALLBACK_AFTER_SECONDS = 120.0
LOST_SECONDS = 5.0  # for what is in memory only: by then it has its row, or it is certain that nobody reaches the store
_STOP_SHARE = 0.8  # of the time to stop, for what is under way; the rest for writing what came of it


class Dispatcher:
    """Delivers one channel's notices. `on_failing(delivery, why)` is called once for a notice that needs another road.

    `run` returns after `stop`. `offer`, `committed` and `wake` return at once and are called in the loop's thread.
    """

    def __init__(
        self,
        channel: Channel,
        store: Store,
        observer: Observer,
        clock: Clock,
        *,
        concurrency: int = CONCURRENCY,
        spare_limit: int = SPARE_LIMIT,
        fallback_after_seconds: float = FALLBACK_AFTER_SECONDS,
        on_failing: Callable[[Delivery, str], None] | None = None,
        keeper: LeaseKeeper | None = None,
    ) -> None:
        self._keeper = keeper if keeper is not None and not keeper.exclusive else None  # None: there are no other replicas
        self._channel = channel
        self._store = store
        self._observer = observer
        self._clock = clock
        self._concurrency = concurrency
        self._fallback_after_seconds = fallback_after_seconds
        self._on_failing = on_failing
        self._spare = SpareQueue(spare_limit)
        self._flights: dict[str, Flight] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._told: OrderedDict[str, str] = OrderedDict()  # notices that another road was told of
        self._keyring = Keyring()
        self._wakeup = asyncio.Event()
        self._claim: asyncio.Task[None] | None = None
        self._claim_began = 0.0
        self._claim_wanted = True
        self._inherits = True  # until the outbox was seen empty: rows of a process before us may be due at any moment
        self._led: frozenset[int] = frozenset()
        self._record: asyncio.Task[None] | None = None
        self._store_fails = False
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, kept in memory to be sent, or still to be written."""
        return not (self._flights or self._outcomes or len(self._spare) or self._claim)

    @property
    def busy_shards(self) -> frozenset[int]:
        """Shards of which something is under way, or was and is not written yet."""
        under_way = [flight.delivery for flight in self._flights.values()]
        unwritten = [outcome.delivery for outcome in self._outcomes.values() if outcome.stored]
        return frozenset(find_shard(delivery.incident) for delivery in (*under_way, *unwritten))

    def wake(self) -> None:
        """Look into the outbox now."""
        self._claim_wanted = True
        self._wakeup.set()

    def offer(self, notices: Sequence[Notice]) -> None:
        """Send what could not be committed, from memory. Offering a notice again changes nothing."""
        for notice in self._mine(notices):
            if self._keeper is not None and notice.kind is NoticeKind.RESOLVE:
                self._spare.withdraw(notice.key)  # who is cut off resolves nothing; what has not left yet need not any more
            elif not (notice.id in self._flights or notice.id in self._outcomes or self._spare.find(notice.id)):
                self._keep(Spare(self._keyring.deliver(notice), due=self._clock.now()))
        self._wakeup.set()

    def committed(self, notices: Sequence[Notice], collapsed: Sequence[Delivery] = ()) -> None:
        """The rows of these notices are in the outbox now; `collapsed` ended in the same transaction, never to be sent."""
        for delivery in collapsed:
            if delivery.channel == self._channel.name and not self._left_from_memory(delivery):
                self._tell_collapse(delivery)
        for notice in self._mine(notices):
            if flight := self._flights.get(notice.id):
                flight.stored = True
            elif outcome := self._outcomes.get(notice.id):
                outcome.stored = True
            elif self._keeper is None and notice.kind is NoticeKind.RESOLVE and self._keyring.is_unwritten(notice.key):
                # The store may have seen no attempt of the trigger and have collapsed both; PagerDuty knows better.
                delivery = self._keyring.deliver(notice)
                self._keep(Spare(delivery, due=self._clock.now(), stored=True))
            elif spare := self._spare.find(notice.id):
                self._hand_over(spare)
        self.wake()

    async def run(self) -> None:
        """Deliver until stopped. Guard this; it may be begun again after a fault."""
        while not self._stopping:
            self._wakeup.clear()
            self._begin_claim()
            self._begin_record()
            self._send_spare()
            await self._pause()

    async def stop(self, timeout_seconds: float) -> None:
        """Claim no more, let what is under way end, write what came of it; the rest stays queued. Returns within the timeout."""
        self._stopping = True
        self._wakeup.set()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        under_way = [flight.task for flight in self._flights.values() if flight.task] + [task for task in (self._claim,) if task]
        if under_way:
            await asyncio.wait(under_way, timeout=timeout_seconds * _STOP_SHARE)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        try:
            async with asyncio.timeout_at(deadline):
                if self._record:
                    await asyncio.gather(self._record, return_exceptions=True)
                await self._write_outcomes()
        except TimeoutError:
            self._observer.trouble(f"stop {self._channel.name}", f"outcomes not written in time: {len(self._outcomes)}")

    def _mine(self, notices: Sequence[Notice]) -> list[Notice]:
        return [notice for notice in notices if notice.channel == self._channel.name]

    def _keep(self, spare: Spare) -> None:
        dropped = self._spare.put(spare)
        if dropped is not None:
            self._observer.trouble(
                "memory queue", f"full: {dropped.kind} {dropped.id} of {dropped.incident} waits for the store to return"
            )

    def _hand_over(self, spare: Spare) -> None:
        """A notice in memory has its row now. Never attempted: the row takes over. Else memory goes on, and the row must say so."""
        delivery = spare.delivery
        if delivery.id not in self._failures or self._keeper is not None:  # of several replicas, the shard's sends it
            self._spare.discard(delivery.id)
            return
        self._spare.put(replace(spare, stored=True))
        now = self._clock.now()
        self._outcomes[delivery.id] = Outcome(delivery, DeliveryState.CLAIMED, now, True, "", retry_at=max(spare.due, now))  # noqa: FBT003

    def _left_from_memory(self, delivery: Delivery) -> bool:
        return self._keyring.is_unwritten(delivery.key) or delivery.id in self._outcomes or delivery.id in self._flights

    def _tell_collapse(self, delivery: Delivery) -> None:
        """Nobody was paged for what opened and ended meanwhile; what was grave is told by another road."""
        self._observer.delivery_ended(delivery, "collapsed", self._clock.now(), UNDELIVERED)
        if delivery.kind in OPENING and delivery.severity >= Severity.HIGH and self._on_failing is not None:
            self._on_failing(delivery, UNDELIVERED)

    def _begin_claim(self) -> None:
        free = min(self._concurrency - len(self._flights), 1 if len(self._outcomes) > UNWRITTEN_MOST else self._concurrency)
        if self._claim is None and self._claim_wanted and free > 0:
            self._claim_wanted = False
            self._claim_began = self._clock.monotonic()
            self._claim = asyncio.create_task(self._claim_rows(free), name=f"claim {self._channel.name}")
            self._claim.add_done_callback(self._end_claim)

    async def _claim_rows(self, limit: int) -> None:
        now = self._clock.now()
        led = None if self._keeper is None else self._keeper.list_led()
        if led is not None:
            self._inherits |= not led <= self._led  # others may have left rows behind
            self._led = led
            if not led:
                return
        try:
            rows = await self._store.claim(self._channel.name, now, limit, shards=led)
            if self._inherits and not rows:
                self._inherits = self._channel.name in await self._store.backlog()
        except OutsideError as error:
            self._note_store_failure("claim", error)
            return
        self._store_fails = False
        self._forget_unwritten(now)
        for row in rows:
            self._take(row)
        if len(rows) == limit:
            self._claim_wanted = True
        else:
            self._spare.forget_held(before=now - HELD_GRACE_SECONDS)

    def _forget_unwritten(self, now: float) -> None:
        """What left from memory here, and whose row another replica wrote and sent."""
        if self._keeper is not None:
            old = now - HELD_GRACE_SECONDS
            self._outcomes = {name: each for name, each in self._outcomes.items() if each.stored or each.at >= old}

    def _end_claim(self, task: asyncio.Task[None]) -> None:
        self._claim = None
        self._wakeup.set()
        self._raise_fault(task)

    def _take(self, row: Delivery) -> None:
        """A row was claimed; it may be one that memory has sent, or is sending."""
        if flight := self._flights.get(row.id):
            flight.stored = flight.held = True
        elif outcome := self._outcomes.get(row.id):
            outcome.stored = True
        elif self._stopping:
            self._outcomes[row.id] = Outcome(row, DeliveryState.QUEUED, self._clock.now(), True, "", retry_at=self._clock.now())  # noqa: FBT003
        else:
            self._spare.discard(row.id)
            self._start(row, stored=True, held=True)

    def _send_spare(self) -> None:
        free = self._concurrency - len(self._flights)
        busy: set[Lane] = {lane_of(flight.delivery) for flight in self._flights.values()}
        with_held = self._is_store_failing() if self._keeper is None else self._keeper.away
        for spare in self._spare.take(self._clock.now(), free, busy, with_held=with_held):
            if self._keeper is not None and spare.held:
                if is_grave_page(spare.delivery):
                    self._start(replace(spare.delivery, epoch=None), stored=True, held=True)
                continue
            if not spare.stored:
                self._keyring.note_unwritten(spare.delivery)
            self._start(spare.delivery, stored=spare.stored, held=spare.held, order=spare.order)

    def _start(self, delivery: Delivery, *, stored: bool, held: bool, order: int = 0) -> None:
        flight = Flight(delivery, stored, held, order)
        self._flights[delivery.id] = flight
        flight.task = asyncio.create_task(self._fly(flight), name=f"send {self._channel.name} {delivery.id}")

    async def _fly(self, flight: Flight) -> None:
        delivery = flight.delivery
        try:
            outcome = await self._attempt(flight)
            self._settle(flight, outcome)
        finally:
            self._flights.pop(delivery.id, None)
            self._wakeup.set()

    async def _attempt(self, flight: Flight) -> Outcome:
        delivery = flight.delivery
        try:
            receipt = await self._send(delivery)
        except NotOursError as late:
            return give_back(delivery, self._clock.now(), str(late))
        except Exception as error:  # noqa: BLE001 - a delivery that breaks its channel hurts only itself
            failures = self._failures.get(delivery.id, 0) + 1
            outcome = judge(
                delivery,
                error,
                self._clock.now(),
                stored=flight.stored,
                failures=failures,
                fallback_after_seconds=self._fallback_after_seconds,
            )
            if outcome.word:
                remember(self._failures, delivery.id, failures)
            return outcome
        return accept(delivery, receipt, self._clock.now(), stored=flight.stored)

    async def _send(self, delivery: Delivery) -> Receipt:
        """Send within what is left of the lease."""
        if self._keeper is None:
            return await self._channel.send(delivery, now=self._clock.now())
        seconds = self._keeper.permit(delivery)
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                return await self._channel.send(delivery, now=self._clock.now())
        except TimeoutError:
            raise TemporaryError(f"{self._channel.name}: no answer before the lease ended") from None

    def _settle(self, flight: Flight, outcome: Outcome) -> None:
        """Tell everyone what came of the attempt, and keep what is still to be done about it."""
        delivery = flight.delivery
        outcome.stored = flight.stored  # its row may have appeared meanwhile
        if outcome.word:
            self._observer.delivery_ended(delivery, outcome.word, outcome.at, outcome.detail)
        if outcome.failing and delivery.id not in self._told:
            remember(self._told, delivery.id, "")
            if self._on_failing is not None:
                self._on_failing(delivery, outcome.detail)
        if outcome.lost:
            if flight.stored:
                self._outcomes[delivery.id] = outcome  # whoever leads its shard now claims the row
            else:
                self._keep(Spare(delivery, due=outcome.at + LOST_SECONDS, order=flight.order))
            return
        if outcome.retry_at is not None:
            order = 0 if flight.held else flight.order
            if self._keeper is None or flight.held or not flight.stored:  # else it has its row now, which its shard's leader sends
                self._keep(Spare(delivery, due=outcome.retry_at, stored=flight.stored, held=flight.held, order=order))
            if not flight.stored:
                return
        else:
            self._failures.pop(delivery.id, None)
            self._told.pop(delivery.id, None)
            if not self._keyring.note_end(outcome):
                return
        self._outcomes[delivery.id] = outcome

    def _begin_record(self) -> None:
        if self._record is None and any(outcome.stored for outcome in self._outcomes.values()):
            self._record = asyncio.create_task(self._write_outcomes(), name=f"record {self._channel.name}")
            self._record.add_done_callback(self._end_record)

    async def _write_outcomes(self) -> None:
        for outcome in [each for each in self._outcomes.values() if each.stored]:
            delivery = outcome.delivery
            try:
                await self._store.record(
                    delivery,
                    outcome.state,
                    outcome.at,
                    retry_at=outcome.retry_at,
                    error="" if outcome.state is DeliveryState.ACCEPTED else outcome.detail,
                    credential=outcome.credential,
                )
            except PermanentError as error:
                self._observer.trouble("record", f"{delivery.id}: {error}")
            except OutsideError as error:
                self._note_store_failure("record", error)
                await self._clock.sleep(0 if self._stopping else POLL_SECONDS)
                return
            if self._outcomes.get(delivery.id) is outcome:
                del self._outcomes[delivery.id]
            self.wake()

    def _end_record(self, task: asyncio.Task[None]) -> None:
        self._record = None
        self._wakeup.set()
        self._raise_fault(task)

    def _raise_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._observer.trouble(task.get_name(), f"{type(fault).__name__}: {fault}")

    def _note_store_failure(self, what: str, error: OutsideError) -> None:
        if not self._store_fails:
            self._observer.trouble(f"{what} {self._channel.name}", str(error))
        self._store_fails = True

    def _is_store_failing(self) -> bool:
        return self._store_fails or (self._claim is not None and self._clock.monotonic() - self._claim_began > PATIENCE_SECONDS)

    async def _pause(self) -> None:
        """Until something happened, a retry is due, or the poll; that is rarer while nothing is under way."""
        seconds = IDLE_POLL_SECONDS if self.idle and not self._store_fails and not self._inherits else POLL_SECONDS
        # Held ones count too: their rows are due in the store at the same moment.
        if (due := self._spare.next_due(with_held=True)) is not None and due > self._clock.now():
            seconds = min(seconds, due - self._clock.now())
        if not await is_set_within(self._wakeup, seconds, self._clock):
            self._claim_wanted = True
