"""Leases on the 64 shards: who may claim notices. A claim is fenced by the epoch that its process was given.

For now one process holds all of them: on SQLite because it has the file, on PostgreSQL because the newest one takes them over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Double, literal_column, select, update

from detector.adapters.store.schema import SHARDS, lease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

TTL_SECONDS = 15.0


async def take_leases(connection: AsyncConnection, holder: str) -> None:
    """Make `holder` the holder of every shard, in an epoch of its own."""
    expires = _clock(connection.dialect.name) + TTL_SECONDS
    await connection.execute(update(lease).values(holder=holder, epoch=lease.c.epoch + 1, expires=expires))


async def renew_leases(connection: AsyncConnection, holder: str) -> bool:
    """Put the end of the leases off; False when another process has taken any of them."""
    expires = _clock(connection.dialect.name) + TTL_SECONDS
    done = await connection.execute(update(lease).where(lease.c.holder == holder).values(expires=expires))
    return bool(done.rowcount == SHARDS)


async def lock_epochs(connection: AsyncConnection, holder: str, shards: Iterable[int]) -> dict[int, int]:
    """Epoch by shard for those that `holder` holds; they can't change hands before the transaction ends."""
    wanted = sorted(set(shards))
    query = select(lease.c.shard, lease.c.epoch).where(lease.c.shard.in_(wanted), lease.c.holder == holder)
    rows = await connection.execute(query.order_by(lease.c.shard).with_for_update(read=True))
    return {row.shard: row.epoch for row in rows}


def _clock(dialect: str) -> ColumnElement[float]:
    """Unix seconds by the database's own clock."""
    if dialect == "postgresql":
        return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)
