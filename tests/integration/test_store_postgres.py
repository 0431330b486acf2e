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
from detector.adapters.store.lease import check_fences
from detector.domain.incident import Book, Decision, NoticeKind
from detector.domain.shard import SHARDS, find_shard
from detector.ports.error import PermanentError, StaleLeaseError, TemporaryError
from detector.ports.store import DeliveryState, Fence
from tests.kit.port import free_port
from tests.kit.replica import expire, keep, list_surplus, open_alone
from tests.kit.sample import decide, make_incident, make_notice, make_record
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, HELD_UP_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.kit.postgres import Postgres

NOW = 2000.0


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """An open store on a new database."""
    store = create_store(tmp_path, postgres_url)
    await open_alone(store)
    yield store
    await store.close()


async def _answers(store: SqlStore) -> bool:
    try:
        await store.backlog()
    except TemporaryError:
        return False
    return True


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


async def test_nobody_takes_over_under_a_commit(postgres_url: str, tmp_path: Path) -> None:
    """What is written under a lease keeps it from being taken until the end, though it expired; a renewal does not wait for it."""
    slow, heir = (create_store(tmp_path, postgres_url) for _ in range(2))
    await slow.open()
    await heir.open()
    try:
        before = await keep(slow, ttl_seconds=0.2)
        async with slow._session.writing() as connection:
            await check_fences(connection, slow.holder, [Fence(5, before.epochs[5])], late=True)
            await asyncio.wait_for(keep(slow, ttl_seconds=0.2), PATIENCE_SECONDS)
            await asyncio.sleep(0.3)
            taken = await asyncio.wait_for(keep(heir), PATIENCE_SECONDS)
            assert taken.epochs.keys() == set(range(SHARDS)) - {5}
        assert (await keep(heir)).epochs.keys() == set(range(SHARDS))
    finally:
        await slow.close()
        await heir.close()


async def test_two_processes_share_what_is_to_be_sent(store: SqlStore, postgres_url: str, tmp_path: Path) -> None:
    """Each claims rows of its own shards only; all of them are claimed, each by one."""
    other = create_store(tmp_path, postgres_url)
    await other.open()
    try:
        await keep(other)
        mine = await keep(store)
        await keep(store, give=list_surplus(store, mine))
        theirs = await keep(other)
        assert len(theirs.epochs) == SHARDS // 2
        notices = [make_notice(number, incident=f"i{number}") for number in range(1, 41)]
        await store.commit([], decide(*notices), NOW)
        here, there = await store.claim("pagerduty", NOW, 100), await other.claim("pagerduty", NOW, 100)
        assert {find_shard(each.incident) for each in there} <= theirs.epochs.keys()
        assert sorted(each.id for each in (*here, *there)) == sorted(notice.id for notice in notices)
        assert here
        assert there
    finally:
        await other.close()


async def test_what_expired_is_taken_with_a_higher_epoch(postgres_url: str, tmp_path: Path) -> None:
    """A process that beats no more loses its shards; it claims nothing, commits nothing, and its claims go to the next."""
    lost, heir = (create_store(tmp_path, postgres_url) for _ in range(2))
    await lost.open()
    await heir.open()
    try:
        before = await keep(lost)
        await lost.commit([], decide(make_notice(1), make_notice(2)), NOW)
        (claimed,) = await lost.claim("pagerduty", NOW, 1)
        await expire(lost)
        assert not await lost.claim("pagerduty", NOW, 10)
        after = await keep(heir)
        assert after.epochs == {shard: epoch + 1 for shard, epoch in before.epochs.items()}
        with pytest.raises(StaleLeaseError) as stale:
            await lost.commit([make_record()], decide(make_incident()), NOW, fences=[Fence(3, before.epochs[3])], late=True)
        assert stale.value.shards == {3}
        again = await heir.claim("pagerduty", NOW, 10)
        assert {delivery.id for delivery in again} == {make_notice(1).id, make_notice(2).id}
        await lost.record(claimed, DeliveryState.CLAIMED, NOW, retry_at=NOW)  # what the stale one thinks to do next
        assert not await heir.claim("pagerduty", NOW, 10)
        await lost.record(claimed, DeliveryState.ACCEPTED, NOW)  # what it did do
        assert (await heir.backlog())["pagerduty"].depth == 1
    finally:
        await lost.close()
        await heir.close()


async def test_an_expired_lease_that_nobody_took_goes_on(postgres_url: str, tmp_path: Path) -> None:
    """After a database that was away longer than the TTL: the same epoch, and what waits for it is written."""
    store = create_store(tmp_path, postgres_url)
    await store.open()
    try:
        before = await keep(store, ttl_seconds=0.2)
        await asyncio.sleep(0.3)
        fences = [Fence(0, before.epochs[0])]
        with pytest.raises(StaleLeaseError):
            await store.commit([make_record()], decide(), NOW, fences=fences)
        await store.commit([make_record()], decide(), NOW, fences=fences, late=True)
        assert (await keep(store)).epochs == before.epochs
        await store.checkpoint([], [make_record(2)], fences=fences)
        assert len((await store.load()).alerts["http-errors"]) == 2
    finally:
        await store.close()


async def test_an_opening_that_was_claimed_and_not_recorded_is_doubted(postgres_url: str, tmp_path: Path) -> None:
    """When another process claims it again it is noted, and told once the resolve of its key was accepted; then settled."""
    lost, heir = (create_store(tmp_path, postgres_url) for _ in range(2))
    await lost.open()
    await heir.open()
    try:
        await keep(lost)
        await lost.commit([], decide(make_notice()), NOW)
        await lost.claim("pagerduty", NOW, 1)
        await lost.registry.release()
        await keep(heir)
        (trigger,) = await heir.claim("pagerduty", NOW, 1)
        await heir.record(trigger, DeliveryState.ACCEPTED, NOW)
        assert await heir.registry.list_doubts(NOW) == []
        await heir.commit([], decide(make_notice(1, NoticeKind.RESOLVE)), NOW)
        (resolve,) = await heir.claim("pagerduty", NOW, 1)
        await heir.record(resolve, DeliveryState.ACCEPTED, NOW + 1)
        assert await heir.registry.list_doubts(NOW) == []
        (doubt,) = await heir.registry.list_doubts(NOW + 1)
        assert (doubt.notice, doubt.key, doubt.incident) == (trigger.id, trigger.key, trigger.incident)
        await heir.registry.settle_doubts([doubt.notice])
        assert await heir.registry.list_doubts(NOW + 1) == []
        await lost.commit([], decide(), NOW, late=True, sent=[make_notice()])  # cut off, it had sent the same page from memory
        assert await heir.registry.list_doubts(NOW + 1) == [doubt]
    finally:
        await lost.close()
        await heir.close()


async def test_commits_of_others_are_seen_by_a_number(store: SqlStore, postgres_url: str, tmp_path: Path) -> None:
    """The revision grows with what somebody decides and with silences, not with states alone; the book comes with its revision."""
    other = create_store(tmp_path, postgres_url)
    await other.open()
    try:
        begun, is_any_free = await other.registry.read_sign()
        assert not is_any_free
        done = await store.commit([make_record()], decide(make_incident()), NOW)
        assert done.revision == begun + 1
        await store.commit([make_record(2)], decide(), NOW)
        assert await other.registry.read_book() == (begun + 1, {make_incident().id: make_incident()})
        memory = await other.registry.load_alerts(["http-errors", "unknown"])
        assert set(memory.alerts) == {"http-errors"}
    finally:
        await other.close()


async def test_replicas_that_start_together_share_at_once(postgres_url: str, tmp_path: Path) -> None:
    """Four stores that open an empty database at the same moment all come up, and divide the shards fairly."""
    stores = [create_store(tmp_path, postgres_url) for _ in range(4)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        tenures = await asyncio.gather(*(keep(store) for store in stores))
        assert sum(len(tenure.epochs) for tenure in tenures) == SHARDS
        for _ in range(3):
            for index, store in enumerate(stores):
                tenures[index] = await keep(store, give=list_surplus(store, tenures[index]))
        tenures = [await keep(store) for store in stores]
        assert [len(tenure.epochs) for tenure in tenures] == [SHARDS // 4] * 4
        assert len({shard for tenure in tenures for shard in tenure.epochs}) == SHARDS
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
            await keep(store)
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
    store = create_store(tmp_path, postgres_url, deadline_seconds=BRIEF_SECONDS)
    await store.open()
    try:
        with _frozen_sessions(postgres):
            begun = time.monotonic()
            results = await asyncio.gather(
                *(store.commit([make_record()], decide(), NOW) for _ in range(3)), return_exceptions=True
            )
            assert time.monotonic() - begun < BRIEF_SECONDS + HELD_UP_SECONDS
            assert [type(result) for result in results] == [TemporaryError] * 3
            assert "no answer from the database in 1.5 s" in str(results[0])
        while not await _answers(store):
            pass
        await store.commit([make_record(2)], decide(), NOW)
    finally:
        await store.close()


async def test_closing_does_not_wait_for_a_frozen_server(postgres_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """With a transaction stuck in a frozen server, close ends within seconds and leaves no task behind."""
    store = create_store(tmp_path, postgres_url, deadline_seconds=BRIEF_SECONDS)
    await store.open()
    with _frozen_sessions(postgres):
        with pytest.raises(TemporaryError):
            await store.load()
        begun = time.monotonic()
        await store.close()
        assert time.monotonic() - begun < 6 + HELD_UP_SECONDS
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_lock_that_is_held_too_long_is_temporary(postgres_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """A commit that waits for another's book lock gives up as temporary, and goes through when the lock is free."""
    store = create_store(tmp_path, postgres_url, deadline_seconds=BRIEF_SECONDS)
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
