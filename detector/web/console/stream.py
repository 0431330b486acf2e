"""Tells open pages that something changed, by server-sent events; a page then fetches itself again.

Before it: `news`, which the observer rings. A stream ends before a request's time does, and the browser comes back by itself: a
listener that hangs costs no more than that.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from detector.web.exchange import Problem

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable

    from detector.web.news import News

MAX_LISTENERS = 32
STREAM_SECONDS = 25.0
LOOK_SECONDS = 0.5
VALUES_SECONDS = 5.0
RETRY_MILLISECONDS = 1000


class Stream:
    """Answers for /console/events; `close` ends all streams."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._listeners = 0
        self._closed = False

    def close(self) -> None:
        """The daemon stops."""
        self._closed = True

    async def answer(self, seen: str, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Events until the stream's time is over; `seen`: the revision that the page shows. Problem 503 with too many listeners."""
        if self._listeners >= MAX_LISTENERS or self._closed:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages listen; this one looks by itself", retry_after="15")
        self._listeners += 1
        gone = asyncio.create_task(_wait_gone(receive))
        try:
            await self._send(seen, gone, send)
        finally:
            self._listeners -= 1
            gone.cancel()

    async def _send(self, seen: str, gone: asyncio.Task[None], send: ASGISendCallable) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
        await _write(send, f"retry: {RETRY_MILLISECONDS}\n\n")
        loop = asyncio.get_running_loop()
        end = loop.time() + STREAM_SECONDS
        told, last = seen, loop.time()
        while loop.time() < end and not gone.done() and not self._closed:
            now, revision = loop.time(), str(self._news.revision)
            if revision != told or now - last >= VALUES_SECONDS:
                kind = "change" if revision != told else "values"
                await _write(send, f"id: {revision}\nevent: {kind}\ndata: {revision}\n\n")
                told, last = revision, now
            await asyncio.wait((gone,), timeout=LOOK_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: ASGISendCallable, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_gone(receive: ASGIReceiveCallable) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
