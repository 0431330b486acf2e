"""A rolling upgrade: the schema of the revision before, upgraded under a process of that version, which goes on beside the new one.

The old process is played by its tables as that revision's database has them: whatever it wrote and read with them, it still can. It
takes leases as the last version did that did not share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from alembic.command import upgrade as run_migrations
from alembic.config import Config
from sqlalchemy import Connection, MetaData, Table, create_engine, insert, select, text, update

from detector.adapters.store import create_store
from detector.adapters.store.migration import SCRIPTS
from detector.adapters.store.schema import REVISION
from detector.domain.shard import SHARDS
from detector.ports.error import StaleLeaseError
from detector.ports.store import Fence
from tests.kit.replica import keep
from tests.kit.sample import decide, make_incident, make_notice, make_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

BEFORE = f"{int(REVISION) - 1:04d}"
NOW = 2000.0
_TAKE_ALL = "UPDATE lease SET holder='old', epoch=epoch+1, expires=extract(epoch FROM clock_timestamp()) + :ttl"
_VALUES = {"VARCHAR": "x", "TEXT": "{}", "INTEGER": 7, "BIGINT": 7, "DOUBLE PRECISION": 7.0}


@pytest.fixture
def old(postgres_url: str) -> Iterator[Engine]:
    """A database as the version before made it."""
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://", 1))
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        run_migrations(config, BEFORE)
    yield engine
    engine.dispose()


def _reflect(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def _make_row(table: Table, number: int) -> dict[str, Any]:
    """A value for every column that the old process knows."""
    row = {column.name: _VALUES[str(column.type).partition("(")[0]] for column in table.columns}
    keys = {column.name for column in table.primary_key} | {"id"}
    return row | {name: str(number) if isinstance(row[name], str) else number for name in keys & row.keys()}


async def test_the_old_process_goes_on_with_its_statements(old: Engine, postgres_url: str, tmp_path: Path) -> None:
    """After the upgrade it inserts, replaces, reads and locks in every table it knows; the new one goes on reading beside it."""
    with old.begin() as connection:
        known = _reflect(connection)
    store = create_store(tmp_path, postgres_url)
    await store.open()
    try:
        await keep(store)
        await store.commit([make_record()], decide(make_incident(), make_notice()), NOW)
        with old.begin() as connection:
            connection.execute(select(known.tables["book"].c.id).with_for_update())
            for name, table in known.tables.items():
                if name in {"alembic_version", "book", "lease"}:
                    continue
                row = _make_row(table, 91)
                connection.execute(insert(table).values(row))
                found = select(table).where(*(table.c[key.name] == row[key.name] for key in table.primary_key))
                assert connection.execute(found).mappings().one() == row
                connection.execute(update(table).values({each.name: each for each in table.columns}))
        assert (await store.registry.read_sign())[0] > 0
        assert (await store.find_incident(make_incident().id)) == make_incident()
        assert make_record().labels in (await store.load()).alerts["http-errors"]
    finally:
        await store.close()


async def test_an_old_process_that_takes_all_leads_until_it_is_gone(old: Engine, postgres_url: str, tmp_path: Path) -> None:
    """A version that does not share takes every lease as it starts: the new one is refused, and leads once they run out."""
    store = create_store(tmp_path, postgres_url)
    await store.open()
    try:
        before = (await keep(store)).epochs
        with old.begin() as connection:
            connection.execute(text(_TAKE_ALL), {"ttl": 60})
        assert not (await keep(store)).epochs
        assert not await store.claim("pagerduty", NOW, 10)
        with pytest.raises(StaleLeaseError):
            await store.commit([make_record()], decide(), NOW, fences=[Fence(1, before[1])])
        with old.begin() as connection:
            connection.execute(text("UPDATE lease SET expires = extract(epoch FROM clock_timestamp()) - 1"))
        after = (await keep(store)).epochs
        assert after == {shard: before[shard] + 2 for shard in range(SHARDS)}
    finally:
        await store.close()


async def test_the_upgrade_only_adds(old: Engine, postgres_url: str, tmp_path: Path) -> None:
    """No column of the revision before is gone or has become stricter: what is new is nullable or has a default."""
    with old.begin() as connection:
        before = _reflect(connection)
    store = create_store(tmp_path, postgres_url)
    await store.open()
    await store.close()
    with old.begin() as connection:
        after = _reflect(connection)
    assert before.tables.keys() <= after.tables.keys()
    for name, table in before.tables.items():
        now = after.tables[name]
        assert {each.name: (str(each.type), each.nullable) for each in table.columns}.items() <= {
            each.name: (str(each.type), each.nullable) for each in now.columns
        }.items()
        added = [each for each in now.columns if each.name not in table.columns]
        assert all(each.nullable or each.server_default is not None for each in added)
