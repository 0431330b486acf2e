"""What can be saved from a corrupt SQLite file goes into the new one: an incident that was paged must still be resolved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.adapters.store.fault import translate
from detector.adapters.store.schema import alert, event, incident, outbox, progress, rule_set
from detector.adapters.store.sqlite import salvage
from detector.adapters.store.statement import add_rows, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

_TABLES = (alert, progress, incident, event, outbox, rule_set)


async def restore(engine: AsyncEngine, damaged: Path) -> int:
    """Copy the readable rows; how many there were."""
    count = 0
    with translate(f"saving rows of {damaged}"):
        async with engine.begin() as connection:
            for table in _TABLES:
                rows = await asyncio.to_thread(salvage, damaged, table.name, [column.name for column in table.columns])
                await write_rows(connection, add_rows("sqlite", table), rows)
                count += len(rows)
    return count
