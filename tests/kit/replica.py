"""Leases for tests that need a store and no daemon."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import update

from detector.adapters.store import SqlStore
from detector.adapters.store.schema import lease, replica
from detector.domain.share import find_quota, plan_share

if TYPE_CHECKING:
    from detector.ports.lease import Tenure
    from detector.ports.store import Store

TTL_SECONDS = 15.0


async def open_alone(store: Store) -> None:
    """Open it and take every shard that is free."""
    await store.open()
    if isinstance(store, SqlStore) and not store.registry.exclusive:
        await keep(store)


async def keep(store: SqlStore, *, ttl_seconds: float = TTL_SECONDS, give: frozenset[int] = frozenset()) -> Tenure:
    """One round of a replica that takes its share and gives up `give`."""
    return await store.registry.keep(partial(plan_share, me=store.holder), ttl_seconds, give=give)


async def expire(store: SqlStore) -> None:
    """As if the TTL had passed: every lease is over and nobody lives."""
    async with store._session.writing() as connection:
        for table in (lease, replica):
            await connection.execute(update(table).values(expires=0.0))


def list_surplus(store: SqlStore, tenure: Tenure) -> frozenset[int]:
    """What it holds beyond its quota among the live replicas."""
    return frozenset(sorted(tenure.epochs)[find_quota(tenure.replicas, store.holder) :])
