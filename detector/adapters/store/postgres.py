"""PostgreSQL as the store's database, for several replicas: psycopg 3, a small pool, no wait without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from detector.adapters.store.fault import translate
from detector.ports.error import PermanentError, TemporaryError

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import AsyncConnection

_ADDRESSES = {"postgresql", "postgres", "postgresql+psycopg"}
_CONNECT_SECONDS = 5
# a server that answers before the commit is written would lose it; stricter settings than "on" are left alone
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_SESSION = "SET lock_timeout = '5s'; SET statement_timeout = '10s'; SET idle_in_transaction_session_timeout = '{}ms'"
_IDLE_SECONDS = 15.0  # a process that froze in a transaction keeps its locks, and so the lease, that long


class PostgresDatabase:
    """One database address. `moved` exists for its twin's sake: a server mends itself.

    `idle_seconds`: after that long without a word within a transaction the server ends the session.
    """

    def __init__(self, address: str, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._session = _SESSION.format(max(1, round(min(idle_seconds, _IDLE_SECONDS) * 1000)))
        self.moved: Path | None = None
        self.exclusive = False
        try:
            url = make_url(address)
        except (ArgumentError, ValueError):
            raise PermanentError("DETECTOR_DATABASE_URL is not an address: write postgresql://user@host/database") from None
        if url.drivername not in _ADDRESSES:
            raise PermanentError(f"DETECTOR_DATABASE_URL begins with {url.drivername}://; it must be postgresql://")
        self._url = url.set(drivername="postgresql+psycopg")
        self._engine: AsyncEngine | None = None
        self._connections: WeakSet[AsyncConnection[Any]] = WeakSet()

    def __str__(self) -> str:
        return self._url.set(drivername="postgresql").render_as_string(hide_password=True)

    @property
    def writer(self) -> AsyncEngine:
        """The pool; readers and writers share it."""
        if self._engine is None:
            raise TemporaryError(f"{self} is not open just now")
        return self._engine

    @property
    def reader(self) -> AsyncEngine:
        """The same pool as `writer`."""
        return self.writer

    async def open(self) -> None:
        """Make the pool and see that the server answers."""
        engine = self._engine = create_async_engine(
            self._url,
            pool_size=5,
            max_overflow=5,
            pool_timeout=10,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "application_name": "detector",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15000,
            },
        )

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's adapted connection
            cursor = connection.cursor()
            cursor.execute(self._session)
            cursor.execute(_DURABLE)
            cursor.close()
            connection.commit()
            self._connections.add(connection.driver_connection)

        with translate(f"opening {self}"):
            async with engine.connect():
                return

    async def close(self) -> None:
        """End all sessions."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    def abort(self) -> None:
        """Cut every connection: psycopg waits without end for a frozen server, even to cancel a statement."""
        for connection in self._connections:
            connection.pgconn.finish()

    async def reopen(self) -> None:
        """Sessions anew."""
        await self.close()
        await self.open()
