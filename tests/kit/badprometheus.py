"""A Prometheus that answers wrongly on purpose: every shape of failure that real ones, and the proxies before them, have shown.

Speaks bare HTTP/1.1 over asyncio streams, because a proper server library refuses to send most of this. Every path gets the
same answer, so it stands for /api/v1/query, /api/v1/query_range and any prefix alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.kit.doorway import Doorway

_PIECE = b"x" * 65_536

Answer = Callable[[], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Query:
    """One request as it came; `parameters` from the address and a form body together."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


def whole(body: bytes | str, status: int = 200, *, content_type: str = "application/json", **headers: str) -> Answer:
    """A complete answer; header names are written with underscores."""
    raw = body.encode() if isinstance(body, str) else body

    async def send() -> AsyncGenerator[bytes, None]:
        yield _head(status, content_type, len(raw), headers) + raw

    return send


def success(result: list[Any], result_type: str = "vector", **extra: Any) -> Answer:
    """A healthy answer; `extra` goes to its top level (warnings, infos, isPartial)."""
    data = {"resultType": result_type, "result": result}
    return whole(json.dumps({"status": "success", "data": data} | extra))


def vector(*samples: tuple[dict[str, str], str], at: float = 1000.0, **extra: Any) -> Answer:
    """A vector of (labels, value as Prometheus prints it): "0.5", "NaN", "+Inf"."""
    return success([{"metric": labels, "value": [at, value]} for labels, value in samples], **extra)


def error(status: int = 422, kind: str = "execution", message: str = "query timed out", **headers: str) -> Answer:
    """Status "error" with an HTTP status of its own; 200 is one of the shapes."""
    return whole(json.dumps({"status": "error", "errorType": kind, "error": message}), status, **headers)


def html(status: int = 200) -> Answer:
    """A login page of a proxy."""
    return whole("<!doctype html><title>Sign in</title><p>Sign in to continue", status, content_type="text/html")


def unavailable() -> Answer:
    """503 with a plain word, as a load balancer says it."""
    return whole("Service Unavailable", 503, content_type="text/plain")


def throttled(retry_after_seconds: int = 7200) -> Answer:
    """429 that asks for hours."""
    return whole("too many requests", 429, content_type="text/plain", Retry_After=str(retry_after_seconds))


def cut_json() -> Answer:
    """A whole HTTP answer whose JSON stops in the middle."""
    return whole(b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"service":"chec')


def cut_body() -> Answer:
    """Content-Length promises more than comes before the connection ends."""

    async def send() -> AsyncGenerator[bytes, None]:
        yield _head(200, "application/json", 1000, {}) + b'{"status":"success","data":{'

    return send


def wrong_type() -> Answer:
    """A matrix where a vector was asked for."""
    return success([{"metric": {"service": "checkout"}, "values": [[1000.0, "0.5"]]}], "matrix")


def partial_warning(message: str = "store gateway: partial response, deadline exceeded") -> Answer:
    """Success, nothing found, and a warning that some of the data was not looked at (Thanos, Mimir)."""
    return success([], warnings=[message])


def is_partial() -> Answer:
    """Success, nothing found, and isPartial (VictoriaMetrics)."""
    return success([], isPartial=True)


def silence() -> Answer:
    """Accepts, and never sends a byte."""

    async def send() -> AsyncGenerator[bytes, None]:
        await asyncio.Event().wait()
        yield b""

    return send


def endless_headers() -> Answer:
    """Header lines without end, each of them small."""

    async def send() -> AsyncGenerator[bytes, None]:
        yield b"HTTP/1.1 200 OK\r\n"
        number = 0
        while True:
            number += 1
            yield f"X-Line-{number}: more\r\n".encode()
            await asyncio.sleep(0.001)

    return send


def drip(bytes_per_second: float = 1.0) -> Answer:
    """A valid answer, a byte at a time: no single read is slow."""
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()

    async def send() -> AsyncGenerator[bytes, None]:
        yield _head(200, "application/json", len(body), {})
        for byte in body:
            await asyncio.sleep(1 / bytes_per_second)
            yield bytes([byte])

    return send


def late(answer: Answer, seconds: float) -> Answer:
    """Another answer, after so long."""

    async def send() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(seconds)
        async for piece in answer():
            yield piece

    return send


def huge(size_bytes: int = 200_000_000) -> Answer:
    """A streamed answer that begins well and goes on for so long, made as it is sent."""

    async def send() -> AsyncGenerator[bytes, None]:
        start = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"junk":"'
        yield _head(200, "application/json", size_bytes, {}) + start
        left = size_bytes - len(start)
        while left > 0:
            piece = _PIECE[:left]
            left -= len(piece)
            yield piece

    return send


class BadPrometheus:
    """Serves on a loopback port while entered; `answers` are used up in turn, then `answer` for ever.

    `by_query`: queries that always get an answer of their own. `most_at_once`: by query, how many instant ones were ever under
    way together.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or success([])
        self.by_query: dict[str, Answer] = {}
        self.most_at_once: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self.answers: list[Answer] = []
        self.queries: list[Query] = []
        self.sent_bytes = 0
        self.port = 0
        self._doorway = Doorway(self._serve)

    @property
    def url(self) -> str:
        """Base URL, as DETECTOR_PROMETHEUS_URL wants it."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.port = await self._doorway.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._doorway.end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = ""
        try:
            query = await _read_query(reader)
            self.queries.append(query)
            text = query.parameters.get("query", "") if "time" in query.parameters else query.path
            self._under_way[text] += 1
            self.most_at_once[text] = max(self.most_at_once[text], self._under_way[text])
            answer = self._choose(query.parameters.get("query", ""))
            async with contextlib.aclosing(answer()) as pieces:
                async for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    self.sent_bytes += len(piece)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller gave up, which is what most of these answers are for
        finally:
            self._under_way[text] -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _choose(self, query: str) -> Answer:
        if query in self.by_query:
            return self.by_query[query]
        return self.answers.pop(0) if self.answers else self.answer


def _head(status: int, content_type: str, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode()


async def _read_query(reader: asyncio.StreamReader) -> Query:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
    address = urlsplit(target)
    form = body if "form-urlencoded" in headers.get("content-type", "") else ""
    given = {**parse_qs(address.query), **parse_qs(form)}
    return Query(method, address.path, {name: values[-1] for name, values in given.items()}, headers)
