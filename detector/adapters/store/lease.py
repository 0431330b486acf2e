"""Statements on leases and heartbeats: who leads which of the 64 shards, by the database's clock.

A shard changes hands only with a higher epoch. Whoever writes under a lease locks its row first (FOR KEY SHARE), so that it can't
change hands before the transaction ends, while a renewal, which changes no key, never waits for it; whoever takes one over does. On
SQLite one process has the file, and with it every shard for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Double, and_, delete, insert, literal_column, select, update

from detector.adapters.store.schema import lease, replica
from detector.domain.share import Lease, Roll, Share
from detector.ports.error import StaleLeaseError
from detector.ports.lease import Tenure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.ports.store import Fence

FOREVER_SECONDS = 1e10
FORGET_SECONDS = 3600.0  # heartbeats of those that died


async def take_all(connection: AsyncConnection, holder: str) -> None:
    """Make `holder` the holder of every shard for good, in an epoch of its own."""
    expires = read_clock(connection) + FOREVER_SECONDS
    await connection.execute(update(lease).values(holder=holder, epoch=lease.c.epoch + 1, expires=expires))


async def beat(connection: AsyncConnection, holder: str, ttl_seconds: float, *, blind: bool) -> None:
    """Say that `holder` lives, and forget who has been dead for an hour."""
    expires = read_clock(connection) + ttl_seconds
    done = await connection.execute(update(replica).where(replica.c.holder == holder).values(expires=expires, blind=int(blind)))
    if not done.rowcount:
        await connection.execute(insert(replica).values(holder=holder, expires=expires, blind=int(blind)))
    await connection.execute(delete(replica).where(replica.c.expires < read_clock(connection) - FORGET_SECONDS))


async def give_up(connection: AsyncConnection, holder: str, shards: Collection[int]) -> None:
    """Leave these free at once; those that another has taken are left alone."""
    mine = and_(lease.c.holder == holder, lease.c.shard.in_(sorted(shards)))
    await connection.execute(update(lease).where(mine).values(holder="", expires=0.0))


async def forget(connection: AsyncConnection, holder: str) -> None:
    """Give everything up and be counted no more."""
    await connection.execute(update(lease).where(lease.c.holder == holder).values(holder="", expires=0.0))
    await be_gone(connection, holder)


async def be_gone(connection: AsyncConnection, holder: str) -> None:
    """Be counted no more."""
    await connection.execute(delete(replica).where(replica.c.holder == holder))


async def is_any_free(connection: AsyncConnection) -> bool:
    """Whether a shard waits for a holder."""
    free = select(lease.c.shard).where(lease.c.expires <= read_clock(connection)).limit(1)
    return (await connection.execute(free)).first() is not None


async def extend(connection: AsyncConnection, holder: str, ttl_seconds: float) -> None:
    """Put off the end of what `holder` has, its expired ones too: nobody took them, so nothing was done under a later epoch."""
    await connection.execute(update(lease).where(lease.c.holder == holder).values(expires=read_clock(connection) + ttl_seconds))


async def take_share(connection: AsyncConnection, holder: str, plan: Callable[[Roll], Share], ttl_seconds: float) -> Tenure:
    """Take what the plan wants, as far as it is still free; rows that somebody is working on are left for the next round."""
    clock = read_clock(connection)
    rows = await connection.execute(select(lease.c.shard, lease.c.holder, lease.c.epoch, (lease.c.expires <= clock).label("over")))
    leases = tuple(Lease(row.shard, row.holder, row.epoch, bool(row.over)) for row in rows)
    alive = await connection.execute(select(replica.c.holder, replica.c.blind).where(replica.c.expires > clock))
    replicas = {row.holder: bool(row.blind) for row in alive}
    epochs = {each.shard: each.epoch for each in leases if each.holder == holder}
    share = plan(Roll(leases, frozenset(replicas)))
    if share.take:
        wanted = and_(lease.c.shard.in_(sorted(share.take)), lease.c.expires <= clock)
        free = select(lease.c.shard).where(wanted).with_for_update(skip_locked=True)
        if connection.dialect.name != "postgresql":
            free = select(lease.c.shard).where(wanted)
        taken = update(lease).where(lease.c.shard.in_([row.shard for row in await connection.execute(free)]))
        taken = taken.values(holder=holder, epoch=lease.c.epoch + 1, expires=clock + ttl_seconds)
        done = await connection.execute(taken.returning(lease.c.shard, lease.c.epoch))
        epochs |= {row.shard: row.epoch for row in done}
    return Tenure(epochs, replicas)


async def lock_epochs(connection: AsyncConnection, holder: str, shards: Iterable[int]) -> dict[int, int]:
    """Epoch by shard for those that `holder` holds now; they can't change hands before the transaction ends."""
    held = and_(lease.c.shard.in_(sorted(set(shards))), lease.c.holder == holder, lease.c.expires > read_clock(connection))
    return await _share(connection, held)


async def check_fences(connection: AsyncConnection, holder: str, fences: Collection[Fence], *, late: bool = False) -> None:
    """Lock the leases under which something was worked out; StaleLeaseError where one does not stand. `late`: see the port."""
    if not fences:
        return
    held = and_(lease.c.shard.in_(sorted({fence.shard for fence in fences})), lease.c.holder == holder)
    if not late:
        held = and_(held, lease.c.expires > read_clock(connection))
    epochs = await _share(connection, held)
    stale = frozenset(fence.shard for fence in fences if epochs.get(fence.shard) != fence.epoch)
    if stale:
        raise StaleLeaseError(stale)


def read_clock(connection: AsyncConnection) -> ColumnElement[float]:
    """Unix seconds by the database's own clock."""
    if connection.dialect.name == "postgresql":
        return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)


async def _share(connection: AsyncConnection, held: ColumnElement[bool]) -> dict[int, int]:
    query = select(lease.c.shard, lease.c.epoch).where(held).order_by(lease.c.shard).with_for_update(read=True, key_share=True)
    return {row.shard: row.epoch for row in await connection.execute(query)}
