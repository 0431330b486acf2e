"""Alertmanager's and Prometheus's wire formats on a real uvicorn: access, bounds, hostile bodies, refusals as clients read them."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from detector.domain.label import make_labels
from detector.ports.error import TemporaryError
from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.server import WebServer
from detector.web.site import Site
from detector.web.wire import MAX_BODY_BYTES, Wire
from tests.kit.box import Box
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


READ, WRITE = "read-token-1234", "write-token-1234"


class Client:
    """Asks the server; the status, and the JSON of the answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """`body`: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self._ask, method, path, content, fields)

    def _ask(self, method: str, path: str, content: bytes | None, fields: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(method, path, content, fields)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def box() -> Box:
    """Where alerts arrive."""
    return Box()


@pytest.fixture(params=[Access()])
async def client(box: Box, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client of a server with the wire formats."""
    daemon, access = MemoryDaemon(), request.param
    wire = Wire(daemon, daemon, box, box, access, "1")
    server = WebServer(
        Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=access, version="1", wire=wire), "127.0.0.1", 0
    )
    server.bind()
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started, "the server started")
    yield Client(server.port)
    server.stop()
    await task


async def test_alerts_are_read_as_prometheus_sends_them(client: Client, box: Box) -> None:
    """Labels, annotations, times to the nanosecond, Go's zero time as none; empty labels go; a body over 64 KiB is taken."""
    alert = {
        "labels": {"alertname": "A", "service": "db", "empty": ""},
        "annotations": {"summary": "x" * 3000},
        "startsAt": "2026-11-23T08:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00.000Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
    }
    status, _ = await client.ask("POST", "/api/v2/alerts", [alert] * 64)
    assert (status, len(box.alerts_received)) == (200, 64)
    first = box.alerts_received[0]
    assert first.labels == make_labels({"alertname": "A", "service": "db"})
    assert first.starts == pytest.approx(1795420800.123)
    assert (first.ends, first.rule) == (None, "received/A")
    assert first.generator.endswith("expr=up")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "send a list of alerts"),
        ([1], "alert 1: it is no object"),
        ([{"labels": {}}], "alert 1: it has no label"),
        ([{"labels": {"a": 1}}], "alert 1: labels are names with texts"),
        ([{"labels": {"a": "b"}}, {"labels": {"a": "x" * 3000}}], "alert 2: a name or value in labels has over 2048 characters"),
        ([{"labels": {f"l{n}": "x" for n in range(65)}}], "alert 1: at most 64 labels, these are 65"),
        ([{"labels": {"a": "b"}, "endsAt": "soon"}], "alert 1: endsAt: 'soon' is no moment"),
        (
            [{"labels": {"a": "b"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}],
            "alert 1: endsAt lies before startsAt",
        ),
        ([{"labels": {"a": "b"}, "generatorURL": 7}], "alert 1: generatorURL is no text"),
        (b'[{"labels": {"a": "half a character: \\ud800"}}]', "the body is not Unicode"),
        (b'[{"labels": {"a": "\xed\xa0\x80"}}]', "the body is not Unicode"),
    ],
)
async def test_a_wrong_alert_is_refused_whole(client: Client, box: Box, body: Any, detail: str) -> None:
    """400 with a JSON string, which is what Alertmanager's clients read; nothing of the request is taken."""
    status, told = await client.ask("POST", "/api/v2/alerts", body)
    assert (status, told[: len(detail)]) == (400, detail)
    assert box.alerts_received == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (7, "silence: it is no object"),
        ({"matchers": []}, "silence: endsAt is missing"),
        ({"endsAt": "2026-01-01T00:00:00Z"}, "silence: matchers are missing"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}], "endsAt": "2026-01-01T00:00:00Z"}, "matchers: '(' is not"),
        ({"matchers": [{"name": "a b", "value": "c"}], "endsAt": "2026-01-01T00:00:00Z"}, "matchers: "),
        ({"matchers": [{"name": "a", "value": "b"}], "endsAt": "2026-01-01T00:00:00Z", "comment": "c"}, "author is missing"),
    ],
)
async def test_a_wrong_silence_is_refused(client: Client, body: Any, detail: str) -> None:
    """400 with a JSON string that says what would be right."""
    status, told = await client.ask("POST", "/api/v2/silences", body)
    assert (status, told[: len(detail)]) == (400, detail)


async def test_hostile_requests_are_answered(client: Client, box: Box) -> None:
    """No JSON, nesting without end, too much, wrong type, method or path, a bad filter: each its own refusal, and no 500."""
    path = "/api/v2/alerts"
    assert (await client.ask("POST", path, b"{"))[0] == 400
    assert (await client.ask("POST", path, b"[" * 200_000))[0] == 400
    assert (await client.ask("POST", path, b"[]", Content_Type="text/plain"))[0] == 415
    try:
        status, _ = await client.ask("POST", path, b" " * (MAX_BODY_BYTES + 1))
    except ConnectionError:  # cut while it was still writing
        status = 413
    assert status == 413
    assert (await client.ask("PUT", path, []))[0] == 405
    assert (await client.ask("GET", "/api/v2/nothing"))[0] == 404
    assert (await client.ask("GET", f"{path}?filter={quote('a b c')}"))[0] == 400
    assert (await client.ask("GET", "/api/v2/silence/unknown"))[0] == 404
    assert (await client.ask("POST", "/prometheus/api/v1/rules"))[0] == 405
    box.fault = TemporaryError("starting", attempted=False)
    assert await client.ask("POST", path, [{"labels": {"a": "b"}}]) == (503, "starting")


@pytest.mark.parametrize("client", [Access(READ, WRITE)], indirect=True)
async def test_tokens_are_asked_for(client: Client, box: Box) -> None:
    """Reading needs the read token and writing the write token, as everywhere."""
    read, write = f"Bearer {READ}", f"Bearer {WRITE}"
    for path in ("/api/v2/alerts", "/api/v2/silences", "/prometheus/api/v1/rules"):
        status, told = await client.ask("GET", path)
        words = told["error"] if path.startswith("/prometheus/") else told
        assert status == 401
        assert "token" in words, "in the shape that the tool reads"
        assert (await client.ask("GET", path, Authorization=read))[0] == 200
    alerts = [{"labels": {"a": "b"}}]
    assert (await client.ask("POST", "/api/v2/alerts", alerts))[0] == 401
    assert (await client.ask("POST", "/api/v2/alerts", alerts, Authorization=read))[0] == 403
    assert (await client.ask("POST", "/api/v2/alerts", alerts, Authorization=write))[0] == 200
    assert len(box.alerts_received) == 1
    assert (await client.ask("DELETE", "/api/v2/silence/x"))[0] == 401
