"""A little real web shop as a process: every order asks PostgreSQL and a payment provider, and every ailment of it is a real one.

Before it: `causes` starts it, sends it orders and breaks what it stands on. After it: Prometheus scrapes /metrics. Its memory is
bounded (RLIMIT_AS), its locks are waited for at most 200 ms, and its settings are a file of NAME=value lines that it reads anew on
a reload. The start that it tells is given to it, as the history loaded beside it is: a shop just started would be a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import psycopg
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 10
PRODUCTS = 100
LOCK_TIMEOUT_MILLISECONDS = 200
SPARE_MIB = 96  # how much more than at its start it may ever hold
REQUIRED = "PAYMENT_KEY"
BUG_EVERY = 4  # the release with the bug fails each fourth order
MIB = 1024 * 1024

log = logging.getLogger("shop")


@dataclass
class Figures:
    """What it tells of itself, under the names that client libraries give."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        """Declare every series at zero."""
        own = self.registry
        self.requests = Counter("http_requests", "Orders answered.", ["code"], registry=own)
        for code in ("200", "500"):
            self.requests.labels(code)
        self.durations = Histogram("http_request_duration_seconds", "Time to answer.", registry=own)
        self.queries = Histogram("db_query_duration_seconds", "Time of a query.", registry=own)
        self.lock_timeouts = Counter("lock_timeouts", "Locks that were not had in time.", registry=own)
        self.build = Gauge("shop_build_info", "Always 1.", ["version"], registry=own)
        self.reload_good = Gauge("shop_config_last_reload_successful", "1 or 0.", registry=own)
        self.reloaded = Gauge("shop_config_last_reload_success_timestamp_seconds", "When.", registry=own)
        self.started = Gauge("process_start_time_seconds", "When.", registry=own)
        self.virtual = Gauge("process_virtual_memory_bytes", "Of the process.", registry=own)
        self.virtual_max = Gauge("process_virtual_memory_max_bytes", "Its limit.", registry=own)
        self.descriptors = Gauge("process_open_fds", "Of the process.", registry=own)
        self.descriptors_max = Gauge("process_max_fds", "Its limit.", registry=own)

    def render(self) -> bytes:
        """The exposition, with the process as it is now."""
        self.virtual.set(read_virtual_bytes())
        self.virtual_max.set(resource.getrlimit(resource.RLIMIT_AS)[0])
        self.descriptors.set(len(list(Path("/proc/self/fd").iterdir())))
        self.descriptors_max.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        return generate_latest(self.registry)


class Till:
    """Takes orders: POST /orders; ?keep=N keeps N MiB of it for ever, as a cache without a bound does."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.figures = Figures()
        self._given = given
        self._kept: list[bytes] = []
        self._settings: dict[str, str] = {}
        self._orders = 0
        self._pool: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
        self._session: aiohttp.ClientSession | None = None
        self.figures.started.set(given.started)
        self.figures.build.labels(given.version).set(1)

    def build_app(self) -> web.Application:
        """The web application."""
        app = web.Application()
        app.router.add_post("/orders", self._take_order)
        app.router.add_post("/-/reload", self._reload)
        app.router.add_get("/metrics", self._show)
        app.cleanup_ctx.append(self._live)
        return app

    async def _live(self, _app: web.Application) -> AsyncIterator[None]:
        for _ in range(CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(self._given.database, autocommit=True)
            await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")
            self._pool.put_nowait(connection)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0))
        self._read_settings(self._given.started)
        # only now: what it stands on is loaded, what comes from here on are the orders
        limit = int(read_virtual_bytes()) + SPARE_MIB * MIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        yield
        await self._session.close()
        while not self._pool.empty():
            await self._pool.get_nowait().close()

    async def _take_order(self, http: web.Request) -> web.Response:
        begun = time.monotonic()
        self._orders += 1
        fault = await self._serve(int(http.query.get("keep", "0")))
        if fault:
            log.error("order %d failed: %s", self._orders, fault)
        code = 500 if fault else 200
        self.figures.requests.labels(str(code)).inc()
        self.figures.durations.observe(time.monotonic() - begun)
        return web.Response(status=code, text=fault)

    async def _serve(self, keep_mib: int) -> str:
        """What went wrong with an order, empty where nothing did."""
        if self._given.bug and self._orders % BUG_EVERY == 0:
            return "the new basket has no total"
        if not self._settings.get(REQUIRED):
            return f"{REQUIRED} is not set"
        try:
            if keep_mib:
                self._kept.append(b"\1" * (keep_mib * MIB))
            await self._ask("SELECT price(%s)")
            await self._ask("UPDATE stock SET sold = sold + 1 WHERE product = %s")
            return await self._charge()
        except MemoryError:
            return "out of memory"
        except psycopg.errors.LockNotAvailable:
            self.figures.lock_timeouts.inc()
            return "canceling statement due to lock timeout"

    async def _ask(self, statement: str) -> None:
        connection = await self._pool.get()
        begun = time.monotonic()
        try:
            await connection.execute(statement.encode(), (random.randrange(PRODUCTS),))  # noqa: S311 - any product will do
        finally:
            self.figures.queries.observe(time.monotonic() - begun)
            self._pool.put_nowait(connection)

    async def _charge(self) -> str:
        if self._session is None:
            return "not started"
        async with self._session.post(self._given.provider) as answer:
            return "" if answer.ok else f"the payment provider answered {answer.status}"

    async def _reload(self, _http: web.Request) -> web.Response:
        good = self._read_settings(time.time())
        return web.Response(status=200 if good else 400)

    def _read_settings(self, at: float) -> bool:
        lines = Path(self._given.settings).read_text().splitlines()
        self._settings = dict(line.split("=", 1) for line in lines if "=" in line)
        good = bool(self._settings.get(REQUIRED))
        self.figures.reload_good.set(good)
        if good:
            self.figures.reloaded.set(at)
        return good

    async def _show(self, _http: web.Request) -> web.Response:
        return web.Response(body=self.figures.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def read_virtual_bytes() -> float:
    """The size of this process's address space, which RLIMIT_AS bounds."""
    return float(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.till", description="a little real web shop")
    for name in ("database", "provider", "settings", "log"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--started", type=float, required=True)
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--bug", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(filename=given.log, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    web.run_app(Till(given).build_app(), host="127.0.0.1", port=given.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
