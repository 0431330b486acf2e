"""The public status page: GET /status, /status.json, /status.atom, made once a second at the most however many ask.

Before it: any number of customers, through `site` or the page's own listener. After it: the publisher gathers what is public.
What was made last is served while the next is made. Nobody needs a token: what stands here is public (`domain.publication`). No
more than a bounded number of answers a second leave, so that a crowd costs no page.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from detector.transport.bucket import TokenBucket
from detector.web.bulletin import POLICY, write_atom, write_html, write_json
from detector.web.exchange import Problem, find_header, send_answer, send_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

    from detector.domain.publication import Publication
    from detector.ports.clock import Clock
    from detector.ports.publication import Publisher
    from detector.ports.query import Pulse

PATHS = {"/status": "html", "/status.json": "json", "/status.atom": "atom"}
FRESH_SECONDS = 1.0
PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS = 3.0, 0.3
ANSWERS_PER_MINUTE, ANSWERS_AT_ONCE = 30_000.0, 1_000
_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json", "atom": "application/atom+xml; charset=utf-8"}
_WRITERS = {"html": write_html, "json": write_json, "atom": write_atom}
_READING = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Copy:
    """One form of the page, as it leaves."""

    body: bytes
    packed: bytes
    tag: str


class StatusPage:
    """Answers for the paths of PATHS."""

    def __init__(self, publisher: Publisher, pulse: Pulse, clock: Clock) -> None:
        self._publisher = publisher
        self._pulse = pulse
        self._clock = clock
        self._bucket = TokenBucket(ANSWERS_PER_MINUTE, ANSWERS_AT_ONCE)
        self._copies: Mapping[str, Copy] = {}
        self._published: tuple[Publication, int] | None = None
        self._looked = float("-inf")
        self._making: asyncio.Task[None] | None = None

    async def answer(self, scope: HTTPScope, send: ASGISendCallable) -> None:
        """Answer one request for one of PATHS; raises Problem."""
        if scope["method"] not in _READING:
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{scope['path']} answers GET, HEAD only", allow="GET, HEAD")
        if self._bucket.take(self._clock.monotonic()) > 0:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many ask at this moment; try again in a second", retry_after="1")
        form = PATHS[scope["path"]]
        copy = (await self._current())[form]
        headers = {
            "etag": copy.tag,
            "cache_control": "public, max-age=5, stale-if-error=600",
            "content_security_policy": POLICY,
            "referrer_policy": "no-referrer",
            "access_control_allow_origin": "*",
            "vary": "accept-encoding",
        }
        if copy.tag in (find_header(scope, b"if-none-match") or ""):
            await send_answer(send, HTTPStatus.NOT_MODIFIED, b"", _TYPES[form], **headers)
        elif "gzip" in (find_header(scope, b"accept-encoding") or ""):
            await send_answer(send, HTTPStatus.OK, copy.packed, _TYPES[form], content_encoding="gzip", **headers)
        else:
            await send_answer(send, HTTPStatus.OK, copy.body, _TYPES[form], **headers)

    async def _current(self) -> Mapping[str, Copy]:
        """The copies, made anew where they are old. 503 before the daemon knows anything at all."""
        if self._making is None and self._clock.monotonic() - self._looked >= FRESH_SECONDS:
            self._looked = self._clock.monotonic()
            self._making = asyncio.create_task(self._make(), name="status page")
        if (making := self._making) is not None:
            await asyncio.wait((making,), timeout=SHORT_PATIENCE_SECONDS if self._copies else PATIENCE_SECONDS)
        if not self._copies or self._pulse.unreadiness():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the status is not known at this moment; try again", retry_after="5")
        return self._copies

    async def _make(self) -> None:
        try:
            now = self._clock.now()
            told = await self._publisher.publish()
            minute = int(now // 60)
            if self._published != (told, minute):
                self._copies = {form: _pack(write(told, now)) for form, write in _WRITERS.items()}
                self._published = (told, minute)
        finally:
            self._making = None


class StatusSite:
    """The application of the page's own listener: / and the paths of PATHS, and nothing else of the daemon."""

    def __init__(self, page: StatusPage) -> None:
        self._page = page

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request."""
        del receive  # nothing here has a body
        if scope["type"] != "http":
            return
        path = "/status" if scope["path"] == "/" else scope["path"]
        if path not in PATHS:
            await send_problem(send, Problem(HTTPStatus.NOT_FOUND, "nothing is here; the status is at /status"))
            return
        try:
            await self._page.answer({**scope, "path": path}, send)
        except Problem as problem:
            await send_problem(send, problem)


def _pack(text: str) -> Copy:
    body = text.encode()
    return Copy(body, gzip.compress(body, 6, mtime=0), f'W/"{hashlib.sha256(body).hexdigest()[:32]}"')
