"""The scripted Prometheus sends the failures it promises, seen with a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from tests.kit import badprometheus as bad
from tests.kit.wait import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("answer", "status", "holds"),
    [
        (bad.error(200), 200, '"status": "error"'),
        (bad.error(422), 422, '"errorType": "execution"'),
        (bad.html(), 200, "<!doctype html>"),
        (bad.unavailable(), 503, "Unavailable"),
        (bad.cut_json(), 200, '"service":"chec'),
        (bad.wrong_type(), 200, '"resultType": "matrix"'),
        (bad.partial_warning(), 200, "partial response"),
        (bad.is_partial(), 200, '"isPartial": true'),
        (bad.vector(({"service": "checkout"}, "NaN"), ({}, "+Inf"), ({}, "-Inf")), 200, '"-Inf"'),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/query", "/prefix/api/v1/query_range"])
async def test_whole_answers(answer: bad.Answer, status: int, holds: str, path: str) -> None:
    """Each shape that is a whole HTTP answer arrives with its status and its telling words, on any path."""
    async with (
        bad.BadPrometheus(answer) as server,
        aiohttp.ClientSession(server.url) as session,
        session.post(path, data={"query": "up"}, params={"time": "1"}) as got,
    ):
        text = await got.text()
    assert (got.status, holds in text) == (status, True), text
    assert (server.queries[0].path, server.queries[0].parameters) == (path, {"query": "up", "time": "1"})


async def test_warnings_and_is_partial_come_with_an_empty_success() -> None:
    """Both shapes of a partial answer look healthy but for one key."""
    async with bad.BadPrometheus() as server, aiohttp.ClientSession(server.url) as session:
        server.answers = [bad.partial_warning("store down"), bad.is_partial()]
        warned, partial = [await (await session.get("/api/v1/query")).json() for _ in range(2)]
        healthy = await (await session.get("/api/v1/query")).json()
    assert (warned.pop("warnings"), partial.pop("isPartial")) == (["store down"], True)
    assert warned == partial == healthy == {"status": "success", "data": {"resultType": "vector", "result": []}}


async def test_throttled_asks_for_hours() -> None:
    """429 with Retry-After: 7200."""
    async with bad.BadPrometheus(bad.throttled()) as server, aiohttp.ClientSession() as session, session.get(server.url) as got:
        assert (got.status, got.headers["Retry-After"]) == (429, "7200")


async def test_cut_body_is_shorter_than_promised() -> None:
    """The connection ends before Content-Length is reached, which a client sees as an error and not as an end."""
    async with bad.BadPrometheus(bad.cut_body()) as server, aiohttp.ClientSession() as session, session.get(server.url) as got:
        with pytest.raises(aiohttp.ClientPayloadError):
            await got.read()


async def test_cut_json_is_not_json() -> None:
    """The HTTP answer is whole, its JSON is not."""
    async with bad.BadPrometheus(bad.cut_json()) as server, aiohttp.ClientSession() as session, session.get(server.url) as got:
        with pytest.raises(json.JSONDecodeError):
            json.loads(await got.read())


async def test_endless_headers_never_reach_the_body() -> None:
    """Header lines keep coming: after many of them there is still no empty line."""
    async with bad.BadPrometheus(bad.endless_headers()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = [await reader.readline() for _ in range(50)]
        writer.close()
    assert lines[0] == b"HTTP/1.1 200 OK\r\n"
    assert b"\r\n" not in lines


async def test_drip_sends_byte_by_byte() -> None:
    """At 50 bytes a second the first ten bytes of the body take at least 0.15 s, each in time for a read timeout."""
    async with bad.BadPrometheus(bad.drip(50.0)) as server, aiohttp.ClientSession() as session, session.get(server.url) as got:
        started = time.monotonic()
        first = [await got.content.readexactly(1) for _ in range(10)]
    assert b"".join(first) == b'{"status":'
    assert time.monotonic() - started >= 0.15


async def test_silence_is_silent() -> None:
    """The request is read and nothing is answered."""
    async with bad.BadPrometheus(bad.silence()) as server, aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.get(server.url, timeout=aiohttp.ClientTimeout(total=1.0))
    assert len(server.queries) == 1


async def test_huge_answer_streams_and_stops_with_its_reader() -> None:
    """It announces 200 MB; whoever hangs up after one does not make it send the rest."""
    async with bad.BadPrometheus(bad.huge()) as server, aiohttp.ClientSession() as session:
        async with session.get(server.url) as got:
            assert got.content_length == 200_000_000
            first = await got.content.readexactly(1_000_000)
            got.close()
        assert first.startswith(b'{"status":"success"')
    assert server.sent_bytes < 100_000_000
