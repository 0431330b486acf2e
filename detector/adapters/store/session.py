"""Transactions on a database: each with a deadline, its errors translated, and mended when the file turns out corrupt.

`store` asks it for every method; `sqlite` and `postgres` give it connections.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from detector.adapters.store.fault import CorruptError, translate
from detector.adapters.store.lease import take_all
from detector.adapters.store.migration import migrate
from detector.adapters.store.recovery import restore
from detector.ports.error import PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")
POSTGRESQL = "postgresql"
CLOSE_ATTEMPTS = 3
CLOSE_SECONDS = 1.0  # an attempt


class Database(Protocol):
    """What `sqlite` and `postgres` have in common."""

    moved: Path | None
    """Where the corrupt file lies that opening found and that nothing was saved from yet."""

    exclusive: bool
    """Whether no other process works on it while it is open here."""

    @property
    def writer(self) -> AsyncEngine:
        """Connections for transactions that write."""

    @property
    def reader(self) -> AsyncEngine:
        """Connections for transactions that only read."""

    async def open(self) -> None:
        """Connect; CorruptError never: a corrupt file is moved aside."""

    async def close(self) -> None:
        """Disconnect; idempotent."""

    def abort(self) -> None:
        """Cut connections off that somebody still waits on."""

    async def reopen(self) -> None:
        """Check and mend after corruption."""


class Session:
    """A database between open and close, in the name of `holder`. `tell` hears one line when a file was moved aside."""

    def __init__(self, database: Database, *, holder: str, tell: Callable[[str], None], deadline_seconds: float) -> None:
        self.recovered_from: str | None = None
        self.opened = 0  # how often: every time it may be another file
        self._database = database
        self._holder = holder
        self._tell = tell
        self._deadline_seconds = deadline_seconds
        self._is_open = False
        self._corrupt = False
        self._mending = asyncio.Lock()
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def exclusive(self) -> bool:
        """Whether the database is this process's alone."""
        return self._database.exclusive

    async def open(self) -> None:
        """Connect, migrate when the schema is behind; where the database is ours alone, take all leases."""
        try:
            await self._database.open()
            await self._prepare()
        except BaseException:
            await self._database.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Release everything; idempotent. Waits a little for transactions that were given up on, then cuts them off."""
        self._is_open = False
        for _ in range(CLOSE_ATTEMPTS):
            if not self._tasks:
                break
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            self._database.abort()  # what is cut may be connecting anew already: hence the next round
        await self._database.close()

    async def _prepare(self) -> None:
        self.opened += 1
        with translate(f"preparing {self._database}"):
            async with self.writing() as connection:
                await migrate(connection)
                if self._database.exclusive:
                    await take_all(connection, self._holder)
        moved = self._database.moved
        if moved is not None:
            self.recovered_from = str(moved)
            count = await restore(self._database.writer, moved)
            self._database.moved = None
            self._tell(f"the database was corrupt: moved to {moved}, begun anew, {count} rows saved")

    async def run(self, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run one transaction; past the deadline, or when the caller is cancelled, it is given up on and ends in the background.

        A driver may wait for a frozen server even to cancel a statement: whoever needs to page must not wait with it.
        """
        if not self._is_open:
            raise PermanentError(f"{what}: the store is not open")
        await self._mend()
        task = asyncio.create_task(work(), name=f"store: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=self._deadline_seconds)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise TemporaryError(f"{what}: no answer from the database in {self._deadline_seconds:g} s")
        try:
            with translate(what):
                return task.result()
        except CorruptError:
            self._corrupt = True
            raise

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _mend(self) -> None:
        if not self._corrupt:
            return
        async with self._mending:
            if self._corrupt:
                await self._database.reopen()
                await self._prepare()
                self._corrupt = False

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads; `snapshot`: all its statements see the same moment, as they do on SQLite anyway."""
        async with self._database.reader.connect() as connection:
            if snapshot and connection.dialect.name == POSTGRESQL:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed at the end of the block, rolled back when it raises."""
        async with self._database.writer.begin() as connection:
            yield connection
