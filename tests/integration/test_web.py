"""The HTTP side on a real uvicorn: endpoints, tokens, bounds against hostile senders, the end."""

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from detector.ports.query import Action
from detector.ports.rulefile import Finding
from detector.ports.store import IncidentFilter, IncidentPage
from detector.web import exchange, site
from detector.web.access import LOCAL_HOSTS, Access
from detector.web.metrics import Metrics
from detector.web.protocol import BoundedProtocol
from detector.web.server import BindError, WebServer
from detector.web.site import Site
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.secret import assert_no_secret
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until

READ, WRITE = "read-token-1234", "write-token-1234"


Answer: TypeAlias = tuple[int, dict[str, str], bytes]
Ask: TypeAlias = Callable[..., Awaitable[Answer]]


async def _exchange(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | ({"Content-Length": str(len(body))} if body else {})
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(head.encode() + b"\r\n" + body)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    first, *rest = top.decode().split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return int(first.split()[1]) if first else 0, found, content


@pytest.fixture
def daemon() -> MemoryDaemon:
    """A daemon that is well and knows three incidents."""
    return MemoryDaemon()


@pytest.fixture
async def start(daemon: MemoryDaemon) -> AsyncIterator[Callable[[Access], Awaitable[Ask]]]:
    """Start a server with the given access; gives a function that asks it."""
    running: list[tuple[WebServer, asyncio.Task[None]]] = []

    async def run(access: Access) -> Ask:
        made = Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=access, version="1")
        server = WebServer(made, "127.0.0.1", 0)
        server.bind()
        running.append((server, asyncio.create_task(server.serve())))
        await wait_until(lambda: server.started, "the server started")

        async def ask(method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
            return await _exchange(server.port, method, path, body, **headers)

        ask.port = server.port  # type: ignore[attr-defined]  # for tests with sockets of their own
        return ask

    yield run
    for server, task in running:
        server.stop()
        await task


@pytest.fixture
async def ask(start: Callable[[Access], Awaitable[Ask]]) -> Ask:
    """A server without tokens."""
    return await start(Access())


def _port(ask: Ask) -> int:
    port: int = ask.port  # type: ignore[attr-defined]  # set by the fixture
    return port


def _problem(answer: Answer) -> tuple[int, str]:
    status, headers, content = answer
    assert headers["content-type"] == "application/problem+json"
    told = json.loads(content)
    assert told["status"] == status
    assert set(told) == {"type", "title", "status", "detail"}
    return status, told["detail"]


async def test_health_and_readiness(ask: Ask, daemon: MemoryDaemon) -> None:
    """Both answer 200 while all is well, and 503 with the reason when not, each on its own."""
    assert (await ask("GET", "/-/healthy"))[::2] == (200, b"healthy\n")
    assert (await ask("GET", "/-/ready"))[::2] == (200, b"ready\n")
    daemon.sick = "no tick for 40 s"
    assert (await ask("GET", "/-/healthy"))[::2] == (503, b"no tick for 40 s\n")
    assert (await ask("GET", "/-/ready"))[0] == 200
    daemon.unready = "the store is not open"
    assert (await ask("GET", "/-/ready"))[::2] == (503, b"the store is not open\n")
    assert (await ask("HEAD", "/-/healthy"))[::2] == (503, b"")


async def test_metrics_are_served_and_nothing_tells_what_serves_them(ask: Ask) -> None:
    """Metrics come in the exposition format; no header names the server's software."""
    status, headers, content = await ask("GET", "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert b"detector_build_info" in content
    assert "server" not in headers


async def test_reload_answers_with_the_findings_of_check(ask: Ask, daemon: MemoryDaemon) -> None:
    """A good reload is 200; one with findings is 400 with file, line, column and message."""
    assert (await ask("POST", "/-/reload"))[::2] == (200, b"[]")
    daemon.findings = [Finding("a.yaml", 3, 5, "unknown key")]
    status, _, content = await ask("POST", "/-/reload")
    assert (status, json.loads(content)) == (400, [{"file": "a.yaml", "line": 3, "column": 5, "message": "unknown key"}])
    assert _problem(await ask("GET", "/-/reload")) == (405, "/-/reload answers POST only")


async def test_incidents_are_a_bare_array_by_page(ask: Ask, daemon: MemoryDaemon) -> None:
    """The list is an array with live values; Link leads to the next page with the same filter, and ends."""
    status, headers, content = await ask("GET", "/api/v1/incidents?status=open&limit=2")
    assert status == 200
    first = json.loads(content)
    assert [one["id"] for one in first] == ["incident-00003", "incident-00002"]
    assert first[0]["value"] == 0.42
    assert headers["link"] == '</api/v1/incidents?status=open&limit=2&cursor=2>; rel="next"'
    _, headers, content = await ask("GET", headers["link"].split(">")[0][1:])
    assert [one["id"] for one in json.loads(content)] == ["incident-00001"]
    assert "link" not in headers
    await ask("GET", "/api/v1/incidents?status=open&status=closed&severity=high&service=checkout")
    assert daemon.asked[-1] == IncidentFilter(("open", "closed"), ("high",), "checkout", 100, None)


async def test_one_incident_has_its_timeline(ask: Ask) -> None:
    """The detail carries the timeline, which also stands alone; an unknown id is 404."""
    _, _, content = await ask("GET", "/api/v1/incidents/incident-00001")
    found = json.loads(content)
    line = {"at": 1010.0, "actor": "detector", "kind": "opened", "message": "error_rate 0.2 > 0.01"}
    assert (found["id"], found["timeline"]) == ("incident-00001", [line])
    assert json.loads((await ask("GET", "/api/v1/incidents/incident-00001/timeline"))[2]) == [line]
    assert _problem(await ask("GET", "/api/v1/incidents/nope")) == (404, "no incident nope")
    assert _problem(await ask("GET", "/api/v1/incidents/nope/timeline")) == (404, "no incident nope")


async def test_alerts_and_rules(ask: Ask) -> None:
    """Alerts can be filtered and paged; a rule tells its health and the state of its furthest alert."""
    _, headers, content = await ask("GET", "/api/v1/alerts?state=pending&limit=1")
    assert [one["service"] for one in json.loads(content)] == ["s1"]
    assert headers["link"] == '</api/v1/alerts?state=pending&limit=1&cursor=1>; rel="next"'
    _, headers, content = await ask("GET", "/api/v1/alerts?state=pending&limit=1&cursor=1")
    assert [one["service"] for one in json.loads(content)] == ["s2"]
    assert "link" not in headers
    (rule,) = json.loads((await ask("GET", "/api/v1/rules"))[2])
    assert (rule["name"], rule["health"], rule["state"], rule["every"], rule["last_error"]) == ("r", "ok", "firing", 5.0, "")


async def test_openapi_describes_every_endpoint_of_the_api(ask: Ask) -> None:
    """The document lists the paths and the fields of an incident; there is no page that loads scripts from elsewhere."""
    document = json.loads((await ask("GET", "/api/openapi.json"))[2])
    one = "/api/v1/incidents/{incident}"
    paths = {"/api/v1/incidents", one, f"{one}/timeline", "/api/v1/alerts", "/api/v1/rules"}
    silences = "/api/v1/silences"
    paths |= {silences, f"{silences}/{{identity}}", f"{silences}/{{identity}}/expire"}
    paths |= {f"{one}/update", f"{one}/tick", "/api/v1/deploys"}
    assert set(document["paths"]) == paths | {f"{one}/{action.value}" for action in Action}
    described = document["components"]["schemas"]["IncidentModel"]["properties"]
    shown = json.loads((await ask("GET", "/api/v1/incidents"))[2])[0]
    assert set(described) == set(shown)
    assert (await ask("GET", "/docs"))[0] == 404


@pytest.mark.parametrize("action", list(Action))
async def test_a_human_acts(ask: Ask, daemon: MemoryDaemon, action: Action) -> None:
    """Each action reaches the daemon with name and words; one that does not fit is 409."""
    body = json.dumps({"by": "ann", "text": "on it"}).encode()
    answer = await ask("POST", f"/api/v1/incidents/incident-00001/{action.value}", body, Content_Type="application/json")
    assert daemon.acts == [("incident-00001", action, "ann", "on it")]
    if action is Action.RESOLVE:
        assert _problem(answer) == (409, "incident incident-00001 is already resolved")
    else:
        assert (answer[0], json.loads(answer[2])["acknowledged_by"]) == (200, "ann")


async def test_an_update_and_a_tick_reach_the_daemon(ask: Ask, daemon: MemoryDaemon) -> None:
    """Words, ETA and state of an update, and the item that a human has seen; an update that says nothing is 409."""
    one, json_type = "/api/v1/incidents/incident-00001", {"Content_Type": "application/json"}
    news = json.dumps({"by": "ann", "message": "rolling back", "eta": "10m", "state": "identified"}).encode()
    status, _, content = await ask("POST", f"{one}/update", news, **json_type)
    assert (status, json.loads(content)["eta"], json.loads(content)["state"]) == (200, "10m", "identified")
    assert daemon.news == [("incident-00001", "ann", "rolling back", "10m", "identified")]
    told = _problem(await ask("POST", f"{one}/update", b'{"by": "ann"}', **json_type))
    assert told == (409, "an update needs a message, an ETA or a state")
    assert _problem(await ask("POST", f"{one}/update", b'{"by": "ann", "state": "panic"}', **json_type))[0] == 422
    assert (await ask("POST", f"{one}/tick", b'{"by": "ann", "item": "support channel quiet"}', **json_type))[0] == 200
    assert daemon.ticks == [("incident-00001", "ann", "support channel quiet")]
    assert _problem(await ask("POST", "/api/v1/incidents/nope/tick", b'{"by": "a", "item": "b"}', **json_type))[0] == 404


FAULTS: dict[str, tuple[str, str, bytes, int, str]] = {
    "status": ("GET", "/api/v1/incidents?status=bad", b"", 422, "status.0: Input should be"),
    "limit": ("GET", "/api/v1/incidents?limit=0", b"", 422, "limit: Input should be greater than or equal to 1"),
    "cursor": ("GET", "/api/v1/incidents?cursor=x", b"", 400, "cursor is not one that this daemon gave"),
    "path": ("GET", "/api/v1/nothing", b"", 404, "nothing is there"),
    "root": ("GET", "/nothing", b"", 404, "nothing is at /nothing"),
    "method": ("PUT", "/api/v1/rules", b"{}", 405, "/api/v1/rules answers GET, HEAD only"),
    "no name": ("POST", "/api/v1/incidents/incident-00001/acknowledge", b"{}", 422, "by: Field required"),
    "empty note": ("POST", "/api/v1/incidents/incident-00001/note", b'{"by":"a","text":""}', 422, "text: String should have"),
    "not JSON": ("POST", "/api/v1/incidents/incident-00001/note", b"{", 422, "JSON decode error"),
    "not Unicode": (
        "POST",
        "/api/v1/silences",
        b'{"matchers": ["a=b"], "reason": "x", "by": "\\ud800"}',
        400,
        "the body is not Unicode: send JSON in UTF-8",
    ),
    "name not Unicode": ("POST", "/api/v1/deploys", b'{"\\ud800": 1}', 400, "the body is not Unicode: send JSON in UTF-8"),
    "truth for a number": ("POST", "/api/v1/deploys", b'{"service":"a","version":"1","at":true}', 422, "at: Input should be"),
    "no such": ("POST", "/api/v1/incidents/nope/note", b'{"by":"a","text":"b"}', 404, "no incident nope"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "detail"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_wrong_request_is_a_problem(ask: Ask, method: str, path: str, body: bytes, status: int, detail: str) -> None:
    """Every refusal is problem+json with one line."""
    headers = {"Content_Type": "application/json"} if body else {}
    told = _problem(await ask(method, path, body, **headers))
    assert told[0] == status
    assert detail in told[1]
    assert "\n" not in told[1]


async def test_a_store_that_does_not_answer_is_503(ask: Ask, daemon: MemoryDaemon) -> None:
    """A locked database is told as such, with when to try again."""
    daemon.down = True
    answer = await ask("GET", "/api/v1/incidents")
    assert _problem(answer) == (503, "the store does not answer: database is locked; try again")
    assert answer[1]["retry-after"] == "5"


async def test_a_fault_of_ours_is_a_problem_too(ask: Ask, daemon: MemoryDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not foreseen is 500 in the same form as every refusal, and tells nothing of the inside."""

    async def break_down(wanted: IncidentFilter) -> IncidentPage:
        raise RuntimeError(f"inside: {wanted}")

    monkeypatch.setattr(daemon, "list_incidents", break_down)
    assert _problem(await ask("GET", "/api/v1/incidents")) == (500, "this is a fault of ours; the log has it")


async def test_a_refused_method_names_all_that_are_allowed(ask: Ask) -> None:
    """405 lists the methods of every route of that path."""
    answer = await ask("PUT", "/api/v1/deploys", b"{}", Content_Type="application/json")
    assert _problem(answer) == (405, "/api/v1/deploys answers GET, HEAD, POST only")
    assert answer[1]["allow"] == "GET, HEAD, POST"


async def test_head_is_get_without_a_body(start: Callable[[Access], Awaitable[Ask]]) -> None:
    """RFC 9110: status, headers and refusals of the GET, its length too, and nothing else; where only POST is, 405 says so."""
    ask, bearing = await start(Access(READ, WRITE)), {"Authorization": f"Bearer {READ}"}
    for path in ("/api/v1/incidents?limit=1", "/api/v1/incidents/incident-00001", "/api/v1/incidents/nothing", "/api/openapi.json"):
        got, head = [await ask(method, path, **bearing) for method in ("GET", "HEAD")]
        assert (head[0], head[2]) == (got[0], b"")
        same = "content-type", "content-length", "link"
        assert [head[1].get(name) for name in same] == [got[1].get(name) for name in same]
    assert (await ask("HEAD", "/api/v1/incidents"))[0] == 401
    assert (await ask("HEAD", "/api/v1/incidents/incident-00001/note", **bearing))[1]["allow"] == "POST"


async def test_tokens(start: Callable[[Access], Awaitable[Ask]], daemon: MemoryDaemon) -> None:
    """With tokens: reading needs one of them, writing the write token; probes and metrics stay open; no answer holds a token."""
    ask = await start(Access(READ, WRITE))
    bearing = {name: {"Authorization": f"Bearer {token}"} for name, token in (("read", READ), ("write", WRITE), ("bad", "x" * 15))}
    path, act = "/api/v1/incidents", "/api/v1/incidents/incident-00001/acknowledge"
    body = b'{"by": "ann"}'
    json_type = {"Content_Type": "application/json"}
    answers = {
        "read nothing": await ask("GET", path),
        "read bad": await ask("GET", path, **bearing["bad"]),
        "read read": await ask("GET", path, **bearing["read"]),
        "read write": await ask("GET", path, **bearing["write"]),
        "write nothing": await ask("POST", act, body, **json_type),
        "write bad": await ask("POST", act, body, **json_type, **bearing["bad"]),
        "write read": await ask("POST", act, body, **json_type, **bearing["read"]),
        "write write": await ask("POST", act, body, **json_type, **bearing["write"]),
        "reload nothing": await ask("POST", "/-/reload"),
        "reload write": await ask("POST", "/-/reload", **bearing["write"]),
        "metrics": await ask("GET", "/metrics"),
        "healthy": await ask("GET", "/-/healthy"),
    }
    assert {name: answer[0] for name, answer in answers.items()} == {
        "read nothing": 401,
        "read bad": 401,
        "read read": 200,
        "read write": 200,
        "write nothing": 401,
        "write bad": 401,
        "write read": 403,
        "write write": 200,
        "reload nothing": 401,
        "reload write": 200,
        "metrics": 200,
        "healthy": 200,
    }
    assert answers["read nothing"][1]["www-authenticate"] == "Bearer"
    assert len(daemon.acts) == 1
    assert_no_secret([READ, WRITE], *(answer[2] for answer in answers.values()), repr(Access(READ, WRITE)))


PAGES = {
    "rebound name": ({"Host": "evil.example:9911"}, 403, "needs a Host that names this machine"),
    "another origin": ({"Origin": "http://evil.example"}, 403, "another origin"),
    "null origin": ({"Origin": "null"}, 403, "another origin"),
    "another port": ({"Origin": "http://127.0.0.1:1"}, 403, "another origin"),
    "cross-site": ({"Sec_Fetch_Site": "cross-site"}, 403, "another site"),
    "form": ({"Content_Type": "application/x-www-form-urlencoded"}, 415, "Content-Type: application/json"),
    "plain text": ({"Content_Type": "text/plain"}, 415, "Content-Type: application/json"),
}


@pytest.mark.parametrize(("headers", "status", "detail"), PAGES.values(), ids=PAGES.keys())
async def test_a_web_page_cannot_write(ask: Ask, daemon: MemoryDaemon, headers: dict[str, str], status: int, detail: str) -> None:
    """Without a write token a page in a browser on this machine can change nothing."""
    path = "/api/v1/incidents/incident-00001/acknowledge"
    told = _problem(await ask("POST", path, b'{"by": "a"}', **({"Content_Type": "application/json"} | headers)))
    assert told[0] == status
    assert detail in told[1]
    assert daemon.acts == []


async def test_our_own_page_and_local_names_may_write(ask: Ask, daemon: MemoryDaemon) -> None:
    """The same origin, and localhost as a name, pass."""
    path, body = "/api/v1/incidents/incident-00001/acknowledge", b'{"by": "a"}'
    own = {"Origin": f"http://127.0.0.1:{_port(ask)}", "Sec_Fetch_Site": "same-origin"}
    assert (await ask("POST", path, body, Content_Type="application/json", **own))[0] == 200
    assert (await ask("POST", path, body, Content_Type="application/json; charset=utf-8", Host="localhost"))[0] == 200
    assert len(daemon.acts) == 2


def test_another_machine_cannot_write_without_a_token() -> None:
    """Without a write token only loopback addresses may write, also as IPv4 inside IPv6."""
    scope: Any = {"client": ("192.0.2.1", 5), "headers": [(b"host", b"localhost")]}
    with pytest.raises(exchange.Problem, match="DETECTOR_WRITE_TOKEN") as caught:
        Access().check_write(scope)
    assert caught.value.status == 403
    for client in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        Access(hosts=LOCAL_HOSTS).check_write(scope | {"client": (client, 5)})
    for client in ("::ffff:192.0.2.1", "fe80::1%eth0", ""):
        with pytest.raises(exchange.Problem):
            Access().check_write(scope | {"client": (client, 5)})


async def test_a_large_body_is_refused(ask: Ask) -> None:
    """64 KiB is the cap, by the announced length and by what really comes."""
    path = "/api/v1/incidents/incident-00001/note"
    assert _problem(await ask("POST", path, b"x" * 65537, Content_Type="application/json")) == (
        413,
        "the body is larger than 65536 bytes",
    )
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(ask))
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + chunks)
    assert (await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_body_that_does_not_come_is_408(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that announces a body and stalls gets 408 at the deadline."""
    monkeypatch.setattr(exchange, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(ask))
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab")
    assert (await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def _drip(port: int, first: bytes = b"") -> float:
    """Seconds until the server cuts a sender that drips header bytes and never ends them."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()  # no later than the server's own deadline begins
    if first:
        writer.write(first)
        await reader.readuntil(b"healthy\n")
    writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
    except ConnectionError:
        pass
    writer.close()
    return loop.time() - began


@pytest.mark.parametrize("first", [b"", b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["new", "kept alive"])
async def test_senders_that_drip_headers_are_cut(ask: Ask, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    """Twenty dripping senders, on new and on kept-alive connections, are all cut at the header deadline; others are served."""
    monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.5)
    drips = [asyncio.create_task(_drip(_port(ask), first)) for _ in range(20)]
    assert (await ask("GET", "/-/healthy"))[0] == 200
    seconds = await asyncio.gather(*drips)
    assert max(seconds) < 0.5 + HELD_UP_SECONDS
    assert min(seconds) > 0.3


async def test_a_silent_connection_is_cut(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection over which nothing comes ends at the header deadline."""
    monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(ask))
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
    writer.close()


async def test_a_slow_request_outlives_the_header_deadline(ask: Ask, daemon: MemoryDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header timer does not cut a request whose answer takes longer."""
    monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.1)
    listing = daemon.list_incidents

    async def slow(wanted: IncidentFilter) -> IncidentPage:
        await asyncio.sleep(0.4)
        return await listing(wanted)

    monkeypatch.setattr(daemon, "list_incidents", slow)
    assert (await ask("GET", "/api/v1/incidents"))[0] == 200


async def test_a_request_that_takes_too_long_is_503(ask: Ask, daemon: MemoryDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs does not hold a request for ever."""
    await ask("GET", "/api/v1/rules")  # FastAPI is imported
    monkeypatch.setattr(site, "REQUEST_SECONDS", 0.2)
    never = asyncio.Event()

    async def hang(wanted: IncidentFilter) -> IncidentPage:
        del wanted
        await never.wait()
        raise AssertionError("not reached")

    monkeypatch.setattr(daemon, "list_incidents", hang)
    assert _problem(await ask("GET", "/api/v1/incidents")) == (503, "no answer within 0.2 s; try again")


async def test_connections_beyond_the_cap_are_refused(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than the cap are closed at once, so that descriptors stay for outgoing requests."""
    monkeypatch.setattr(BoundedProtocol, "header_seconds", 10 * PATIENCE_SECONDS)  # what ends here ends for another reason
    opened = [await asyncio.open_connection("127.0.0.1", _port(ask)) for _ in range(140)]
    await wait_until(lambda: sum(_is_cut(reader) for reader, _ in opened) >= 12, "those beyond the cap are closed")
    assert sum(_is_cut(reader) for reader, _ in opened) <= 139
    for _, writer in opened:
        writer.close()


async def test_who_asks_is_answered_though_others_hold_every_connection(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that has waited longest without a request makes room; one that is kept alive and asks again stays."""
    monkeypatch.setattr(BoundedProtocol, "header_seconds", 10 * PATIENCE_SECONDS)  # what ends here ends for another reason
    silent = [await asyncio.open_connection("127.0.0.1", _port(ask)) for _ in range(128)]
    for _ in range(20):
        assert (await ask("GET", "/-/healthy"))[0] == 200
    await wait_until(lambda: _is_cut(silent[0][0]), "the oldest makes room")
    assert not _is_cut(silent[-1][0])
    for _, writer in silent:
        writer.close()


def _is_cut(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed it without a word."""
    return reader.at_eof() or reader.exception() is not None


async def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements(ask: Ask) -> None:
    """Connections have TCP_NODELAY: head and body leave at once, where they would stand 40 ms apart otherwise."""
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(ask))
    spent = []
    for _ in range(8):
        began = asyncio.get_running_loop().time()
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"healthy\n"), PATIENCE_SECONDS)
        spent.append(asyncio.get_running_loop().time() - began)
    assert min(spent[2:]) < 0.035, "each answer waits for a delayed acknowledgement"
    writer.close()


async def test_garbage_is_400_and_not_logged_as_ours(ask: Ask) -> None:
    """Bytes that are no HTTP are answered 400."""
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(ask))
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)).startswith(b"HTTP/1.1 400 ")
    writer.close()


def test_a_taken_port_is_one_line() -> None:
    """Binding where somebody listens, or to a name that is none of ours, tells what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = WebServer(lambda *_: None, "127.0.0.1", port)  # type: ignore[arg-type]  # never served
        with pytest.raises(BindError) as caught:
            server.bind()
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use; set DETECTOR_LISTEN to a free address"


async def test_the_end_is_bounded_and_leaves_signals_alone(daemon: MemoryDaemon) -> None:
    """Stopping with an idle and a stalled connection open takes under five seconds and the port is free again."""
    made = Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=Access(), version="1")
    server = WebServer(made, "127.0.0.1", 0)
    server.bind()
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started, "the server started")
    _, idle = await asyncio.open_connection("127.0.0.1", server.port)
    _, stalled = await asyncio.open_connection("127.0.0.1", server.port)
    stalled.write(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab")
    await asyncio.sleep(0.1)
    server.stop()
    async with asyncio.timeout(5 + HELD_UP_SECONDS):
        await task
    again = WebServer(made, "127.0.0.1", server.port)
    again.bind()
    assert again.port == server.port
    again._socket.close()  # type: ignore[union-attr]  # bound above
    for writer in (idle, stalled):
        writer.close()


def test_who_comes_as_it_ends_is_not_dropped_half_made(daemon: MemoryDaemon) -> None:
    """Called at each turn of the loop before the end: the connection is closed, not left open for the garbage collector."""

    async def call(turns: int) -> None:
        made = Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=Access(), version="1")
        server = WebServer(made, "127.0.0.1", 0)
        task = asyncio.create_task(server.serve())
        await wait_until(lambda: server.started, "the server started")
        with socket.socket() as caller:
            caller.settimeout(0.0)
            caller.connect_ex(("127.0.0.1", server.port))
            for _ in range(turns):
                await asyncio.sleep(0)
            assert server._server is not None
            assert server._socket is not None
            await server._server.shutdown([server._socket])  # by way of `stop` it comes within a tenth of a second, at any turn
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for turns in range(5):
        asyncio.run(call(turns))
    gc.collect()
