"""What postgres_exporter tells, under its names, read at each scrape from the real pg_stat_* views of a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, LiteralString, Self

import psycopg
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from detector.standin.server import Server

if TYPE_CHECKING:
    from types import TracebackType

# metric -> labels, statement that gives them and the value; source: postgres_exporter's collectors and default queries
VIEWS: dict[str, tuple[tuple[str, ...], LiteralString]] = {
    "pg_stat_activity_count": (
        ("datname", "state"),
        "SELECT datname, coalesce(state, 'unknown'), count(*) FROM pg_stat_activity WHERE datname IS NOT NULL GROUP BY 1, 2",
    ),
    "pg_stat_activity_max_tx_duration": (
        ("datname", "state"),
        """SELECT datname, coalesce(state, 'unknown'), coalesce(max(extract(epoch FROM now() - xact_start)), 0)
           FROM pg_stat_activity WHERE datname IS NOT NULL GROUP BY 1, 2""",
    ),
    "pg_settings_max_connections": ((), "SELECT setting::float FROM pg_settings WHERE name = 'max_connections'"),
    "pg_locks_count": (
        ("datname", "mode"),
        "SELECT datname, lower(mode), count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database GROUP BY 1, 2",
    ),
    "pg_stat_database_deadlocks": (
        ("datname",),
        "SELECT datname, deadlocks FROM pg_stat_database WHERE datname IS NOT NULL",
    ),
}


class PostgresExporter:
    """Serves /metrics on a loopback port while entered; `pg_up` is 0 where the database cannot be asked."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asking: set[asyncio.Task[web.Response]] = set()
        app = web.Application()
        app.router.add_get("/metrics", self._scrape)
        self._server = Server(app)

    @property
    def target(self) -> str:
        """host:port, as a scrape configuration wants it."""
        return f"127.0.0.1:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _scrape(self, _http: web.Request) -> web.Response:
        # who scrapes may go away in the middle: the session is closed all the same
        asking = asyncio.create_task(self._ask(), name="scrape of PostgreSQL")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return await asyncio.shield(asking)

    async def _ask(self) -> web.Response:
        registry = CollectorRegistry()
        up = Gauge("pg_up", "Whether the last scrape could ask.", registry=registry)
        try:
            async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=2, autocommit=True) as connection:
                for name, (labels, statement) in VIEWS.items():
                    gauge = Gauge(name, name, labels, registry=registry)
                    for *found, value in await (await connection.execute(statement)).fetchall():
                        (gauge.labels(*found) if labels else gauge).set(float(value))
            up.set(1)
        except psycopg.Error:
            up.set(0)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
