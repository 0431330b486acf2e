"""The daemon's HTTP side as one ASGI application: metrics, health, reload; /api goes to FastAPI, pages to the console.

Everything passes the bounds of `exchange` first, and `access`. FastAPI and the console are imported at the first request for them,
in a thread: a daemon that nobody asks stays small and starts fast. What fails unforeseen is answered 500 and logged by uvicorn.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from detector.web import metrics as metrics_module
from detector.web.access import Access, check_json
from detector.web.exchange import Problem, check_text, read_body, replay_body, send_answer, send_json, send_problem
from detector.web.pagerduty import PATH as PAGERDUTY_PATH
from detector.web.status import PATHS as STATUS_PATHS
from detector.web.wire import PATHS as WIRE_PATHS

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
    )

    from detector.ports.aid import Aid
    from detector.ports.plot import Plotter
    from detector.ports.query import Desk, Pulse, Query
    from detector.web.console.console import Console
    from detector.web.metrics import Metrics
    from detector.web.pagerduty import PagerDutyHook
    from detector.web.status import StatusPage
    from detector.web.wire import Wire

REQUEST_SECONDS = 30.0
_READING = {"GET", "HEAD"}
_FOREIGN = ("/-/", "/webhooks/", "/status", "/metrics", "/api", "/prometheus/")  # spoken to by programs: never answered in HTML


class Site:
    """The application. `query`, `desk` and `pulse` are the daemon's; `pagerduty` hears what PagerDuty says, `status` is for all."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        query: Query,
        desk: Desk,
        pulse: Pulse,
        access: Access,
        version: str,
        aid: Aid | None = None,
        plotter: Plotter | None = None,
        pagerduty: PagerDutyHook | None = None,
        status: StatusPage | None = None,
        wire: Wire | None = None,
    ) -> None:
        self._wire = wire
        self._aid = aid
        self._plotter = plotter
        self._status = status
        self._pagerduty = pagerduty
        self._metrics = metrics
        self._query = query
        self._desk = desk
        self._pulse = pulse
        self._access = access
        self._version = version
        self._api: ASGI3Application | None = None
        self._console: Console | None = None
        self._importing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request within its time."""
        if scope["type"] != "http":
            return
        started = False

        async def noting(event: ASGISendEvent) -> None:
            nonlocal started
            started = True
            await send(event)

        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._answer(scope, receive, noting)
        except Problem as problem:
            await send_problem(send, problem)
        except TimeoutError:
            if started:
                raise
            await send_problem(send, Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {REQUEST_SECONDS:g} s; try again"))

    def close(self) -> None:
        """End what would go on for long: the daemon stops."""
        if self._console is not None:
            self._console.close()

    async def _answer(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path, reading = scope["path"], scope["method"] in _READING
        if path == "/-/healthy" and reading:
            await self._say(send, self._pulse.sickness(), "healthy")
        elif path == "/-/ready" and reading:
            await self._say(send, self._pulse.unreadiness(), "ready")
        elif path == "/metrics" and reading:
            await send_answer(send, HTTPStatus.OK, self._metrics.render(), metrics_module.CONTENT_TYPE)
        else:
            await self._answer_rest(scope, receive, send)

    async def _answer_rest(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path = scope["path"]
        if path == "/-/reload" and scope["method"] == "POST":
            self._access.check_write(scope)
            check_json(scope, await read_body(scope, receive))
            await self._reload(send)
        elif path in {"/-/healthy", "/-/ready", "/metrics", "/-/reload"}:
            allowed = "POST" if path == "/-/reload" else "GET, HEAD"
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} answers {allowed} only", allow=allowed)
        elif path == PAGERDUTY_PATH and self._pagerduty is not None:
            await self._pagerduty.answer(scope, receive, send)
        elif path in STATUS_PATHS and self._status is not None:
            await self._status.answer(scope, send)
        elif path.startswith(("/api/", "/prometheus/")):
            await self._hand_over(scope, receive, send)
        elif path.startswith(_FOREIGN):
            raise Problem(HTTPStatus.NOT_FOUND, f"nothing is at {path}; /api/openapi.json lists what is")
        else:
            await (await self._find_console()).answer(scope, receive, send)

    async def _hand_over(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if self._wire is not None and scope["path"].startswith(WIRE_PATHS):
            await self._wire.answer(scope, receive, send)
            return
        if scope["method"] in _READING:
            self._access.check_read(scope)
        else:
            self._access.check_write(scope)
            if scope["path"].rstrip("/").endswith("/mitigate"):
                self._access.check_named(scope)
            body = await read_body(scope, receive)
            check_json(scope, body)
            check_text(body)
            receive = replay_body(body, receive)
        api = await self._find_api()
        if scope["method"] == "HEAD":  # FastAPI has no routes for it; uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        await api(scope, receive, send)

    async def _find_api(self) -> ASGI3Application:
        async with self._importing:
            if self._api is None:
                self._api = await asyncio.to_thread(self._make_api)
        return self._api

    def _make_api(self) -> ASGI3Application:
        from detector.web.api import make_api  # noqa: PLC0415 - 200 ms and 8 MiB that only /api needs

        api: Any = make_api(self._query, self._desk, self._version, self._access, self._aid)
        return api  # type: ignore[no-any-return]  # starlette and uvicorn each spell ASGI's types their own way

    async def _find_console(self) -> Console:
        async with self._importing:
            if self._console is None:
                self._console = await asyncio.to_thread(self._make_console)
        return self._console

    def _make_console(self) -> Console:
        from detector.web.console.console import Console  # noqa: PLC0415 - a daemon that nobody looks at needs none of it

        return Console(
            query=self._query,
            desk=self._desk,
            pulse=self._pulse,
            aid=self._aid,
            plotter=self._plotter,
            news=self._metrics.news,
            access=self._access,
        )

    async def _say(self, send: ASGISendCallable, fault: str, good: str) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if fault else HTTPStatus.OK
        await send_answer(send, status, f"{fault or good}\n".encode(), "text/plain; charset=utf-8", cache_control="no-store")

    async def _reload(self, send: ASGISendCallable) -> None:
        findings = await self._desk.reload()
        told = [
            {"file": finding.file, "line": finding.line, "column": finding.column, "message": finding.message}
            for finding in findings
        ]
        await send_json(send, HTTPStatus.BAD_REQUEST if told else HTTPStatus.OK, told)
