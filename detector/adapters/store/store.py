"""The Store port over SQL: each method is one transaction with a deadline, its errors translated.

The composition root makes one with `create_store`; `ledger`, `outbox` and `listing` hold the statements.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert

from detector.adapters.store import codec, deploy, ledger, lesson, listing, mute, outbox, schema
from detector.adapters.store.lease import TTL_SECONDS, acquire_leases, fence, release_leases, renew_leases
from detector.adapters.store.postgres import PostgresDatabase
from detector.adapters.store.session import Database, Session
from detector.adapters.store.sqlite import SqliteDatabase
from detector.ports.lease import Tenure
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
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.domain.alert import RuleProgress
    from detector.domain.deploy import Deploy
    from detector.domain.incident import Event, Incident
    from detector.domain.postmortem import Hop, Lesson
    from detector.domain.silence import KeptMute

FILE = "detector.db"


class SqlStore:
    """Store on a SQL database. `tell` hears one line for each thing a human should know: a file moved aside, a row passed over.

    `lease_ttl_seconds`: how long the lease outlives its last renewal; None where who opens the database holds it for good.
    """

    def __init__(
        self,
        database: Database,
        *,
        lease_ttl_seconds: float | None = None,
        tell: Callable[[str], None] | None = None,
        deadline_seconds: float = 10.0,
    ) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ttl_seconds = lease_ttl_seconds
        self._epoch: int | None = None
        self._tell = tell or (lambda _line: None)
        self._session = Session(database, holder=self.holder, tell=self._tell, deadline_seconds=deadline_seconds)

    @property
    def recovered_from(self) -> str | None:
        """Where the corrupt file lies that was moved aside last, None when none was."""
        return self._session.recovered_from

    async def open(self) -> None:
        """Connect, migrate when the schema is behind."""
        await self._session.open()

    async def close(self) -> None:
        """Release everything; idempotent."""
        await self._session.close()

    async def acquire(self) -> Tenure | None:
        """Take the lease where nobody holds it; None while another does."""
        ttl_seconds = self._ttl_seconds
        if ttl_seconds is None:
            return Tenure(0, math.inf)

        async def run() -> int | None:
            async with self._session.writing() as connection:
                return await acquire_leases(connection, self.holder, ttl_seconds)

        self._epoch = await self._session.run("taking the lease", run)
        return None if self._epoch is None else Tenure(self._epoch, ttl_seconds)

    async def renew(self) -> bool:
        """Put its end off; False when another has it."""

        async def run() -> bool:
            async with self._session.writing() as connection:
                return await renew_leases(connection, self.holder, self._epoch, self._ttl_seconds or TTL_SECONDS)

        return await self._session.run("renewing the lease", run)

    async def release(self) -> None:
        """Give it back; nothing happens where it is not held."""
        if self._ttl_seconds is None or self._epoch is None:
            return

        async def run() -> None:
            async with self._session.writing() as connection:
                await release_leases(connection, self.holder, self._epoch)

        await self._session.run("releasing the lease", run)
        self._epoch = None

    async def load(self) -> Memory:
        """State as the last commit and checkpoint left it."""

        async def run() -> Memory:
            async with self._session.reading(snapshot=True) as connection:
                return await ledger.read_memory(connection, self._tell)

        return await self._session.run("reading the state", run)

    async def commit(self, alerts: Sequence[AlertRecord], decide: Decide, now: float) -> Committed:
        """One transaction; see the port. `now` is not stored: every row carries the times of its values.

        A commit that was cancelled or ran into its deadline may have been written: committing the same again changes nothing.
        """
        del now
        rows = await ledger.encode_alerts(alerts)

        async def run() -> Committed:
            async with self._leading() as connection:
                await ledger.lock_book(connection)
                decision = decide(await ledger.read_book(connection, self._tell))
                await rows.write(connection)
                await ledger.write_incidents(connection, decision.incidents)
                await ledger.write_events(connection, decision.events)
                await ledger.write_notices(connection, decision.notices)
                collapsed = await outbox.collapse(connection, decision.notices)
            return Committed(decision.incidents, decision.events, decision.notices, collapsed)

        return await self._session.run("committing", run)

    async def checkpoint(self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord]) -> None:
        """Write progress in bulk, without touching incidents."""
        rows = await ledger.encode_alerts(alerts)

        async def run() -> None:
            async with self._leading() as connection:
                await ledger.write_progress(connection, progress)
                await rows.write(connection)

        if progress or alerts:
            await self._session.run("writing the checkpoint", run)

    async def claim(self, channel: str, now: float, limit: int) -> Sequence[Delivery]:
        """Claim what is due for the channel; see the port. `attempts` is how often each was claimed before."""

        async def run() -> Sequence[Delivery]:
            async with self._leading() as connection:
                return await outbox.claim(connection, self.holder, channel, now, limit)

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
            async with self._leading() as connection:
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
            async with self._leading() as connection:
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
            async with self._leading() as connection:
                await mute.save_mute(connection, kept)

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
            async with self._leading() as connection:
                return await mute.expire_mute(connection, identity, by, now)

        return await self._session.run("ending a silence", run)

    async def add_deploy(self, told: Deploy) -> None:
        """Keep a deploy; the same one twice is one."""

        async def run() -> None:
            async with self._leading() as connection:
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
            async with self._leading() as connection:
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

    @asynccontextmanager
    async def _leading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes, as the holder of the lease."""
        async with self._session.writing() as connection:
            if self._ttl_seconds is not None:
                await fence(connection, self.holder, self._epoch)
            yield connection


def create_store(
    state_dir: Path,
    database_url: str | None = None,
    *,
    lease_ttl_seconds: float = TTL_SECONDS,
    tell: Callable[[str], None] | None = None,
    deadline_seconds: float = 10.0,
) -> SqlStore:
    """The store that the settings ask for: SQLite in `state_dir`, or the PostgreSQL at `database_url`, its lease to be acquired."""
    if not database_url:
        return SqlStore(SqliteDatabase(state_dir / FILE), tell=tell, deadline_seconds=deadline_seconds)
    database = PostgresDatabase(database_url, idle_seconds=lease_ttl_seconds)
    return SqlStore(database, lease_ttl_seconds=lease_ttl_seconds, tell=tell, deadline_seconds=deadline_seconds)
