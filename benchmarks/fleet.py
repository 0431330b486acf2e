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
    """`count` healthy services; `fail` makes one fail a share of its requests from now on, `mend` ends that.

    `extra` is appended to every exposition: whole lines.
    """

    def __init__(self, count: int, *, targets: int = 1) -> None:
        self.names = [f"service-{number:05d}" for number in range(count)]
        self._targets = targets
        self._began = time.time()
        self.extra = ""
        self._failing: dict[str, tuple[float, float]] = {}
        self._failed: dict[str, int] = {}  # by earlier faults, mended since
        app = web.Application()
        app.router.add_get("/{target}", self._scrape)
        self._server = Server(app)

    def fail(self, name: str, share: float) -> float:
        """Break a service; unix seconds of the moment."""
        now = time.time()
        self._failing[name] = (now, share)
        return now

    def mend(self, name: str) -> float:
        """End what `fail` began; unix seconds of the moment."""
        now = time.time()
        self._failed[name] = self._count_failed(name, now)
        self._failing.pop(name, None)
        return now

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[dict[str, object]]:
        """The scrape job of a Prometheus that is to see it."""
        async with self._server:
            labels = [{"__metrics_path__": f"/{target}", "instance": str(target)} for target in range(self._targets)]
            configs = [{"targets": [f"127.0.0.1:{self._server.port}"], "labels": label} for label in labels]
            yield static_job("fleet") | {"static_configs": configs}

    @asynccontextmanager
    async def scraped(
        self, folder: Path, *, every: str, rule_files: Sequence[Path] = (), alertmanagers: Sequence[str] = ()
    ) -> AsyncIterator[Prometheus]:
        """A real Prometheus that has seen every service twice, so that `increase` has an answer."""
        async with self.serving() as job:
            prometheus = Prometheus(
                folder,
                scrape_configs=[job],
                scrape_interval=every,
                rule_files=rule_files,
                alertmanagers=alertmanagers,
            )
            await asyncio.to_thread(prometheus.start)
            try:
                await self.wait_seen(prometheus)
                yield prometheus
            finally:
                await asyncio.to_thread(prometheus.stop)

    async def wait_seen(self, prometheus: Prometheus) -> None:
        """Until that Prometheus has seen every service twice."""
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
        text = self._render(self.names[target :: self._targets], time.time()) + (self.extra if target == 0 else "")
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _render(self, names: Sequence[str], now: float) -> str:
        total = int((now - self._began) * REQUESTS_PER_SECOND)
        lines = []
        for name in names:
            failed = self._count_failed(name, now)
            lines.append(f'http_requests_total{{service="{name}",code="200"}} {total - failed}\n')
            lines.append(f'http_requests_total{{service="{name}",code="500"}} {failed}\n')
        return "".join(lines)

    def _count_failed(self, name: str, now: float) -> int:
        since, share = self._failing.get(name, (now, 0.0))
        return self._failed.get(name, 0) + int((now - since) * REQUESTS_PER_SECOND * share)


def write_rules(folder: Path, *, copies: int = 1, alike: bool = True) -> Path:
    """A rules directory with the shipped rule http-errors; of several copies each has names and queries of its own.

    `alike`: the queries differ in one label's value, so that the daemon asks them as one; else each is asked by itself.
    """
    document = yaml.safe_load((RULES / "http.yaml").read_text())
    rule = next(rule for rule in document["rules"] if rule["name"] == "http-errors")
    text = json.dumps({"rules": [rule]}, indent=2)  # JSON is YAML
    folder.mkdir()
    for copy in range(copies):
        name = f"{copy:02d}"
        own = text.replace('"http-errors"', f'"http-errors-{name}"')
        if copies > 1:
            selector = f"service{'=' if alike else '=~'}'service-{copy:05d}'"
            own = own.replace("http_requests_total{", f"http_requests_total{{{selector},")
            own = own.replace("http_requests_total[", f"http_requests_total{{{selector}}}[")
        (folder / f"http-{name}.yaml").write_text(own)
    return folder
