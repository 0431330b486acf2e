"""An exporter whose exposition is the text a test set: for tests that need exact series, stale ones, NaN, or a broken scrape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiohttp import web

from detector.standin.server import Server
from tests.kit.wait import PATIENCE_SECONDS

if TYPE_CHECKING:
    from types import TracebackType


class Exporter:
    """Serves GET /metrics on a loopback port while entered; counts its scrapes."""

    def __init__(self, text: str = "") -> None:
        self.scrapes = 0
        self._text = text
        self._status = 200
        self._scraped = asyncio.Event()
        app = web.Application()
        app.router.add_get("/metrics", self._scrape)
        self._server = Server(app)

    @property
    def target(self) -> str:
        """host:port, as a scrape configuration wants it."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """Base URL."""
        return self._server.url

    def set_text(self, text: str) -> None:
        """What every scrape from now on gets, to the byte but for a newline at its end."""
        self._text = text

    def set_samples(self, **samples: float) -> None:
        """Replace everything by these unlabelled series, untyped."""
        self.set_text("".join(f"{name} {value!r}\n" for name, value in samples.items()))

    def set_status(self, status: int) -> None:
        """Answer scrapes with this status: with 500 the target is down and its series go stale."""
        self._status = status

    async def wait_for_scrapes(self, count: int = 1, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Return after `count` more scrapes. Raises TimeoutError."""
        wanted = self.scrapes + count
        async with asyncio.timeout(timeout_seconds):
            while self.scrapes < wanted:
                self._scraped.clear()
                await self._scraped.wait()

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def _scrape(self, _http: web.Request) -> web.Response:
        self.scrapes += 1
        self._scraped.set()
        text = self._text if self._text.endswith("\n") or not self._text else f"{self._text}\n"
        return web.Response(
            status=self._status,
            body=text.encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
