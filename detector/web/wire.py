"""The wire formats of others, so that their tools work here: Alertmanager's API v2 under /api/v2, Prometheus's under /prometheus.

Before it: `site`. The shapes stand in `alertmanager` and `prometheus`; here are access, bodies, and refusals as those tools read
them: Alertmanager's clients want a JSON string, Prometheus's an object with `error`.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from detector.domain.response import ResponseError
from detector.domain.silence import SilenceError, UnknownMuteError
from detector.ports.error import OutsideError
from detector.web import prometheus
from detector.web.access import check_json
from detector.web.alertmanager import Alertmanager, Call
from detector.web.exchange import Problem, check_text, read_body, send_json

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from detector.ports.query import Desk, Query
    from detector.ports.wire import Exhibit, Inbox
    from detector.web.access import Access

PATHS = ("/api/v2/", "/prometheus/")
MAX_BODY_BYTES = 4 * 1024 * 1024  # Prometheus sends 64 alerts at once, each with annotations as long as somebody wrote them
BODY_SECONDS = 10.0
BODIES = 4  # held at once
_READING = {"GET", "HEAD"}


class Wire:
    """Answers below `PATHS`."""

    def __init__(self, query: Query, desk: Desk, inbox: Inbox, exhibit: Exhibit, access: Access, version: str) -> None:
        self._alertmanager = Alertmanager(query, desk, inbox, exhibit, version)
        self._exhibit = exhibit
        self._access = access
        self._bodies = asyncio.Semaphore(BODIES)

    async def answer(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One request."""
        is_prometheus = scope["path"].startswith("/prometheus/")
        headers: dict[str, str] = {}
        try:
            status, content = await self._choose(scope, receive, is_prometheus=is_prometheus)
        except Problem as problem:  # in the type that they read: of problem+json amtool says only that it cannot
            told = {"status": "error", "errorType": "bad_data", "error": problem.detail} if is_prometheus else problem.detail
            status, content, headers = problem.status, told, problem.headers
        await send_json(send, status, content, **headers)

    async def _choose(self, scope: HTTPScope, receive: ASGIReceiveCallable, *, is_prometheus: bool) -> tuple[int, object]:
        method = scope["method"]
        parameters = _read_parameters(scope)
        if is_prometheus:
            self._access.check_read(scope)
            if method not in _READING:
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{scope['path']} answers GET, HEAD only", allow="GET, HEAD")
            return HTTPStatus.OK, prometheus.answer(scope["path"], parameters, self._exhibit)
        if method in _READING:
            self._access.check_read(scope)
            return await self._ask(Call("GET", scope["path"], parameters))
        self._access.check_write(scope)
        async with self._bodies:
            body = await read_body(scope, receive, max_bytes=MAX_BODY_BYTES, seconds=BODY_SECONDS)
            check_json(scope, body)
            check_text(body)
            return await self._ask(Call(method, scope["path"], parameters, _parse(body)))

    async def _ask(self, call: Call) -> tuple[int, object]:
        try:
            return await self._alertmanager.answer(call)
        except SilenceError as fault:
            raise Problem(HTTPStatus.BAD_REQUEST, str(fault)) from None
        except UnknownMuteError as fault:
            raise Problem(HTTPStatus.NOT_FOUND, str(fault)) from None
        except ResponseError as fault:
            # to what is posted Alertmanager answers 400; of a status that its description lacks amtool shows no words
            status = HTTPStatus.BAD_REQUEST if call.method == "POST" else HTTPStatus.CONFLICT
            raise Problem(status, str(fault)) from None
        except OutsideError as fault:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(fault)) from None


def _read_parameters(scope: HTTPScope) -> dict[str, list[str]]:
    try:
        given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "at most 100 query parameters") from None
    return {unquote(name): values for name, values in given.items()}


def _parse(body: bytes) -> object:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
