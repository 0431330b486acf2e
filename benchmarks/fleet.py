"""Services that exist only as counters: an exporter of any number of them, whose traffic follows the clock.

Before it: a benchmark says how many there are and which fail. After it: a real Prometheus scrapes them, spread over some targets,
so that not all are scraped in the same moment.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import yaml
from aiohttp import web

from benchmarks.question import RULES
from detector.standin.server import Server
from tests.kit.prometheus import Prometheus, static_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

REQUESTS_PER_SECOND = 20.0
_SCRAPED_SECONDS = 60.0


class Fleet:
    """`count` healthy services; `fail` makes one fail a share of its requests from now on."""

    def __init__(self, count: int, *, targets: int = 1) -> None:
        self.names = [f"service-{number:05d}" for number in range(count)]
        self._targets = targets
        self._began = time.time()
        self._failing: dict[str, tuple[float, float]] = {}
        app = web.Application()
        app.router.add_get("/{target}", self._scrape)
        self._server = Server(app)

    def fail(self, name: str, share: float) -> float:
        """Break a service; unix seconds of the moment."""
        now = time.time()
        self._failing[name] = (now, share)
        return now

    @asynccontextmanager
    async def scraped(
        self, folder: Path, *, every: str, rule_files: Sequence[Path] = (), alertmanagers: Sequence[str] = ()
    ) -> AsyncIterator[Prometheus]:
        """A real Prometheus that has seen every service twice, so that `increase` has an answer."""
        async with self._server:
            labels = [{"__metrics_path__": f"/{target}", "instance": str(target)} for target in range(self._targets)]
            configs = [{"targets": [f"127.0.0.1:{self._server.port}"], "labels": label} for label in labels]
            prometheus = Prometheus(
                folder,
                scrape_configs=[static_job("fleet") | {"static_configs": configs}],
                scrape_interval=every,
                rule_files=rule_files,
                alertmanagers=alertmanagers,
            )
            await asyncio.to_thread(prometheus.start)
            try:
                await self._wait(prometheus)
                yield prometheus
            finally:
                await asyncio.to_thread(prometheus.stop)

    async def _wait(self, prometheus: Prometheus) -> None:
        deadline = time.monotonic() + _SCRAPED_SECONDS
        query = "count(sum by (service) (increase(http_requests_total[5m])))"
        while True:
            found = await asyncio.to_thread(prometheus.query, query)
            if found and int(found[0]["value"][1]) == len(self.names):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus did not see {len(self.names)} services in {_SCRAPED_SECONDS:g} s")
            await asyncio.sleep(1.0)

    async def _scrape(self, request: web.Request) -> web.Response:
        target = int(request.match_info["target"])
        text = self._render(self.names[target :: self._targets], time.time())
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _render(self, names: Sequence[str], now: float) -> str:
        total = int((now - self._began) * REQUESTS_PER_SECOND)
        lines = []
        for name in names:
            since, share = self._failing.get(name, (now, 0.0))
            failed = int((now - since) * REQUESTS_PER_SECOND * share)
            lines.append(f'http_requests_total{{service="{name}",code="200"}} {total - failed}\n')
            lines.append(f'http_requests_total{{service="{name}",code="500"}} {failed}\n')
        return "".join(lines)


def write_rules(folder: Path, *, copies: int = 1) -> Path:
    """A rules directory with the shipped rule http-errors; of several copies each has names and queries of its own."""
    document = yaml.safe_load((RULES / "http.yaml").read_text())
    rule = next(rule for rule in document["rules"] if rule["name"] == "http-errors")
    text = json.dumps({"rules": [rule]}, indent=2)  # JSON is YAML
    folder.mkdir()
    for copy in range(copies):
        name = f"{copy:02d}"
        own = text.replace('"http-errors"', f'"http-errors-{name}"')
        if copies > 1:
            selector = f"service=~'.*{name}'"
            own = own.replace("http_requests_total{", f"http_requests_total{{{selector},")
            own = own.replace("http_requests_total[", f"http_requests_total{{{selector}}}[")
        (folder / f"http-{name}.yaml").write_text(own)
    return folder
