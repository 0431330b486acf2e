"""What can happen to the SQLite file: damage, a full disk, a lock, a second process, an old schema."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector.adapters.store import SqlStore, create_store
from detector.domain.incident import Book, Decision, NoticeKind
from detector.ports.error import PermanentError, TemporaryError
from detector.ports.store import DeliveryState, IncidentFilter
from tests.kit.process import Process
from tests.kit.sample import decide, make_event, make_incident, make_notice, make_record
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = 2000.0


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the database will lie."""
    return tmp_path / "state"


@pytest.fixture
async def store(state_dir: Path) -> AsyncIterator[SqlStore]:
    """An open store on a new file."""
    store = create_store(state_dir)
    await store.open()
    yield store
    await store.close()


async def _fill(state_dir: Path, count: int = 300) -> None:
    store = create_store(state_dir)
    await store.open()
    values = [value for number in range(count) for value in (make_incident(number), make_event(number), make_notice(number))]
    await store.commit([make_record(number) for number in range(count)], decide(*values), NOW)
    await store.close()


def _read_modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


def _list_open_files(folder: Path) -> list[Path]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link.readlink() for link in links if str(folder) in str(link.readlink())]


def _worker_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "connection_worker" in thread.name}


async def _run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(subprocess.run, [sys.executable, *argv], capture_output=True, text=True, check=False, timeout=90)


def _damage(path: Path, offset: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * length)


async def test_the_folder_and_files_are_private(state_dir: Path) -> None:
    """The state directory is made 0700, and every file in it 0600: they hold routing keys."""
    store = create_store(state_dir)
    await store.open()
    try:
        await store.commit([make_record()], decide(), NOW)
        modes = _read_modes(state_dir)
        assert modes.pop("state") == 0o700
        assert len(modes) == 4
        assert set(modes.values()) == {0o600}, modes
    finally:
        await store.close()


async def test_a_committed_row_is_on_the_disk(store: SqlStore) -> None:
    """Every connection writes ahead and syncs at each commit."""
    async with store._session._database.writer.connect() as connection:
        found = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


async def test_nothing_is_written_where_nothing_changed(store: SqlStore, state_dir: Path) -> None:
    """An empty decision without alerts, an empty checkpoint and a claim of nothing leave the file as it is."""
    with closing(sqlite3.connect(state_dir / "detector.db")) as other:
        version = other.execute("PRAGMA data_version").fetchone()
        await store.commit([], decide(), NOW)
        await store.checkpoint([], [])
        await store.claim("pagerduty", NOW, 10)
        assert other.execute("PRAGMA data_version").fetchone() == version
        await store.commit([make_record()], decide(), NOW)
        assert other.execute("PRAGMA data_version").fetchone() != version


async def test_a_commit_holds_the_write_lock_from_its_start(store: SqlStore, state_dir: Path) -> None:
    """While `decide` runs no other program can write: what was read is still true when the decision is written."""
    tried: list[str] = []

    def write_from_elsewhere(_book: Book) -> Decision:
        with closing(sqlite3.connect(state_dir / "detector.db", timeout=0)) as other:
            try:
                other.execute("DELETE FROM incident")
            except sqlite3.OperationalError as error:
                tried.append(str(error))
        return Decision()

    await store.commit([], write_from_elsewhere, NOW)
    assert tried == ["database is locked"]


async def test_a_second_process_is_refused(store: SqlStore, state_dir: Path) -> None:
    """While one detector has the file, another is told which process that is and what to do; the first goes on."""
    code = (
        "import asyncio, sys, pathlib\nfrom detector.adapters.store import create_store\n"
        "asyncio.run(create_store(pathlib.Path(sys.argv[1])).open())"
    )
    done = await _run("-c", code, state_dir)
    last = done.stderr.strip().splitlines()[-1]
    assert "PermanentError" in last
    assert f"in use by another detector (process {os.getpid()})" in last
    assert "DETECTOR_STATE_DIR" in last
    assert await store.backlog() == {}


async def test_a_killed_process_blocks_nobody(state_dir: Path, tmp_path: Path) -> None:
    """Kill -9 of the holder lets the next one open at once."""
    with Process([sys.executable, "-m", "tests.kit.storewriter", state_dir], log=tmp_path / "log") as writer:
        await writer.wait_ready(lambda: "1\n" in writer.read_log())
        with pytest.raises(PermanentError, match=f"process {writer.pid}"):
            await create_store(state_dir).open()
        writer.kill()
    store = create_store(state_dir)
    await store.open()
    await store.close()


@pytest.mark.parametrize("length", [16, 100, 4096], ids=["magic", "header", "page"])
async def test_a_file_that_is_no_database_is_moved_aside(state_dir: Path, length: int) -> None:
    """With its header gone the file is kept under another name, a new one begun, and somebody told where the old one lies."""
    await _fill(state_dir)
    path = state_dir / "detector.db"
    _damage(path, 0, length)
    damaged = path.read_bytes()
    lines: list[str] = []
    store = create_store(state_dir, tell=lines.append)
    await store.open()
    try:
        assert store.recovered_from is not None
        moved = Path(store.recovered_from)
        assert moved.read_bytes() == damaged  # noqa: ASYNC240  # a small file
        assert moved.name.startswith("detector.db.corrupt-2")
        assert len(lines) == 1
        assert store.recovered_from in lines[0]
        await store.commit([make_record()], decide(make_incident()), NOW)
        assert await store.backlog() == {}
    finally:
        await store.close()


async def test_what_a_damaged_page_leaves_is_saved(state_dir: Path) -> None:
    """One bad page in the middle: nearly all incidents and notices live on, with their delivery states and credentials."""
    store = create_store(state_dir)
    await store.open()
    numbers = range(300)
    await store.commit([], decide(*(make_incident(n) for n in numbers), *(make_notice(n) for n in numbers)), NOW)
    for delivery in await store.claim("pagerduty", NOW, 300):
        await store.record(delivery, DeliveryState.ACCEPTED, NOW, credential="secret")
    await store.close()
    path = state_dir / "detector.db"
    with closing(sqlite3.connect(path)) as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    _damage(path, pages // 2 * size, size)
    store = create_store(state_dir)
    await store.open()
    try:
        assert store.recovered_from is not None
        memory = await store.load()
        assert len(memory.incidents) > 250
        identity = next(iter(memory.incidents))
        number = int(identity.removeprefix("incident-"))
        await store.commit([], decide(make_notice(number, NoticeKind.RESOLVE)), NOW)
        assert [delivery.kind for delivery in await store.claim("pagerduty", NOW, 10)] == [NoticeKind.RESOLVE]
    finally:
        await store.close()


async def test_corruption_while_running_is_mended(state_dir: Path) -> None:
    """A file that breaks under a running store fails one call as temporary; the next works on a new file, and says so."""
    await _fill(state_dir)
    lines: list[str] = []
    books: list[Book] = []

    def look(book: Book) -> Decision:
        books.append(book)
        return Decision((make_incident(),))

    store = create_store(state_dir, tell=lines.append)
    await store.open()
    try:
        await store.commit([], look, NOW)
        path = state_dir / "detector.db"
        _damage(path, 0, path.stat().st_size)
        with pytest.raises(TemporaryError, match=r"malformed|not a database"):
            await store.load()
        await store.commit([make_record()], look, NOW)
        assert [len(book.incidents) for book in books] == [300, 0]
        assert set((await store.load()).incidents) == {make_incident().id}
        assert store.recovered_from is not None
        assert [line for line in lines if "corrupt: moved to" in line]
    finally:
        await store.close()


async def test_a_lock_by_another_program_is_temporary(store: SqlStore, state_dir: Path) -> None:
    """While another program holds the write lock commits fail as temporary and reads go on; afterwards all works."""
    await store.commit([make_record()], decide(), NOW)
    with closing(sqlite3.connect(state_dir / "detector.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TemporaryError, match="committing: database is locked"):
            await store.commit([make_record(2)], decide(), NOW)
        assert len((await store.load()).alerts["http-errors"]) == 1
        other.execute("ROLLBACK")
    await store.commit([make_record(2)], decide(), NOW)
    assert len((await store.load()).alerts["http-errors"]) == 2


async def test_a_full_disk_is_temporary(tmp_path: Path) -> None:
    """On a full disk a commit fails as temporary, what was there is still read, and room makes it work again."""
    done = await _run("-m", "tests.kit.fulldisk", tmp_path / "state")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["failed", "read", "recovered"]


async def test_a_cancelled_commit_leaves_a_sound_store(store: SqlStore) -> None:
    """Commits cancelled at ten different moments: each is written whole or not at all, and the store goes on."""
    for step in range(10):
        rows = [make_record(number, flaps=step + 1) for number in range(600)]
        task = asyncio.create_task(store.commit(rows, decide(), NOW))
        for _ in range(step * 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        states = (await store.load()).alerts.get("http-errors", {}).values()
        assert len({state.flaps for state in states}) <= 1
    await store.commit([make_record(number, flaps=99) for number in range(600)], decide(), NOW)
    assert {state.flaps for state in (await store.load()).alerts["http-errors"].values()} == {99}


async def test_a_row_from_the_future_is_read_or_passed_over(store: SqlStore, state_dir: Path) -> None:
    """Fields of a newer version are ignored, missing ones defaulted, and a row with an unknown phase is passed over."""
    lines: list[str] = []
    store._tell = lines.append
    await store.commit([make_record(1), make_record(2)], decide(), NOW)
    with closing(sqlite3.connect(state_dir / "detector.db")) as other:
        other.execute("""UPDATE alert SET document = '{"labels": [["pod", "x"]], "novelty": [1]}' WHERE document LIKE '%pod-1"%'""")
        other.execute("""UPDATE alert SET document = replace(document, '"pending"', '"dreaming"') WHERE document LIKE '%pod-2"%'""")
        other.commit()
    alerts = (await store.load()).alerts["http-errors"]
    assert list(alerts) == [(("pod", "x"),)]
    assert alerts[("pod", "x"),].flaps == 0
    assert len(lines) == 1
    assert "dreaming" in lines[0]


async def test_a_newer_schema_is_worked_on(store: SqlStore, state_dir: Path) -> None:
    """While an upgrade rolls, a database that a newer version has migrated is used as it is."""
    await store.close()
    with closing(sqlite3.connect(state_dir / "detector.db")) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        other.execute("ALTER TABLE incident ADD COLUMN novelty TEXT")
        other.commit()
    again = create_store(state_dir)
    await again.open()
    await again.commit([make_record()], decide(make_incident()), NOW)
    await again.close()


async def test_alembic_is_imported_only_to_migrate(store: SqlStore, state_dir: Path) -> None:
    """Opening a database of the current schema does not import Alembic."""
    await store.close()
    code = (
        "import asyncio, sys, pathlib\nfrom detector.adapters.store import create_store\n"
        "async def main():\n    store = create_store(pathlib.Path(sys.argv[1]))\n    await store.open()\n    await store.close()\n"
        "asyncio.run(main())\nassert 'alembic' not in sys.modules\nassert 'psycopg' not in sys.modules"
    )
    done = await _run("-W", "error", "-c", code, state_dir)
    assert done.returncode == 0, done.stderr


async def test_nothing_is_left_running(state_dir: Path) -> None:
    """Thirty times opened, used and closed: no thread and no file stays behind."""
    threads = _worker_threads()
    for _ in range(30):
        store = create_store(state_dir)
        await store.open()
        await store.commit([make_record()], decide(), NOW)
        await asyncio.gather(store.load(), store.backlog(), store.list_incidents(IncidentFilter()))
        await store.close()
    await wait_until(lambda: not _worker_threads() - threads, "all workers ended")
    assert _list_open_files(state_dir) == []


async def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    """Where the state directory cannot be made, the error names the place."""
    (tmp_path / "file").write_text("")
    store = create_store(tmp_path / "file")
    with pytest.raises(TemporaryError, match=r"file/detector\.db"):
        await store.open()
    await store.close()
