"""Leases on the 64 shards: who may write and claim notices. One process holds all of them, in an epoch of its own.

On SQLite that is who opened the file last. On PostgreSQL it is who found them free or expired by the database's clock. There every
transaction that writes begins with `fence`: it sees that the lease is held now and keeps it from changing hands before the end.
A renewal changes no key, so it never waits for those locks; whoever takes over does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Double, and_, func, literal_column, select, update

from detector.adapters.store.schema import SHARDS, lease
from detector.ports.lease import NotLeadingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

TTL_SECONDS = 15.0
NOBODY = ""


async def take_leases(connection: AsyncConnection, holder: str, ttl_seconds: float = TTL_SECONDS) -> int:
    """Make `holder` the holder of every shard, in an epoch of its own, whoever held them; the epoch."""
    epoch = int((await connection.execute(select(func.max(lease.c.epoch)))).scalar_one()) + 1
    expires = _clock(connection.dialect.name) + ttl_seconds
    await connection.execute(update(lease).values(holder=holder, epoch=epoch, expires=expires))
    return epoch


async def acquire_leases(connection: AsyncConnection, holder: str, ttl_seconds: float) -> int | None:
    """As `take_leases`, where no other process holds any of them; None where one does."""
    if await _are_held(connection, holder):
        return None
    await connection.execute(select(lease.c.shard).order_by(lease.c.shard).with_for_update())
    if await _are_held(connection, holder):  # another was faster
        return None
    return await take_leases(connection, holder, ttl_seconds)


async def renew_leases(connection: AsyncConnection, holder: str, epoch: int | None, ttl_seconds: float = TTL_SECONDS) -> bool:
    """Put the end of the leases off; False when another process has taken any of them."""
    expires = _clock(connection.dialect.name) + ttl_seconds
    done = await connection.execute(update(lease).where(_is_own(holder, epoch)).values(expires=expires))
    return bool(done.rowcount == SHARDS)


async def release_leases(connection: AsyncConnection, holder: str, epoch: int | None) -> None:
    """Leave them to whoever asks next."""
    await connection.execute(update(lease).where(_is_own(holder, epoch)).values(holder=NOBODY, expires=0.0))


async def fence(connection: AsyncConnection, holder: str, epoch: int | None) -> None:
    """See that `holder` leads, and hold the lease until the transaction ends. Raises NotLeadingError."""
    is_valid = lease.c.expires > _clock(connection.dialect.name)
    query = select(lease.c.shard).where(lease.c.shard == 0, _is_own(holder, epoch), is_valid)
    if epoch is None or (await connection.execute(query.with_for_update(read=True, key_share=True))).first() is None:
        raise NotLeadingError("this process does not hold the lease: another replica may lead, so nothing was written")


async def lock_epochs(connection: AsyncConnection, holder: str, shards: Iterable[int]) -> dict[int, int]:
    """Epoch by shard for those that `holder` holds; they can't change hands before the transaction ends."""
    wanted = sorted(set(shards))
    query = select(lease.c.shard, lease.c.epoch).where(lease.c.shard.in_(wanted), lease.c.holder == holder)
    rows = await connection.execute(query.order_by(lease.c.shard).with_for_update(read=True, key_share=True))
    return {row.shard: row.epoch for row in rows}


async def _are_held(connection: AsyncConnection, holder: str) -> bool:
    by_another = and_(lease.c.holder != holder, lease.c.expires > _clock(connection.dialect.name))
    return (await connection.execute(select(lease.c.shard).where(by_another).limit(1))).first() is not None


def _is_own(holder: str, epoch: int | None) -> ColumnElement[bool]:
    is_holder = lease.c.holder == holder
    return is_holder if epoch is None else and_(is_holder, lease.c.epoch == epoch)


def _clock(dialect: str) -> ColumnElement[float]:
    """Unix seconds by the database's own clock."""
    if dialect == "postgresql":
        return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)
