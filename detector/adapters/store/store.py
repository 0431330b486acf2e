"""The Store port over SQL: each method is one transaction with a deadline, its errors translated.

The composition root makes one with `create_store`; `ledger`, `outbox` and `listing` hold the statements.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import delete, func, insert, select

from detector.adapters.store import codec, ledger, listing, outbox, schema
from detector.adapters.store.fault import CorruptError, translate
from detector.adapters.store.lease import renew_leases, take_leases
from detector.adapters.store.migration import migrate
from detector.adapters.store.postgres import PostgresDatabase
from detector.adapters.store.recovery import restore
from detector.adapters.store.sqlite import SqliteDatabase
from detector.ports.error import OutsideError, PermanentError, TemporaryError
from detector.ports.store import (
    AlertRecord,
    Backlog,
    Committed,
    Decide,
    Delivery,
    DeliveryState,
    IncidentFilter,
    IncidentPage,
    Memory,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from detector.domain.alert import RuleProgress
    from detector.domain.incident import Event, Incident

T = TypeVar("T")
FILE = "detector.db"
CLOSE_SECONDS = 5.0


class Database(Protocol):
    """What `sqlite` and `postgres` have in common."""

    moved: Path | None
    """Where the corrupt file lies that opening found and that nothing was saved from yet."""

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

    async def reopen(self) -> None:
        """Check and mend after corruption."""


class SqlStore:
    """Store on a SQL database. `tell` hears one line for each thing a human should know: a file moved aside, a row passed over."""

    def __init__(self, database: Database, *, tell: Callable[[str], None] | None = None, deadline_seconds: float = 10.0) -> None:
        self.recovered_from: str | None = None
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._database = database
        self._tell = tell or (lambda _line: None)
        self._deadline_seconds = deadline_seconds
        self._is_open = False
        self._corrupt = False
        self._mending = asyncio.Lock()
        self._tasks: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        """Connect, migrate when the schema is behind, take the lease."""
        try:
            await self._database.open()
            await self._prepare()
        except BaseException:
            await self._database.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Release everything; idempotent. Waits a little for transactions that were given up on."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        await self._database.close()

    async def load(self) -> Memory:
        """State as the last commit and checkpoint left it."""

        async def run() -> Memory:
            async with self._reading(snapshot=True) as connection:
                return await ledger.read_memory(connection, self._tell)

        return await self._run("reading the state", run)

    async def commit(self, alerts: Sequence[AlertRecord], decide: Decide, now: float) -> Committed:
        """One transaction; see the port. `now` is not stored: every row carries the times of its values.

        A commit that was cancelled or ran into its deadline may have been written: committing the same again changes nothing.
        """
        del now
        rows = await ledger.encode_alerts(alerts)

        async def run() -> Committed:
            async with self._writing() as connection:
                await ledger.lock_book(connection)
                decision = decide(await ledger.read_book(connection, self._tell))
                await rows.write(connection)
                await ledger.write_incidents(connection, decision.incidents)
                await ledger.write_events(connection, decision.events)
                await ledger.write_notices(connection, decision.notices)
                collapsed = await outbox.collapse(connection, decision.notices)
            return Committed(decision.incidents, decision.events, decision.notices, collapsed)

        return await self._run("committing", run)

    async def checkpoint(self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord]) -> None:
        """Write progress in bulk, without touching incidents."""
        rows = await ledger.encode_alerts(alerts)

        async def run() -> None:
            async with self._writing() as connection:
                await ledger.write_progress(connection, progress)
                await rows.write(connection)

        if progress or alerts:
            await self._run("writing the checkpoint", run)

    async def claim(self, channel: str, now: float, limit: int) -> Sequence[Delivery]:
        """Claim what is due for the channel; see the port. `attempts` is how often each was claimed before."""

        async def run() -> Sequence[Delivery]:
            async with self._writing() as connection:
                return await outbox.claim(connection, self.holder, channel, now, limit)

        return await self._run("claiming notices", run)

    async def record(
        self,
        delivery: Delivery,
        state: DeliveryState,
        now: float,
        *,
        retry_at: float | None = None,
        error: str = "",
        credential: str = "",
    ) -> None:
        """Write what came of an attempt; `credential` is kept for the key of an opening notice."""
        values = outbox.outcome_values(state, now, retry_at, error)

        async def run() -> None:
            async with self._writing() as connection:
                await outbox.record(connection, delivery, values, credential)

        await self._run("recording a delivery", run)

    async def backlog(self) -> Mapping[str, Backlog]:
        """Undelivered rows by channel."""

        async def run() -> Mapping[str, Backlog]:
            async with self._reading() as connection:
                return await outbox.read_backlog(connection)

        return await self._run("reading the backlog", run)

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first, in a stable order."""

        async def run() -> IncidentPage:
            async with self._reading() as connection:
                return await listing.list_incidents(connection, wanted)

        return await self._run("listing incidents", run)

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""

        async def run() -> Incident | None:
            async with self._reading() as connection:
                return await listing.find_incident(connection, incident)

        return await self._run("reading an incident", run)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""

        async def run() -> Sequence[Event]:
            async with self._reading() as connection:
                return await listing.read_timeline(connection, incident)

        return await self._run("reading a timeline", run)

    async def save_rules(self, digest: str, files: Mapping[str, str], now: float) -> None:
        """Keep the text of a good set of rule files by relative path; it replaces the set before."""
        row = {"digest": digest, "at": now, "files": codec.encode(files)}

        async def run() -> None:
            async with self._writing() as connection:
                await ledger.lock_book(connection)
                await connection.execute(delete(schema.rule_set))
                await connection.execute(insert(schema.rule_set).values(row))

        await self._run("saving the rules", run)

    async def load_rules(self) -> Mapping[str, str] | None:
        """The last good set, None when there never was one."""

        async def run() -> Mapping[str, str] | None:
            async with self._reading() as connection:
                return await listing.read_rules(connection)

        return await self._run("reading the rules", run)

    async def healthy(self) -> bool:
        """Whether a trivial read and write work now, the leases being ours still; never raises."""

        async def run() -> bool:
            async with self._writing() as connection:
                await connection.execute(select(func.count()).select_from(schema.book))
                return await renew_leases(connection, self.holder)

        try:
            return await self._run("checking health", run)
        except OutsideError:
            return False

    async def _prepare(self) -> None:
        with translate(f"preparing {self._database}"):
            async with self._writing() as connection:
                await migrate(connection)
                await ledger.lock_book(connection)
                await take_leases(connection, self.holder)
        moved = self._database.moved
        if moved is not None:
            self.recovered_from = str(moved)
            count = await restore(self._database.writer, moved)
            self._database.moved = None
            self._tell(f"the database was corrupt: moved to {moved}, begun anew, {count} rows saved")

    async def _run(self, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
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
    async def _reading(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._database.reader.connect() as connection:
            if snapshot and connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.writer.begin() as connection:
            yield connection


def create_store(
    state_dir: Path, database_url: str | None = None, *, tell: Callable[[str], None] | None = None, deadline_seconds: float = 10.0
) -> SqlStore:
    """The store that the settings ask for: SQLite in `state_dir`, or the PostgreSQL at `database_url`."""
    database: Database = PostgresDatabase(database_url) if database_url else SqliteDatabase(state_dir / FILE)
    return SqlStore(database, tell=tell, deadline_seconds=deadline_seconds)
