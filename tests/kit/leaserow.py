"""Leases in a dictionary, where a keeper of them is tried without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.shard import SHARDS
from detector.domain.share import Lease, Roll, Share
from detector.ports.error import TemporaryError
from detector.ports.lease import Doubt, Tenure
from detector.ports.store import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from detector.domain.incident import Incident


class LeaseRows:
    """The leases, with one's own and others' rounds played by hand. Implements ports.lease.Registry."""

    exclusive = False
    holder = "me"

    def __init__(self) -> None:
        self.held: dict[int, str] = {}
        self.epoch = dict.fromkeys(range(SHARDS), 0)
        self.others: dict[str, bool] = {}
        self.failing = False
        self.memory = Memory()
        self.rounds = 0
        self.counted = True
        self.on_keep: Callable[[], None] = lambda: None

    async def keep(
        self,
        plan: Callable[[Roll], Share],
        ttl_seconds: float,
        *,
        give: Collection[int] = (),
        blind: bool = False,
        going: bool = False,
    ) -> Tenure:
        """One round, on rows that expire when a test says so."""
        self.counted = not going
        del ttl_seconds
        self.rounds += 1
        self.on_keep()
        if self.failing:
            raise TemporaryError("no database")
        for shard in give:
            self.held.pop(shard, None)
        leases = tuple(Lease(shard, self.held.get(shard, ""), self.epoch[shard], expired=False) for shard in range(SHARDS))
        for shard in plan(Roll(leases, frozenset({"me", *self.others}))).take:
            self.take(shard, "me")
        mine = {shard: self.epoch[shard] for shard, name in self.held.items() if name == "me"}
        return Tenure(mine, {"me": blind, **self.others})

    def take(self, shard: int, name: str) -> None:
        """It changes hands."""
        self.held[shard] = name
        self.epoch[shard] += 1

    async def release(self) -> None:
        """Nothing is held any more."""
        if self.failing:
            raise TemporaryError("no database")
        self.held = {shard: name for shard, name in self.held.items() if name != "me"}

    async def load_alerts(self, rules: Collection[str] | str) -> Memory:
        """What a test says that another wrote."""
        del rules
        return self.memory

    async def read_sign(self) -> tuple[int, bool]:
        """Not asked here."""
        raise NotImplementedError

    async def read_book(self) -> tuple[int, Mapping[str, Incident]]:
        """Not asked here."""
        raise NotImplementedError

    async def list_doubts(self, resolved_before: float) -> Sequence[Doubt]:
        """Not asked here."""
        raise NotImplementedError(resolved_before)

    async def settle_doubts(self, notices: Collection[str]) -> None:
        """Not asked here."""
        raise NotImplementedError(notices)
