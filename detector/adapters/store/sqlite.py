"""A SQLite file as the store's database: WAL, every commit on the disk before it returns, one writer, one process.

The lock on a file beside the database dies with its process, so that kill -9 never blocks a restart. A file that is no database any
more is moved aside, never deleted, and a new one begun.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from detector.adapters.store.fault import CorruptError, translate
from detector.ports.error import PermanentError, TemporaryError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

_SIDECARS = ("", "-wal", "-shm")
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864")


class SqliteDatabase:
    """One file, held by one process. `moved` is where a corrupt file went while opening, None when it was sound."""

    def __init__(self, path: Path, *, busy_seconds: float = 2.0) -> None:
        self.path = path
        self.moved: Path | None = None
        self.exclusive = True
        self._busy_milliseconds = int(busy_seconds * 1000)
        self._lock: int | None = None
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def writer(self) -> AsyncEngine:
        """The one connection that writes; its transactions begin by taking SQLite's write lock."""
        return _find_open(self._writer, self.path)

    @property
    def reader(self) -> AsyncEngine:
        """Connections that read beside the writer."""
        return _find_open(self._reader, self.path)

    async def open(self) -> None:
        """Take the file for this process and see that it is a database; PermanentError when another process has it."""
        with translate(f"opening {self.path}"):
            if self._lock is None:
                self._lock = await asyncio.to_thread(self._take_file)
        self._create_engines()
        try:
            with translate(f"opening {self.path}"):
                await self._check()
        except CorruptError:
            await self._dispose()
            with translate(f"moving {self.path} aside"):
                self.moved = await asyncio.to_thread(self._move_aside)
            self._create_engines()

    async def close(self) -> None:
        """End the connections, then let the file go."""
        await self._dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def abort(self) -> None:
        """Nothing can be cut: a thread that waits for the disk waits."""

    async def reopen(self) -> None:
        """After corruption while running: check again, and begin anew where need be. The file stays ours."""
        await self._dispose()
        await self.open()

    def _take_file(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path.with_name(f"{self.path.name}.lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 100, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise PermanentError(
                f"{self.path} is in use by another detector (process {holder}): stop that one, or give this one a state "
                f"directory of its own with DETECTOR_STATE_DIR"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self._sign(lock)
        return lock

    def _sign(self, lock: int) -> None:
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk: the lock holds without a name
            return

    def _create_engines(self) -> None:
        # the file's mode is inherited by -wal and -shm
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._writer = self._create_engine("BEGIN IMMEDIATE", pool_size=1)
        self._reader = self._create_engine("BEGIN", pool_size=2)

    def _create_engine(self, begin: str, *, pool_size: int) -> AsyncEngine:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self.path}",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            hide_parameters=True,
            connect_args={"isolation_level": None, "timeout": self._busy_milliseconds / 1000},
        )

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's adapted connection
            cursor = connection.cursor()
            try:
                for pragma in _PRAGMAS:
                    cursor.execute(f"PRAGMA {pragma}")
            finally:
                cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def begin_transaction(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    async def _check(self) -> None:
        async with self.reader.connect() as connection:
            found = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar()
        if found != "ok":
            raise CorruptError(f"{self.path}: {found}")

    async def _dispose(self) -> None:
        for engine in (self._reader, self._writer):  # the writer last: it folds the log into the file
            if engine is not None:
                await engine.dispose()
        self._reader = self._writer = None

    def _move_aside(self) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{self.path.name}.corrupt-{stamp}-{number}")
        for suffix in _SIDECARS:
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                source.rename(target.with_name(target.name + suffix))
        return target


def _find_open(engine: AsyncEngine | None, path: Path) -> AsyncEngine:
    if engine is None:
        raise TemporaryError(f"{path} is not open just now")
    return engine


def salvage(path: Path, table: str, columns: list[str]) -> list[dict[str, Any]]:
    """Rows of a table in a damaged file that can still be read: from the front up to the damage, then from the back."""
    rows: dict[int, dict[str, Any]] = {}
    names = ", ".join(f'"{name}"' for name in columns)
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.Error:
        return []
    try:
        for order in ("ASC", "DESC"):
            try:
                for rowid, *values in connection.execute(f'SELECT rowid, {names} FROM "{table}" ORDER BY rowid {order}'):  # noqa: S608  # names of our own schema
                    if rowid in rows:
                        break
                    rows[rowid] = dict(zip(columns, values, strict=True))
            except (sqlite3.Error, UnicodeDecodeError, OverflowError):
                continue
    finally:
        connection.close()
    return [rows[rowid] for rowid in sorted(rows)]
