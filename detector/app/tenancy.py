"""Which rules this replica evaluates: those whose batch lies on a shard it leads, once their states were read under that lease.

Before it: `lease` says what is led, the poller which batches there are. After it: the poller asks `may_run` at every slot and the
evaluation `make_fence`, so that what it finds is written only while the lease stands.

A rule is read from the store when its shard is gained, so that `for` goes on where the last leader was. Rules of other shards are
read every TTL all the same: the console shows them, and while nobody reaches the store every replica evaluates every rule from
there. What an incident holds as firing and no state says is taken over as firing: it may have been opened by a replica that was cut
off from the store, and somebody has to see its end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain.reception import PREFIX as RECEIVED_PREFIX
from detector.domain.resumption import resume
from detector.domain.shard import find_shard
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from detector.app.committer import Committer
    from detector.app.lease import LeaseKeeper
    from detector.app.roster import Roster
    from detector.app.slot import Batch, BatchKey
    from detector.ports.clock import Clock
    from detector.ports.lease import Registry
    from detector.ports.observer import Observer
    from detector.ports.store import Fence

RETRY_SECONDS = 1.0
RECEIVED_SECONDS = 2.0  # whoever sends waits for its answer


def find_batch_shard(key: BatchKey) -> int:
    """The shard of a query batch; the same in every replica that has the same rule files."""
    return find_shard("batch", str(key.every_ms), str(key.offset_ms), key.query)


class Tenancy:
    """`attach` before anything runs: whose book is looked into. `on_gained` hears of a rule and how far it came."""

    def __init__(
        self,
        registry: Registry,
        keeper: LeaseKeeper,
        roster: Roster,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._registry = registry
        self._keeper = keeper
        self._roster = roster
        self._clock = clock
        self._observer = observer
        self._committer: Committer | None = None
        self._shards: dict[str, int] = {}
        self._read_under: dict[str, int] = {}  # rule -> epoch of its shard's lease under which its states are ours
        self._wakeup = asyncio.Event()
        self._shadowed = float("-inf")
        self._failing = ""
        self.on_gained: Callable[[str, float | None], None] = lambda _rule, _reached: None
        keeper.listen(self._wakeup.set)

    def attach(self, committer: Committer) -> None:
        """Know what is open, and what is not written yet."""
        self._committer = committer

    def assign(self, batches: Mapping[BatchKey, Batch]) -> None:
        """These batches run from now on. A rule that moves between two shards that are both led here keeps its states."""
        before, self._shards = self._shards, {}
        for key, batch in batches.items():
            self._shards |= dict.fromkeys((rule.name for rule in batch.rules), find_batch_shard(key))
        for name, shard in self._shards.items():
            hold, old = self._keeper.find_hold(shard), before.get(name, shard)
            if old != shard and hold is not None and self._owns(name, old):
                self._read_under[name] = hold.epoch
            elif old != shard:
                self._read_under.pop(name, None)
        self._wakeup.set()

    def may_run(self, rule: str) -> bool:
        """Whether to evaluate the rule now."""
        if self._keeper.exclusive or self._keeper.away:
            return True
        shard = self.find_shard(rule)
        return self._keeper.leads(shard) and self._owns(rule, shard)

    def find_shard(self, rule: str) -> int:
        """The shard of a rule; of one that left the files that of its name."""
        return self._shards.get(rule, find_shard(rule))

    def find_reached(self, rule: str) -> float | None:
        """The slot at which the rule was last evaluated, as far as memory knows."""
        return self._roster.progress(rule).last_evaluation

    def leads(self, rule: str) -> bool:
        """Whether the rule's end, after it left the files, is for this replica to commit."""
        return self._keeper.leads(self.find_shard(rule))

    def make_fence(self, rule: str) -> Fence | None:
        """Under which lease the rule is evaluated now; None where nobody else can be about."""
        return None if self._keeper.exclusive else self._keeper.make_fence(self.find_shard(rule))

    def stands(self, rule: str, fence: Fence | None) -> bool:
        """Whether what was worked out under the fence may become the present in memory."""
        return fence is None or self._keeper.away or (fence == self.make_fence(rule) and self.may_run(rule))

    @property
    def shared(self) -> bool:
        """Whether other replicas may be about."""
        return not self._keeper.exclusive

    async def follow_received(self, rules: Collection[str] | None = None) -> None:
        """Make what the store holds of alerts sent here the present: another replica may have had the last word. None: of all.

        Where the store does not answer, or is behind memory, memory goes on.
        """
        if self._is_behind():
            return
        try:
            async with asyncio.timeout(RECEIVED_SECONDS):
                memory = await self._registry.load_alerts(RECEIVED_PREFIX if rules is None else rules)
        except (OutsideError, TimeoutError):
            return
        if self._is_behind():
            return
        known = memory.alerts.keys() | {track.name for track in self._roster.received()}
        for name in known if rules is None else rules:
            self._roster.replace(name, memory)

    def _is_behind(self) -> bool:
        """Whether memory may hold what the store does not have yet."""
        return self._keeper.away or self._committer is None or self._committer.failing

    def drop(self, rule: str) -> None:
        """Another replica leads it, or did: its states in memory are worth nothing."""
        self._read_under.pop(rule, None)
        self._shadowed = float("-inf")
        self._wakeup.set()

    def drop_shards(self, shards: frozenset[int]) -> None:
        """As `drop`, for all rules of these."""
        for name, shard in self._shards.items():
            if shard in shards:
                self.drop(name)

    def list_fences(self) -> frozenset[Fence]:
        """Of all rules that are ours."""
        return frozenset(self._keeper.make_fence(self._shards[name]) for name in self.list_own())

    def list_own(self) -> frozenset[str]:
        """Rules whose states here are ahead of the store's."""
        return frozenset(name for name, shard in self._shards.items() if self._owns(name, shard) and self._keeper.holds(shard))

    async def run(self) -> None:
        """Read what was gained, and now and then the rest, until cancelled. Guard this."""
        while not self._keeper.exclusive:
            self._wakeup.clear()
            done = await self.look()
            try:
                async with asyncio.timeout(self._keeper.ttl_seconds if done else RETRY_SECONDS):
                    await self._wakeup.wait()
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Read what is due; False where it is to be tried again soon."""
        if self._is_behind():
            self._shadowed = float("-inf")
            return False
        gained = {name: shard for name, shard in self._shards.items() if self._keeper.leads(shard) and not self._owns(name, shard)}
        try:
            if gained:
                await self._read(gained)
            if self._clock.monotonic() - self._shadowed >= self._keeper.ttl_seconds:
                await self._shadow()
        except OutsideError as fault:
            if str(fault) != self._failing:
                self._observer.trouble("alert states", describe_fault(fault))
            self._failing = str(fault)
            return False
        self._failing = ""
        self.resume()
        return True

    def resume(self) -> None:
        """Take over as firing what incidents say of rules that are ours and memory does not."""
        if self._committer is None or self._committer.failing:
            return
        open_now = self._committer.book.incidents.values()
        for name, state in list(resume(open_now, self.list_own(), self._roster.states)):
            track = self._roster.track(name)
            track.swap({state.labels: state}, ())
            self._observer.note("alert taken over from its incident", rule=name)

    async def _read(self, gained: Mapping[str, int]) -> None:
        epochs = {name: self._keeper.make_fence(shard).epoch for name, shard in gained.items()}
        memory = await self._registry.load_alerts(gained)
        for name, shard in gained.items():
            if self.find_shard(name) == shard and self._keeper.make_fence(shard).epoch == epochs[name]:
                self._roster.replace(name, memory)
                self._read_under[name] = epochs[name]
                self.on_gained(name, self._roster.progress(name).last_evaluation)
                self._observer.alerts_counted(name, dict(self._roster.counts(name)))

    async def _shadow(self) -> None:
        """What others lead, as they last wrote it."""
        names = self._list_others()
        if names:
            memory = await self._registry.load_alerts(names)
            if self._keeper.away:
                return
            for name in names & self._list_others():
                self._roster.replace(name, memory)
                self._observer.alerts_counted(name, dict(self._roster.counts(name)))
        self._shadowed = self._clock.monotonic()

    def _list_others(self) -> frozenset[str]:
        return frozenset(name for name, shard in self._shards.items() if not self._owns(name, shard))

    def _owns(self, rule: str, shard: int) -> bool:
        hold = self._keeper.find_hold(shard)
        return hold is not None and self._read_under.get(rule) == hold.epoch
