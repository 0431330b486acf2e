"""Deploys that were told: kept, and found by service and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from detector.adapters.store.schema import clean_text, deploy
from detector.adapters.store.statement import add_rows
from detector.domain.deploy import Deploy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


async def add_deploy(connection: AsyncConnection, told: Deploy) -> None:
    """Write it; the same one again changes nothing."""
    row = {
        "id": told.id,
        "service": told.service,
        "version": told.version,
        "at": told.at,
        "author": told.by,
        "url": told.url,
    }
    await connection.execute(add_rows(connection.dialect.name, deploy), [row])


async def list_deploys(
    connection: AsyncConnection, service: str | None, since: float, until: float, limit: int
) -> Sequence[Deploy]:
    """Those in [since, until], newest first."""
    query = select(deploy).where(deploy.c.at >= since, deploy.c.at <= until)
    if service is not None:
        query = query.where(deploy.c.service == clean_text(service))
    rows = await connection.execute(query.order_by(deploy.c.at.desc(), deploy.c.id).limit(limit))
    return [Deploy(row.service, row.version, row.at, row.author, row.url) for row in rows]
