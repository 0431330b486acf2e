"""The migrations make what the statements expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from detector.adapters.store import create_store
from detector.adapters.store.migration import SCRIPTS, is_behind
from detector.adapters.store.schema import REVISION, metadata

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection


def test_the_revision_is_the_newest_script() -> None:
    """The number that is compared at each start is the head of the migrations, and they form one line."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [REVISION]
    assert all(len(revision.revision) == 4 for revision in script.walk_revisions())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_the_migrations_make_the_schema(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """After migrating, the tables, columns and indexes are those of `schema`, and nothing is behind."""
    url = None if kind == "sqlite" else request.getfixturevalue("postgres_url")
    store = create_store(tmp_path / "state", url)
    await store.open()

    def compare(connection: Connection) -> list[object]:
        assert not is_behind(connection)
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    try:
        async with store._session._database.reader.connect() as connection:
            assert await connection.run_sync(compare) == []
    finally:
        await store.close()
