"""The schema's revision: read cheaply at every start, brought up to date by Alembic only when it is behind.

Runs right after the database is opened, before anything else is asked of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from detector.adapters.store.schema import REVISION

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY = 0x6465746563746F72  # "detector": replicas that start together migrate one after the other


async def migrate(connection: AsyncConnection) -> None:
    """Bring the schema up to `REVISION`, within the connection's transaction; a newer one is left as it is."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})
    if await connection.run_sync(is_behind):
        await connection.run_sync(_upgrade)


def is_behind(connection: Connection) -> bool:
    """Whether there is no schema yet, or an older one. Revisions are numbers of four digits, so they compare as text."""
    if not inspect(connection).has_table("alembic_version"):
        return True
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found is None or str(found) < REVISION


def _upgrade(connection: Connection) -> None:
    from alembic.command import upgrade  # noqa: PLC0415  # 100 ms that only an upgrade pays
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    upgrade(config, REVISION)
