"""What can happen to PostgreSQL and between two processes on it: restart, frozen sessions, another holder."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import text

from detector.adapters.store import SqlStore, create_store
from detector.domain.incident import Book, Decision
from detector.ports.error import PermanentError, TemporaryError
from detector.ports.store import DeliveryState
from tests.kit.port import free_port
from tests.kit.sample import decide, make_incident, make_notice, make_record
from tests.kit.secret import assert_no_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.kit.postgres import Postgres

NOW = 2000.0


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """An open store on a new database."""
    store = create_store(tmp_path, postgres_url)
    await store.open()
    yield store
    await store.close()


@contextmanager
def _frozen_sessions(postgres: Postgres) -> Iterator[None]:
    processes = [child for child in psutil.Process(postgres.process.pid).children() if "detector" in " ".join(child.cmdline())]
    assert processes
    postgres.freeze()
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
        postgres.thaw()


async def test_commits_of_two_processes_see_each_other(store: SqlStore, postgres_url: str, tmp_path: Path) -> None:
    """Two stores that add to one incident thirty times each, at once, lose no addition."""
    other = create_store(tmp_path, postgres_url)
    await other.open()
    await store.commit([], decide(make_incident(revision=0)), NOW)

    def add(book: Book) -> Decision:
        incident = book.incidents[make_incident().id]
        return Decision((replace(incident, revision=incident.revision + 1),))

    try:
        await asyncio.gather(*(side.commit([], add, NOW) for _ in range(30) for side in (store, other)))
        found = await store.find_incident(make_incident().id)
        assert found is not None
        assert found.revision == 60
    finally:
        await other.close()


async def test_the_newest_process_claims(store: SqlStore, postgres_url: str, tmp_path: Path) -> None:
    """A process whose lease another one took claims nothing and is not healthy; its unrecorded claims go to the new one."""
    await store.commit([], decide(make_notice(1), make_notice(2)), NOW)
    (lost,) = await store.claim("pagerduty", NOW, 1)
    other = create_store(tmp_path, postgres_url)
    await other.open()
    try:
        assert await store.claim("pagerduty", NOW, 10) == []
        assert not await store.healthy()
        assert await other.healthy()
        claimed = await other.claim("pagerduty", NOW, 10)
        assert {delivery.id for delivery in claimed} == {lost.id, make_notice(2).id}
        await store.record(lost, DeliveryState.ACCEPTED, NOW)
        assert (await other.backlog())["pagerduty"].depth == 1
    finally:
        await other.close()


async def test_replicas_that_start_together_migrate_once(postgres_url: str, tmp_path: Path) -> None:
    """Four stores that open an empty database at the same moment all come up, with 64 leases."""
    stores = [create_store(tmp_path, postgres_url) for _ in range(4)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        assert sum([await store.healthy() for store in stores]) == 1
        async with stores[0]._session._database.reader.connect() as connection:
            assert (await connection.execute(text("SELECT count(*), max(epoch) FROM lease"))).one() == (64, 4)
    finally:
        for store in stores:
            await store.close()


async def test_a_restart_of_the_server_is_survived(store: SqlStore, postgres: Postgres) -> None:
    """While the server is away calls fail as temporary; when it is back they work, on the data from before."""
    await store.commit([make_record()], decide(make_incident()), NOW)
    postgres.stop()
    try:
        with pytest.raises(TemporaryError):
            await store.commit([make_record(2)], decide(), NOW)
        assert not await store.healthy()
    finally:
        postgres.start()
    await store.commit([make_record(2)], decide(), NOW)
    memory = await store.load()
    assert len(memory.alerts["http-errors"]) == 2
    assert set(memory.incidents) == {make_incident().id}


async def test_a_server_killed_under_a_commit_is_temporary(store: SqlStore, postgres: Postgres) -> None:
    """When the server dies between lock and write the commit fails as temporary and nothing of it is there afterwards."""

    def kill(_book: Book) -> Decision:
        postgres.kill()
        return Decision((make_incident(),))

    try:
        with pytest.raises(TemporaryError, match="committing"):
            await store.commit([make_record()], kill, NOW)
    finally:
        postgres.start()
    memory = await store.load()
    assert (memory.alerts, memory.incidents) == ({}, {})


async def test_a_frozen_server_holds_nobody(postgres_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """With every session frozen a call fails as temporary at its deadline, and works when the server goes on."""
    store = create_store(tmp_path, postgres_url, deadline_seconds=1.0)
    await store.open()
    try:
        with _frozen_sessions(postgres):
            begun = time.monotonic()
            results = await asyncio.gather(
                *(store.commit([make_record()], decide(), NOW) for _ in range(3)), return_exceptions=True
            )
            assert time.monotonic() - begun < 3
            assert [type(result) for result in results] == [TemporaryError] * 3
            assert "no answer from the database in 1 s" in str(results[0])
        while not await store.healthy():
            pass
        await store.commit([make_record(2)], decide(), NOW)
    finally:
        await store.close()


async def test_closing_does_not_wait_for_a_frozen_server(postgres_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """With a transaction stuck in a frozen server, close ends within seconds and leaves no task behind."""
    store = create_store(tmp_path, postgres_url, deadline_seconds=0.2)
    await store.open()
    with _frozen_sessions(postgres):
        with pytest.raises(TemporaryError):
            await store.load()
        begun = time.monotonic()
        await store.close()
        assert time.monotonic() - begun < 6
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_lock_that_is_held_too_long_is_temporary(postgres_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """A commit that waits for another's book lock gives up as temporary, and goes through when the lock is free."""
    store = create_store(tmp_path, postgres_url, deadline_seconds=0.5)
    other = create_store(tmp_path, postgres_url)
    await store.open()
    await other.open()
    try:
        async with other._session._database.writer.begin() as connection:
            await connection.execute(text("SELECT id FROM book FOR UPDATE"))
            with pytest.raises(TemporaryError):
                await store.commit([make_record()], decide(), NOW)
        await store.commit([make_record()], decide(), NOW)
    finally:
        await store.close()
        await other.close()


async def test_an_absent_server_is_temporary_and_keeps_its_secret(tmp_path: Path) -> None:
    """A refused connection is temporary; the message names host and port, never the password."""
    port = free_port()
    store = create_store(tmp_path, f"postgresql://detector:hunter2-1234@127.0.0.1:{port}/x")
    with pytest.raises(TemporaryError, match=str(port)) as caught:
        await store.open()
    assert_no_secret(["hunter2-1234"], str(caught.value), repr(caught.value), repr(store))
    await store.close()


@pytest.mark.parametrize("address", ["mysql://x/y", "nonsense", "postgresql://host:port/x"])
def test_a_wrong_address_is_refused(tmp_path: Path, address: str) -> None:
    """An address that is not PostgreSQL's is a settings fault that names the setting and what would be right."""
    with pytest.raises(PermanentError, match=r"DETECTOR_DATABASE_URL .*postgresql://"):
        create_store(tmp_path, address)
