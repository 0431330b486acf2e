"""Bulk writes in the words that both databases share: insert or replace, insert or leave alone, delete; many rows a call."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Insert, Table, bindparam, delete
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.dialects import postgresql
    from sqlalchemy.ext.asyncio import AsyncConnection

CHUNK = 500  # rows that are handled before the event loop turns again


async def write_rows(connection: AsyncConnection, statement: Insert | Delete, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run one statement for every row, giving way to the loop between chunks."""
    for start in range(0, len(rows), CHUNK):
        await connection.execute(statement, list(rows[start : start + CHUNK]))
        await asyncio.sleep(0)


@lru_cache
def replace_rows(dialect: str, table: Table) -> Insert:
    """Insert; where the primary key exists, the new row replaces the old."""
    keys = [column.name for column in table.primary_key]
    statement = _insert(dialect, table)
    rest = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@lru_cache
def add_rows(dialect: str, table: Table) -> Insert:
    """Insert; what exists already stays as it is."""
    return _insert(dialect, table).on_conflict_do_nothing()


@lru_cache
def delete_rows(table: Table) -> Delete:
    """Delete by id; rows bring `gone`."""
    return delete(table).where(table.c.id == bindparam("gone"))


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # 35 ms that SQLite's users need not pay

        return postgresql.insert(table)
    return sqlite.insert(table)
