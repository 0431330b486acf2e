"""A shop to break: services behind each other with real Prometheus metrics and settable faults.

Before it: POST /faults, or a test, says what is wrong. After it: Prometheus scrapes /metrics (all services) or
/metrics/<service> (one, 503 while it is down). `python -m detector.standin.shop --port N` runs it by itself.

    frontend -- 40% --> checkout -- 50% --> payments -- all --> database
             -- 50% --> search
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Self

import msgspec
from aiohttp import web

from detector.standin.exposition import render
from detector.standin.server import Server, answer_json
from detector.standin.traffic import HEALTHY, OWN_ERROR_CODE, Condition, Service, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SERVICES = (
    Service("frontend", rate=100.0, calls={"checkout": 0.4, "search": 0.5}),
    Service("checkout", latency_seconds=0.03, calls={"payments": 0.5}),
    Service("payments", latency_seconds=0.04, calls={"database": 1.0}),
    Service("search", latency_seconds=0.06),
    Service("database", latency_seconds=0.004),
)
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Quantity = Annotated[float, msgspec.Meta(ge=0)]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about one service; a field left out stays as it is.

    `error_ratio`: share of requests it fails itself; callers fail those that go through it. `down`: its series vanish and its
    callers' calls fail. `rate`: requests per second, instead of what reaches it. `never_failed`: true takes its 5xx series
    away; false starts one at zero, as a service that initialises its counters does.
    """

    service: str
    error_ratio: Ratio | None = None
    latency_seconds: Quantity | None = None
    down: bool | None = None
    rate: Quantity | None = None
    never_failed: bool | None = None


class Restart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New pods of one service: counters start again at zero, with no 5xx series; with `version`, a deploy."""

    service: str
    version: str | None = None


class Shop:
    """The services; enter it as an async context manager to serve it on a loopback port.

    `monotonic` moves the traffic, `wall` dates the starts; both in seconds. Counters move on at each scrape and at each change,
    by the time that passed, so a fault counts from the moment it was set.
    """

    def __init__(
        self,
        services: tuple[Service, ...] = SERVICES,
        *,
        port: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.traffic = Traffic(services, monotonic(), wall())
        self._monotonic = monotonic
        self._wall = wall
        self._server = Server(self._build_app(), port)

    @property
    def url(self) -> str:
        """Base URL."""
        return self._server.url

    @property
    def target(self) -> str:
        """host:port, as a scrape configuration wants it."""
        return f"127.0.0.1:{self._server.port}"

    def set_fault(self, fault: Fault) -> None:
        """Change one service from now on. Raises ValueError where there is no such service."""
        self._require(fault.service)
        self.traffic.advance(self._monotonic())
        asked = msgspec.to_builtins(fault)
        names = ("error_ratio", "latency_seconds", "down", "rate")
        changed = {name: asked[name] for name in names if asked[name] is not None}
        self.traffic.conditions[fault.service] = replace(self.traffic.conditions[fault.service], **changed)
        by_code = self.traffic.counts[fault.service].by_code
        if fault.never_failed is True:
            for code in [code for code in by_code if code.startswith("5")]:
                del by_code[code]
        elif fault.never_failed is False:
            by_code.setdefault(OWN_ERROR_CODE, 0)

    def clear_faults(self) -> None:
        """Every service healthy from now on; the counters stay as they are."""
        self.traffic.advance(self._monotonic())
        self.traffic.conditions = dict.fromkeys(self.traffic.services, HEALTHY)

    def reset_counters(self, service: str, version: str | None = None) -> None:
        """Restart one service's pods; a new `version` is a deploy. Raises ValueError where there is no such service."""
        self._require(service)
        self.traffic.advance(self._monotonic())
        self.traffic.restart(service, self._wall(), version)

    def metrics(self, *names: str) -> bytes:
        """The exposition of these services (all, where none is named) as of now; those that are down are left out."""
        self.traffic.advance(self._monotonic())
        asked = names or tuple(self.traffic.services)
        return render(self.traffic, tuple(name for name in asked if not self.traffic.conditions[name].down))

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)

    def _require(self, service: str) -> Condition:
        try:
            return self.traffic.conditions[service]
        except KeyError:
            known = ", ".join(self.traffic.services)
            raise ValueError(f"no service {service!r} in this shop; there are {known}") from None

    def _build_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/metrics/{service}", self._scrape_service)
        app.router.add_get("/faults", self._show)
        app.router.add_post("/faults", self._break)
        app.router.add_delete("/faults", self._heal)
        app.router.add_post("/restart", self._restart)
        return app

    async def _scrape(self, _http: web.Request) -> web.Response:
        return _exposition(self.metrics())

    async def _scrape_service(self, http: web.Request) -> web.Response:
        name = http.match_info["service"]
        try:
            condition = self._require(name)
        except ValueError as error:
            return answer_json(404, {"error": str(error)})
        return web.Response(status=503) if condition.down else _exposition(self.metrics(name))

    async def _show(self, _http: web.Request) -> web.Response:
        return answer_json(200, self.traffic.conditions)

    async def _break(self, http: web.Request) -> web.Response:
        try:
            self.set_fault(msgspec.json.decode(await http.read(), type=Fault))
        except ValueError as error:  # msgspec's errors are ValueErrors too
            return answer_json(400, {"error": str(error)})
        return await self._show(http)

    async def _heal(self, http: web.Request) -> web.Response:
        self.clear_faults()
        return await self._show(http)

    async def _restart(self, http: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await http.read(), type=Restart)
            self.reset_counters(asked.service, asked.version)
        except ValueError as error:
            return answer_json(400, {"error": str(error)})
        return await self._show(http)


def _exposition(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _serve(port: int) -> None:
    async with Shop(port=port):
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m detector.standin.shop", description="a shop to break")
    parser.add_argument("--port", type=int, required=True)
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
