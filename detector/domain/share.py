"""Who of the live replicas leads which shards: what one of them takes, and what it gives up, from what the database shows. Pure.

Every replica computes its own quota from the same sorted names, so that the quotas sum to the number of shards: nobody takes beyond
its quota, hence nothing is taken only to be given back. A shard passes from one to another in two steps: its holder gives it up
once it has let go of it, and only what is free or expired is taken.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from detector.domain.label import digest_parts
from detector.domain.shard import SHARDS


@dataclass(frozen=True, slots=True)
class Lease:
    """One shard's row. `holder` "" is nobody; `expired` by the database's clock at the moment of reading."""

    shard: int
    holder: str
    epoch: int
    expired: bool

    @property
    def free(self) -> bool:
        """Whether anybody may take it."""
        return self.expired or not self.holder


@dataclass(frozen=True, slots=True)
class Roll:
    """What the database shows: every lease, and the names of the replicas whose heartbeat has not expired, one's own included."""

    leases: tuple[Lease, ...]
    replicas: frozenset[str]

    def list_held(self, holder: str) -> frozenset[int]:
        """Shards whose row names it, expired ones too."""
        return frozenset(lease.shard for lease in self.leases if lease.holder == holder)


@dataclass(frozen=True, slots=True)
class Share:
    """What one replica does now: shards to take, and shards that are beyond its quota."""

    take: frozenset[int] = frozenset()
    surplus: frozenset[int] = frozenset()


def find_quota(replicas: Collection[str], me: str, shards: int = SHARDS) -> int:
    """How many shards `me` should lead; over all replicas these sum to `shards`, and differ by one at most."""
    names = sorted({*replicas, me})
    least, extra = divmod(shards, len(names))
    return least + (names.index(me) < extra)


def plan_share(roll: Roll, me: str) -> Share:
    """What `me` takes and has too many of. What is one's own counts as held even when it has expired: nobody took it meanwhile."""
    quota = find_quota(roll.replicas, me, len(roll.leases))
    mine = sorted(roll.list_held(me))
    # each replica begins elsewhere, so that those that start together rarely want the same row
    free = sorted(
        (lease.shard for lease in roll.leases if lease.free and lease.holder != me),
        key=lambda shard: digest_parts([me, str(shard)]),
    )
    return Share(frozenset(free[: max(0, quota - len(mine))]), frozenset(mine[quota:]))
