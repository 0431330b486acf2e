"""The Store port over SQL: each method is one transaction with a deadline, its errors translated.

The composition root makes one with `create_store`; `ledger`, `outbox` and `listing` hold the statements.
"""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert

from detector.adapters.store import codec, deploy, ledger, lesson, listing, mute, outbox, schema
from detector.adapters.store.lease import check_fences
from detector.adapters.store.memory import BookMemory
from detector.adapters.store.postgres import PostgresDatabase
from detector.adapters.store.registry import SqlRegistry
from detector.adapters.store.session import Database, Session
from detector.adapters.store.sqlite import SqliteDatabase
from detector.ports.store import (
    AlertRecord,
    Backlog,
    Committed,
    Decide,
    Delivery,
    DeliveryState,
    Fence,
    IncidentFilter,
    IncidentPage,
    Memory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from detector.domain.alert import RuleProgress
    from detector.domain.deploy import Deploy
    from detector.domain.incident import Event, Incident, Notice
    from detector.domain.postmortem import Hop, Lesson
    from detector.domain.silence import KeptMute

FILE = "detector.db"


class SqlStore:
    """Store on a SQL database. `tell` hears one line for each thing a human should know: a file moved aside, a row passed over."""

    def __init__(self, database: Database, *, tell: Callable[[str], None] | None = None, deadline_seconds: float = 10.0) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._tell = tell or (lambda _line: None)
        self._session = Session(database, holder=self.holder, tell=self._tell, deadline_seconds=deadline_seconds)
        self._memory = BookMemory()
        self.registry = SqlRegistry(self._session, self.holder, self._tell)

    @property
    def recovered_from(self) -> str | None:
        """Where the corrupt file lies that was moved aside last, None when none was."""
        return self._session.recovered_from

    async def open(self) -> None:
        """Connect, migrate when the schema is behind; where the database is ours alone, take all leases."""
        await self._session.open()

    async def close(self) -> None:
        """Release everything; idempotent."""
        await self._session.close()

    async def load(self) -> Memory:
        """State as the last commit and checkpoint left it."""

        async def run() -> Memory:
            async with self._session.reading(snapshot=True) as connection:
                return await ledger.read_memory(connection, self._tell)

        return await self._session.run("reading the state", run)

    async def commit(
        self,
        alerts: Sequence[AlertRecord],
        decide: Decide,
        now: float,
        *,
        fences: Collection[Fence] = (),
        late: bool = False,
        sent: Collection[Notice] = (),
    ) -> Committed:
        """One transaction; see the port. `now` is not stored: every row carries the times of its values.

        A commit that was cancelled or ran into its deadline may have been written: committing the same again changes nothing.
        """
        del now
        rows = await ledger.encode_alerts(alerts)

        async def run() -> Committed:
            async with self._session.writing() as connection:
                revision = await ledger.lock_book(connection)
                await check_fences(connection, self.holder, fences, late=late)
                opened = self._session.opened if self._session.exclusive else None
                book = await self._memory.take(connection, self._tell, opened)
                decision = decide(book)
                await rows.write(connection)
                documents = await ledger.write_incidents(connection, decision.incidents)
                await ledger.write_events(connection, decision.events)
                await ledger.write_notices(connection, decision.notices, sent={notice.id for notice in sent})
                await outbox.doubt_sent(connection, sent)
                collapsed = await outbox.collapse(connection, decision.notices)
                if not decision.empty:
                    revision = await ledger.advance_revision(connection)
            self._memory.keep(book, opened, zip(decision.incidents, documents, strict=True))
            return Committed(decision.incidents, decision.events, decision.notices, collapsed, revision)

        return await self._session.run("committing", run)

    async def checkpoint(
        self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord], *, fences: Collection[Fence] = ()
    ) -> None:
        """Write progress in bulk, without touching incidents."""
        rows = await ledger.encode_alerts(alerts)

        async def run() -> None:
            async with self._session.writing() as connection:
                await check_fences(connection, self.holder, fences)
                await ledger.write_progress(connection, progress)
                await rows.write(connection)

        if progress or alerts:
            await self._session.run("writing the checkpoint", run)

    async def claim(self, channel: str, now: float, limit: int, *, shards: Collection[int] | None = None) -> Sequence[Delivery]:
        """Claim what is due for the channel; see the port. `attempts` is how often each was claimed before."""

        async def run() -> Sequence[Delivery]:
            async with self._session.writing() as connection:
                return await outbox.claim(connection, self.holder, channel, now, limit, shards)

        return await self._session.run("claiming notices", run)

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
        """Write what came of an attempt; `credential` is kept for the key, see the port."""
        values = outbox.outcome_values(state, now, retry_at, error)

        async def run() -> None:
            async with self._session.writing() as connection:
                await outbox.record(connection, delivery, values, credential)

        await self._session.run("recording a delivery", run)

    async def backlog(self) -> Mapping[str, Backlog]:
        """Undelivered rows by channel."""

        async def run() -> Mapping[str, Backlog]:
            async with self._session.reading() as connection:
                return await outbox.read_backlog(connection)

        return await self._session.run("reading the backlog", run)

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first, in a stable order."""

        async def run() -> IncidentPage:
            async with self._session.reading() as connection:
                return await listing.list_incidents(connection, wanted)

        return await self._session.run("listing incidents", run)

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""

        async def run() -> Incident | None:
            async with self._session.reading() as connection:
                return await listing.find_incident(connection, incident)

        return await self._session.run("reading an incident", run)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""

        async def run() -> Sequence[Event]:
            async with self._session.reading() as connection:
                return await listing.read_timeline(connection, incident)

        return await self._session.run("reading a timeline", run)

    async def save_rules(self, digest: str, files: Mapping[str, str], now: float) -> None:
        """Keep the text of a good set of rule files by relative path; it replaces the set before."""
        row = {"digest": digest, "at": now, "files": codec.encode(files)}

        async def run() -> None:
            async with self._session.writing() as connection:
                await ledger.lock_book(connection)
                await connection.execute(delete(schema.rule_set))
                await connection.execute(insert(schema.rule_set).values(row))

        await self._session.run("saving the rules", run)

    async def load_rules(self) -> Mapping[str, str] | None:
        """The last good set, None when there never was one."""

        async def run() -> Mapping[str, str] | None:
            async with self._session.reading() as connection:
                return await listing.read_rules(connection)

        return await self._session.run("reading the rules", run)

    async def save_mute(self, kept: KeptMute) -> None:
        """Keep a silence or lease; one of the same id is replaced."""

        async def run() -> None:
            async with self._session.writing() as connection:
                await mute.save_mute(connection, kept)
                await ledger.advance_revision(connection)

        await self._session.run("saving a silence", run)

    async def find_mute(self, identity: str) -> KeptMute | None:
        """One silence or lease, ended or not."""

        async def run() -> KeptMute | None:
            async with self._session.reading() as connection:
                return await mute.find_mute(connection, identity)

        return await self._session.run("reading a silence", run)

    async def list_mutes(self, now: float, *, ended: bool, limit: int) -> Sequence[KeptMute]:
        """Those that have ended by `now`, or those that have not; newest first."""

        async def run() -> Sequence[KeptMute]:
            async with self._session.reading() as connection:
                return await mute.list_mutes(connection, now, ended=ended, limit=limit, unreadable=self._tell)

        return await self._session.run("listing silences", run)

    async def expire_mute(self, identity: str, by: str, now: float) -> KeptMute | None:
        """End it now, by that person; see the port."""

        async def run() -> KeptMute | None:
            async with self._session.writing() as connection:
                await ledger.advance_revision(connection)
                return await mute.expire_mute(connection, identity, by, now)

        return await self._session.run("ending a silence", run)

    async def add_deploy(self, told: Deploy) -> None:
        """Keep a deploy; the same one twice is one."""

        async def run() -> None:
            async with self._session.writing() as connection:
                await deploy.add_deploy(connection, told)

        await self._session.run("keeping a deploy", run)

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Deploys of a service (None: of all) in [since, until], newest first."""

        async def run() -> Sequence[Deploy]:
            async with self._session.reading() as connection:
                return await deploy.list_deploys(connection, service, since, until, limit)

        return await self._session.run("listing deploys", run)

    async def save_lesson(self, kept: Lesson) -> None:
        """Keep where a post-mortem stands; one of the same incident is replaced."""

        async def run() -> None:
            async with self._session.writing() as connection:
                await lesson.save_lesson(connection, kept)

        await self._session.run("keeping a post-mortem", run)

    async def find_lesson(self, incident: str) -> Lesson | None:
        """Where that of the incident stands."""

        async def run() -> Lesson | None:
            async with self._session.reading() as connection:
                return await lesson.find_lesson(connection, incident)

        return await self._session.run("reading a post-mortem", run)

    async def list_lessons(self, limit: int) -> Sequence[Lesson]:
        """Those that are not finished, the one due first standing first."""

        async def run() -> Sequence[Lesson]:
            async with self._session.reading() as connection:
                return await lesson.list_lessons(connection, limit)

        return await self._session.run("listing post-mortems", run)

    async def list_hops(self, incident: str) -> Sequence[Hop]:
        """Every notice of the incident as it fared, in the order they were queued."""

        async def run() -> Sequence[Hop]:
            async with self._session.reading() as connection:
                return await lesson.list_hops(connection, incident)

        return await self._session.run("reading deliveries", run)


def create_store(
    state_dir: Path,
    database_url: str | None = None,
    *,
    lease_ttl_seconds: float = 15.0,
    tell: Callable[[str], None] | None = None,
    deadline_seconds: float = 10.0,
) -> SqlStore:
    """The store that the settings ask for: SQLite in `state_dir`, or the PostgreSQL at `database_url`.

    `lease_ttl_seconds`: after so long in silence the server ends a session that holds locks, for its process may be frozen.
    """
    if not database_url:
        return SqlStore(SqliteDatabase(state_dir / FILE), tell=tell, deadline_seconds=deadline_seconds)
    database = PostgresDatabase(database_url, idle_seconds=lease_ttl_seconds)
    return SqlStore(database, tell=tell, deadline_seconds=deadline_seconds)
