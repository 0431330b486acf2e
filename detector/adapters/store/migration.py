"""The schema's revision: read cheaply at every start, created in an empty database, brought up to date by Alembic when behind.

Runs right after the database is opened, before anything else is asked of it. A test holds what `create` makes against what the
migrations make.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select, text

from detector.adapters.store import schema
from detector.domain.shard import SHARDS

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY = 0x6465746563746F72  # "detector": replicas that start together migrate one after the other


_version = Table(  # as Alembic makes it
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


async def migrate(connection: AsyncConnection) -> None:
    """Bring the schema up to `REVISION`, within the connection's transaction; a newer one is left as it is."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})
    found = await connection.run_sync(read_revision)
    if found is None:
        await connection.run_sync(create)
    elif found < schema.REVISION:
        await connection.run_sync(upgrade)


def read_revision(connection: Connection) -> str | None:
    """The revision that the database is at, None for an empty one. Revisions are numbers of four digits: they compare as text."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.execute(select(_version.c.version_num)).scalar()


def create(connection: Connection) -> None:
    """Make the newest schema in an empty database: without Alembic, whose import costs more than all the rest of a first start."""
    schema.metadata.create_all(connection, checkfirst=False)
    _version.create(connection)
    connection.execute(
        insert(schema.lease), [{"shard": shard, "holder": "", "epoch": 0, "expires": 0.0} for shard in range(SHARDS)]
    )
    connection.execute(insert(schema.book).values(id=1))
    connection.execute(insert(_version).values(version_num=schema.REVISION))


def upgrade(connection: Connection) -> None:
    """Run the migrations from wherever the database is, from nothing too."""
    from alembic.command import upgrade as run_migrations  # noqa: PLC0415  # 0.6 s and 12 MiB that only an upgrade pays
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    run_migrations(config, schema.REVISION)
