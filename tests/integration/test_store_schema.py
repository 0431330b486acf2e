"""A new database and a migrated one are the same, and are what the statements expect."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, inspect

from detector.adapters.store.migration import SCRIPTS, create, read_revision, upgrade
from detector.adapters.store.schema import REVISION, metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kit.postgres import Postgres

_OPEN = """
import asyncio, pathlib, sys
from detector.adapters.store import create_store
async def main():
    store = create_store(pathlib.Path(sys.argv[1]))
    await store.open()
    await store.close()
asyncio.run(main())
print(*(name for name in sys.modules if name.split(".")[0] == "alembic"))
"""


def test_the_revision_is_the_newest_script() -> None:
    """The number that is compared at each start is the head of the migrations, and they form one line."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [REVISION]
    assert all(len(revision.revision) == 4 for revision in script.walk_revisions())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_new_database_is_what_the_migrations_make(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Created at once or migrated from nothing: the same columns, keys, indexes and first rows, those of `schema`."""
    if kind == "sqlite":
        urls = [f"sqlite:///{tmp_path / name}" for name in ("created", "migrated")]
        made = [_make(url, step) for url, step in zip(urls, (create, upgrade), strict=True)]
    else:
        server: Postgres = request.getfixturevalue("postgres")
        names = [server.create_database() for _ in range(2)]
        try:
            made = [_make(_name_driver(server.url(name)), step) for name, step in zip(names, (create, upgrade), strict=True)]
        finally:
            for name in names:
                server.drop_database(name)
    (created, strange), (migrated, strange_too) = made
    assert created == migrated
    assert len(created) == len(metadata.tables) + 1
    assert strange == strange_too == []


def test_a_first_start_does_not_import_alembic(tmp_path: Path) -> None:
    """Opening a new database and opening it again need no migration tool."""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", _OPEN, tmp_path], capture_output=True, text=True, timeout=240, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def _name_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _make(url: str, step: Callable[[Connection], None]) -> tuple[dict[str, object], list[object]]:
    """Describe the database at `url` after `step`, and list in what it differs from `schema`."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            assert read_revision(connection) is None
            step(connection)
            assert read_revision(connection) == REVISION
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return _describe(connection), list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def _describe(connection: Connection) -> dict[str, object]:
    """Every table with what the database says of it, and its rows."""
    inspector, found = inspect(connection), MetaData()
    found.reflect(connection)
    return {
        name: (
            [{**column, "type": str(column["type"])} for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name),
            sorted(map(str, inspector.get_indexes(name))),
            sorted(map(str, inspector.get_unique_constraints(name))),
            inspector.get_foreign_keys(name),
            sorted(map(tuple, connection.execute(table.select()))),
        )
        for name, table in found.tables.items()
    }
