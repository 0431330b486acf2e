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
from detector.ports.lease import NotLeadingError
from detector.ports.store import DeliveryState
from tests.kit.port import free_port
from tests.kit.sample import decide, make_incident, make_notice, make_record
from tests.kit.secret import assert_no_secret
from tests.kit.wait import wait_until

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
    assert await store.acquire()
    yield store
    await store.close()


async def _answers(store: SqlStore) -> bool:
    try:
        return await store.renew()
    except TemporaryError:
        return False


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


async def test_commits_at_once_see_each_other(store: SqlStore) -> None:
    """Sixty commits at once that add to one incident lose no addition."""
    await store.commit([], decide(make_incident(revision=0)), NOW)

    def add(book: Book) -> Decision:
        incident = book.incidents[make_incident().id]
        return Decision((replace(incident, revision=incident.revision + 1),))

    await asyncio.gather(*(store.commit([], add, NOW) for _ in range(60)))
    found = await store.find_incident(make_incident().id)
    assert found is not None
    assert found.revision == 60


async def test_who_lost_the_lease_writes_nothing(postgres_url: str, tmp_path: Path) -> None:
    """Past its end another takes over, in a new epoch: from then on the one before claims, commits and records nothing."""
    stale, heir = (create_store(tmp_path, postgres_url, lease_ttl_seconds=1.0) for _ in range(2))
    await stale.open()
    await heir.open()
    try:
        first = await stale.acquire()
        assert first is not None
        await stale.commit([], decide(make_incident(), make_notice(1), make_notice(2)), NOW)
        (lost,) = await stale.claim("pagerduty", NOW, 1)
        assert await heir.acquire() is None
        with pytest.raises(NotLeadingError):
            await heir.commit([make_record()], decide(), NOW)
        second = None

        async def is_taken() -> bool:
            nonlocal second
            second = await heir.acquire()
            return second is not None

        await wait_until(is_taken, "the lease is free")
        assert second is not None
        assert second.epoch > first.epoch
        for write in (
            stale.claim("pagerduty", NOW, 10),
            stale.commit([make_record()], decide(), NOW),
            stale.checkpoint([], [make_record()]),
            stale.record(lost, DeliveryState.ACCEPTED, NOW),
            stale.save_rules("digest", {}, NOW),
        ):
            with pytest.raises(NotLeadingError):
                await write
        assert (await stale.renew(), await heir.renew()) == (False, True)
        assert not (await heir.load()).alerts
        claimed = await heir.claim("pagerduty", NOW, 10)
        assert {delivery.id for delivery in claimed} == {lost.id, make_notice(2).id}
    finally:
        await stale.close()
        await heir.close()


async def test_a_lease_that_ran_out_writes_nothing_until_renewed(postgres_url: str, tmp_path: Path) -> None:
    """By the database's clock its end has passed: nothing is written; nobody took over, so a renewal makes it good again."""
    store = create_store(tmp_path, postgres_url, lease_ttl_seconds=0.5)
    await store.open()
    try:
        assert await store.acquire()
        await asyncio.sleep(0.6)
        with pytest.raises(NotLeadingError):
            await store.commit([make_record()], decide(), NOW)
        assert await store.renew()
        await store.commit([make_record()], decide(), NOW)
    finally:
        await store.close()


async def test_nobody_takes_over_under_a_commit(postgres_url: str, tmp_path: Path) -> None:
    """A transaction that began within the lease and ends after it keeps others out until then; a renewal does not wait."""
    slow, heir = (create_store(tmp_path, postgres_url, lease_ttl_seconds=ttl) for ttl in (0.5, 60.0))
    await slow.open()
    await heir.open()
    assert await slow.acquire()
    try:
        async with slow._leading() as connection:
            assert await asyncio.wait_for(slow.renew(), 5)
            for _ in range(12):  # without pausing so long that the server ends the session
                await asyncio.sleep(0.1)
                await connection.execute(text("SELECT 1"))
            taking = asyncio.create_task(heir.acquire())
            await asyncio.sleep(0.3)
            assert not taking.done()
        assert await taking is not None
    finally:
        await slow.close()
        await heir.close()


async def test_a_released_lease_is_free_at_once(store: SqlStore, postgres_url: str, tmp_path: Path) -> None:
    """Nobody waits for the TTL of a process that said goodbye, and that one writes no more."""
    other = create_store(tmp_path, postgres_url)
    await other.open()
    try:
        assert await other.acquire() is None
        await store.release()
        assert await other.acquire() is not None
        with pytest.raises(NotLeadingError):
            await store.commit([make_record()], decide(), NOW)
    finally:
        await other.close()


async def test_replicas_that_start_together_migrate_once(postgres_url: str, tmp_path: Path) -> None:
    """Four stores that open an empty database at the same moment all come up; one of them holds the 64 leases."""
    stores = [create_store(tmp_path, postgres_url) for _ in range(4)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        tenures = await asyncio.gather(*(store.acquire() for store in stores))
        assert sum(tenure is not None for tenure in tenures) == 1
        assert sum([await store.renew() for store in stores]) == 1
        async with stores[0]._session._database.reader.connect() as connection:
            assert (await connection.execute(text("SELECT count(*), max(epoch) FROM lease"))).one() == (64, 1)
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
        with pytest.raises(TemporaryError):
            await store.renew()
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
    assert await store.acquire()
    try:
        with _frozen_sessions(postgres):
            begun = time.monotonic()
            results = await asyncio.gather(
                *(store.commit([make_record()], decide(), NOW) for _ in range(3)), return_exceptions=True
            )
            assert time.monotonic() - begun < 3
            assert [type(result) for result in results] == [TemporaryError] * 3
            assert "no answer from the database in 1 s" in str(results[0])
        while not await _answers(store):
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
    assert await store.acquire()
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
