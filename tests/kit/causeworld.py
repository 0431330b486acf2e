"""One shop and all it stands on: a real PostgreSQL behind it, a payment provider, a real Prometheus, and orders that keep coming.

Before it: `causes` opens seven and lets a cause strike each. After it: `detector diagnose`, as a process, says what it sees.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import psycopg
from aiohttp import web

from detector.standin.server import Server
from tests.kit.command import run_detector
from tests.kit.daemon import Daemon
from tests.kit.pgexporter import PostgresExporter
from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.prometheus import Prometheus, static_job
from tests.kit.till import REQUIRED
from tests.kit.wait import wait_until
from tests.kit.web import is_answering, request_json

if TYPE_CHECKING:
    from tests.kit.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]
ORDERS_PER_SECOND = 5.0
RULES = """\
rules:
  - name: errors
    by: [service]
    every: 5s
    window: 15s
    signals:
      error_rate:
        ratio:
          - sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))
          - sum by (service) (increase(http_requests_total[$window]))
    open: error_rate > 0.01
"""
TABLES = """\
CREATE TABLE stock (product int PRIMARY KEY, sold int NOT NULL);
INSERT INTO stock SELECT product, 0 FROM generate_series(0, 99) AS product;
CREATE FUNCTION price(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 42; END';
"""


class Provider:
    """The payment provider: POST /charge, and the status page that it has for everybody."""

    def __init__(self) -> None:
        self.down = False
        app = web.Application()
        app.router.add_route("*", "/charge", self._charge)
        app.router.add_get("/api/v2/summary.json", self._tell)
        self.server = Server(app)

    async def _charge(self, _http: web.Request) -> web.Response:
        return web.Response(status=503 if self.down else 200)

    async def _tell(self, _http: web.Request) -> web.Response:
        status = {"indicator": "major", "description": "Partial System Outage"}
        good = {"indicator": "none", "description": "All Systems Operational"}
        incidents = [{"name": "Card payments fail"}] if self.down else []
        return web.json_response({"status": status if self.down else good, "incidents": incidents})


class World:
    """One shop and all it stands on, in `folder`; `strike` breaks something of it, `diagnose` asks the command line."""

    def __init__(self, folder: Path, postgres: Postgres, past: Path, started: float) -> None:
        self.provider = Provider()
        self._folder = folder
        self._postgres = postgres
        self._past = past
        self._started = started
        self._database = ""
        self._till_port = free_port()
        self._till: Process | None = None
        self._daemon: Daemon | None = None
        self._rate = ORDERS_PER_SECOND
        self._keep = 0
        self._parts = AsyncExitStack()
        self._url = ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._database = self._postgres.url(await asyncio.to_thread(self._postgres.create_database))
        async with await psycopg.AsyncConnection.connect(self._database, autocommit=True) as connection:
            for statement in TABLES.splitlines():
                await connection.execute(statement.encode())
        await self._parts.enter_async_context(self.provider.server)
        exporter = await self._parts.enter_async_context(PostgresExporter(self._database))
        self.write_settings(f"{REQUIRED}=k1\n")
        await self.start_till("1.0.0")
        self._parts.push_async_callback(self._stop_till)
        jobs = [self._describe_shop(), static_job("postgres", exporter.target)]
        prometheus = Prometheus(self._folder / "prometheus", scrape_configs=jobs)
        await asyncio.to_thread(shutil.copytree, self._past, prometheus.data)
        self._url = prometheus.url
        await asyncio.to_thread(prometheus.start)
        self._parts.push_async_callback(asyncio.to_thread, prometheus.stop)
        self._session = await self._parts.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)))
        orders = asyncio.create_task(self._send_orders(), name="orders")
        self._parts.callback(orders.cancel)
        rules = self._folder / "rules"
        rules.mkdir()
        (rules / "shop.yaml").write_text(RULES + self._write_catalogue())
        await wait_until(lambda: asyncio.to_thread(self._is_seen, prometheus), "shop and database were scraped")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    async def start_till(self, version: str, *words: str) -> None:
        """Start the shop's process, or another release of it in its place."""
        if self._till is not None:
            await asyncio.to_thread(self._till.stop)
        given = {
            "port": str(self._till_port),
            "database": self._database,
            "provider": f"{self.provider.server.url}/charge",
            "settings": str(self._folder / "shop.env"),
            "log": str(self._folder / "shop.log"),
            "started": str(self._started if self._till is None else time.time()),
            "version": version,
        }
        argv = [sys.executable, "-m", "tests.kit.till", *(word for name, value in given.items() for word in (f"--{name}", value))]
        self._till = Process([*argv, *words], log=self._folder / "till.out", cwd=ROOT)
        await asyncio.to_thread(self._till.start)
        await self._till.wait_ready(lambda: is_answering(self._till_port, "/metrics"))

    async def tell_deploy(self, version: str) -> None:
        """As a pipeline does: POST /api/v1/deploys, to a real daemon."""
        self._daemon = Daemon(self._folder / "daemon", {"DETECTOR_PROMETHEUS_URL": self._url})
        self._daemon.write_rules(shop=RULES)
        await self._daemon.start()
        self._parts.push_async_callback(self._daemon.end)
        news = {"service": "shop", "version": version, "at": time.time(), "by": "ann"}
        await asyncio.to_thread(request_json, self._daemon.port, "POST", "/api/v1/deploys", news)

    def write_settings(self, text: str) -> None:
        """Write the shop's settings file."""
        (self._folder / "shop.env").write_text(text)

    async def reload_till(self) -> None:
        """Let the shop read its settings anew."""
        assert self._session is not None
        await self._session.post(f"http://127.0.0.1:{self._till_port}/-/reload")

    async def execute(self, statement: str) -> None:
        """Run a statement in a session that stays open, with its transaction, until the world ends."""
        connection = await psycopg.AsyncConnection.connect(self._database)
        self._parts.push_async_callback(connection.close)
        await connection.execute(statement.encode())
        if not statement.startswith("LOCK"):
            await connection.commit()

    def send_more(self, *, rate: float = ORDERS_PER_SECOND, keep_mib: int = 0) -> None:
        """Other orders from now on."""
        self._rate, self._keep = rate, keep_mib

    async def diagnose(self) -> list[dict[str, Any]]:
        """The checks as `detector diagnose shop --json` gives them."""
        settings = {
            "DETECTOR_PROMETHEUS_URL": self._url,
            "DETECTOR_RULES": str(self._folder / "rules"),
            "DETECTOR_URL": f"http://127.0.0.1:{self._daemon.port if self._daemon else free_port()}",
        }
        words = ("diagnose", "shop", "--json")
        code, out, errors = await asyncio.to_thread(run_detector, *words, cwd=self._folder, settings=settings)
        assert code in {0, 1}, errors
        checks: list[dict[str, Any]] = json.loads(out)["checks"]
        return checks

    async def _stop_till(self) -> None:
        if self._till is not None:
            await asyncio.to_thread(self._till.stop)

    async def _send_orders(self) -> None:
        sent: set[asyncio.Task[None]] = set()
        try:
            while True:
                order = asyncio.create_task(self._send_order())
                sent.add(order)
                order.add_done_callback(sent.discard)
                await asyncio.sleep(1.0 / self._rate)
        finally:
            for order in sent:
                order.cancel()

    async def _send_order(self) -> None:
        assert self._session is not None
        try:
            async with self._session.post(f"http://127.0.0.1:{self._till_port}/orders", params={"keep": str(self._keep)}):
                pass
        except (aiohttp.ClientError, TimeoutError):
            return

    def _describe_shop(self) -> dict[str, object]:
        static = {"targets": [f"127.0.0.1:{self._till_port}"], "labels": {"service": "shop", "instance": "shop-1"}}
        return {"job_name": "shop", "static_configs": [static]}

    def _write_catalogue(self) -> str:
        provider = self.provider.server.url
        diagnosis = {
            "database": {"connect": f"127.0.0.1:{self._postgres.port}"},
            "third_parties": {
                "statuspages": {"cardpay": f"{provider}/api/v2/summary.json"},
                "probes": {"charge": f"{provider}/charge"},
            },
            "configuration": {"environment": [REQUIRED], "environment_file": str(self._folder / "shop.env")},
            "recent_errors": {"file": str(self._folder / "shop.log")},
        }
        return "services: " + json.dumps({"shop": {"diagnosis": diagnosis}}) + "\n"

    def _is_seen(self, prometheus: Prometheus) -> bool:
        answer = prometheus.query("count(count_over_time(shop_build_info[10s]) > 1) + count(pg_up == 1)")
        return bool(answer)
