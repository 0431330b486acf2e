"""Keeps this replica's leases: a heartbeat, its fair share of the 64 shards, and until when it may act on each.

Every third of the TTL one round goes to the store (`ports.lease`). A shard is led from the round that gave it until the moment that
round was asked plus the TTL, on the monotonic clock: past that it is not led, whatever the database says, for another may lead it.
What is beyond the share is let go of in two rounds: the first stops what is begun for it, the next gives it up once nothing is
under way. Before it: nothing. After it: `tenancy` (who evaluates), `committer` (fences), `dispatcher` (who sends).

Where the store is this process's alone, every shard is led always and nothing is asked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault, is_set_within
from detector.domain.shard import SHARDS, find_shard
from detector.domain.share import Roll, Share, plan_share
from detector.ports.error import NotOursError, OutsideError
from detector.ports.store import Fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from detector.ports.clock import Clock
    from detector.ports.lease import Registry
    from detector.ports.observer import Observer
    from detector.ports.store import Delivery

TTL_SECONDS = 15.0
ROUNDS = 3  # within one TTL
LETTING_GO_SECONDS = 0.5
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 2.0
RELEASE_SECONDS = 3.0
MARGIN_SECONDS = 0.2  # an exchange ends this long before the lease does


@dataclass(frozen=True, slots=True)
class Hold:
    """A shard that was given to this replica: under which epoch, until when (monotonic), and since when without a break (unix)."""

    epoch: int
    deadline: float
    since: float


class LeaseKeeper:
    """`listen`: told at once when what is led may have changed. `on_led` hears of each shard, for the metric.

    `busy` gives shards for which something is under way that must end before another leads them; `settle` writes what is behind.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        observer: Observer,
        *,
        ttl_seconds: float = TTL_SECONDS,
        on_led: Callable[[int, bool], None] = lambda _shard, _leads: None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._observer = observer
        self.ttl_seconds = ttl_seconds
        self._on_led = on_led
        self._holds: dict[int, Hold] = {}
        self._leaving: frozenset[int] = frozenset()
        self._leaving_since = 0.0
        self._replicas: Mapping[str, bool] = {}
        self._failing_since: float | None = None
        self._told: frozenset[int] = frozenset()
        self._listeners: list[Callable[[], None]] = []
        self._round = asyncio.Lock()
        self._hurried = asyncio.Event()
        self._going = self._ended = False
        self.busy: Callable[[], Collection[int]] = frozenset
        self.settle: Callable[[], Awaitable[object]] | None = None
        self.is_blind: Callable[[], bool] = lambda: False

    @property
    def exclusive(self) -> bool:
        """Whether the store is this process's alone."""
        return self._registry.exclusive

    @property
    def away(self) -> bool:
        """Whether several replicas may be about and the store has not answered for a while: then each does all it can alone."""
        failing = self._failing_since
        return failing is not None and self._clock.monotonic() - failing >= self.ttl_seconds / ROUNDS

    @property
    def others_blind(self) -> bool:
        """Whether another live replica said that it sees nothing."""
        return any(blind for name, blind in self._replicas.items() if name != self._registry.holder)

    def listen(self, listener: Callable[[], None]) -> None:
        """Have it called after every round and when a lease ran out."""
        self._listeners.append(listener)

    def leads(self, shard: int) -> bool:
        """Whether this replica may begin something for the shard now."""
        return self.exclusive or (shard not in self._leaving and self._find_remaining(shard) > 0)

    def holds(self, shard: int) -> bool:
        """Whether the lease stands, though it may be about to be given up."""
        return self.exclusive or self._find_remaining(shard) > 0

    def leads_thing(self, identity: str) -> bool:
        """Whether it leads the shard of an incident, or of a duty of that name."""
        return self.exclusive or self.leads(find_shard(identity))

    def speaks(self, duty: str) -> bool:
        """Whether a duty that one replica has for all is this one's; of those that reach no store each has it."""
        return self.away or self.leads_thing(duty)

    def list_led(self) -> frozenset[int]:
        """Every shard that is led now."""
        return frozenset(shard for shard in range(SHARDS) if self.leads(shard))

    def find_hold(self, shard: int) -> Hold | None:
        """Under what it was given last, also past its deadline: nobody may have taken it since."""
        return self._holds.get(shard)

    def make_fence(self, shard: int) -> Fence:
        """Under which lease what is worked out now is to be written; epoch 0, which never stands, where there is none."""
        hold = self._holds.get(shard)
        return Fence(shard, 0 if hold is None else hold.epoch)

    def since(self, identity: str) -> float:
        """From when on this replica has led the thing's shard without a break, unix seconds; -inf where it always did."""
        hold = self._holds.get(find_shard(identity))
        return float("-inf") if hold is None else hold.since

    def permit(self, delivery: Delivery) -> float:
        """Seconds for which a delivery may be on its way from now on. Raises NotOursError where there are none.

        Asked before it is begun, and again when its connection exists. What left from memory is nobody's yet.
        """
        if self.exclusive or delivery.epoch is None:
            return float("inf")
        shard = find_shard(delivery.incident)
        hold = self._holds.get(shard)
        seconds = self._find_remaining(shard) - MARGIN_SECONDS
        if hold is None or hold.epoch != delivery.epoch or seconds <= 0:
            raise NotOursError("the lease ended before it could leave: another replica sends it")
        return seconds

    def check(self) -> None:
        """Right before any request is written: raises NotOursError where every lease has run out, as after standing still."""
        now = self._clock.monotonic()
        over = bool(self._holds) and all(hold.deadline <= now for hold in self._holds.values())
        if over and not (self.exclusive or self.away):
            raise NotOursError("every lease ended before it could leave: other replicas send what is due")

    async def run(self) -> None:
        """Keep the leases until cancelled. Guard this."""
        while not self.exclusive:
            soon = self._leaving or self._failing_since is not None
            await is_set_within(self._hurried, LETTING_GO_SECONDS if soon else self.ttl_seconds / ROUNDS, self._clock)
            self._hurried.clear()
            await self.keep()
        self.look()

    def hurry(self) -> None:
        """Somebody left a shard free: the next round is now."""
        self._hurried.set()

    async def run_look(self) -> None:
        """Notice leases that ran out between rounds. Guard this."""
        while not self.exclusive:
            self.look()
            await self._clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell the metric, and everybody, where what is led has changed."""
        led = self.list_led()
        for shard in led ^ self._told:
            self._on_led(shard, shard in led)
        changed, self._told = led != self._told, led
        if changed:
            self._observer.note("shards led", count=len(led), replicas=1 if self.exclusive else len(self._replicas))
        if changed or self._failing_since is not None:
            self._tell()

    async def keep(self) -> bool:
        """One round; False when the store did not answer."""
        if self.exclusive or self._ended:
            self.look()
            return True
        async with self._round:
            give = await self._list_given()
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(max(PATIENCE_SECONDS, self.ttl_seconds / ROUNDS)):
                    tenure = await self._registry.keep(
                        self._plan, self.ttl_seconds, give=give, blind=self.is_blind(), going=self._going
                    )
            except (OutsideError, TimeoutError) as fault:
                self._note_failing("no answer in time" if isinstance(fault, TimeoutError) else describe_fault(fault))
                return False
            self._failing_since = None
            self._replicas = tenure.replicas
            self._leaving -= give
            now = self._clock.now()
            self._holds = {
                shard: Hold(epoch, began + self.ttl_seconds, self._find_since(shard, epoch, now))
                for shard, epoch in tenure.epochs.items()
            }
            self.look()
            self._tell()
        return True

    async def leave(self) -> None:
        """The process is about to end: give up what nothing is under way for, and the rest as that ends, by `run`. Bounded."""
        if self.exclusive:
            return
        self._going = True
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                if await self.keep():
                    await self.keep()
        self.hurry()

    async def release(self) -> None:
        """Give everything up at once: the process ends. Bounded; a store that does not answer lets the leases run out."""
        self._ended = True
        self._holds = {}
        self.look()
        if self.exclusive:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._registry.release()
        except (OutsideError, TimeoutError) as fault:
            self._observer.trouble("leases", f"not released, they end by themselves: {describe_fault(fault)}")

    def _note_failing(self, why: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()  # not when it was asked: we may have been frozen since
            self._observer.trouble("leases", f"{why}; tried again every {LETTING_GO_SECONDS:g} s")

    def _plan(self, roll: Roll) -> Share:
        me = self._registry.holder
        share = Share(surplus=roll.list_held(me)) if self._going else plan_share(roll, me)
        if not self._leaving:
            self._leaving_since = self._clock.monotonic()
        self._leaving = share.surplus
        return share

    async def _list_given(self) -> frozenset[int]:
        """What is let go of and has nothing under way any more."""
        leaving = self._leaving & self._holds.keys()
        if not leaving:
            return frozenset()
        if self.settle is not None:
            await self.settle()
        if self._clock.monotonic() - self._leaving_since >= self.ttl_seconds:
            return leaving  # nothing that was begun under these leases is under way after so long
        return leaving - frozenset(self.busy())

    def _find_remaining(self, shard: int) -> float:
        hold = self._holds.get(shard)
        return 0.0 if hold is None or self._ended else hold.deadline - self._clock.monotonic()

    def _find_since(self, shard: int, epoch: int, now: float) -> float:
        before = self._holds.get(shard)
        return before.since if before is not None and before.epoch == epoch else now

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
