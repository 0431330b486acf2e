import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp.abc import ResolveResult

from detector.transport import resolver
from detector.transport.address import AddressPolicy
from detector.transport.exchange import Exchange, ExchangeOption, Reply, Request
from detector.transport.fault import ExchangeError, Fault
from tests.kit import peer
from tests.kit.certificate import Certificate, make_certificate
from tests.kit.peer import Conversation, Script, answer, serve_peer
from tests.kit.port import free_port
from tests.kit.wait import BRIEF_SECONDS, HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until

SECRET = "s3cr3t-t0ken"
MEGABYTE = 1 << 20


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """An exchange with the default options."""
    async with Exchange() as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One authority for all TLS tests of this module."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def _make(url: str, *, method: str = "POST", body: bytes = b"body", deadline_seconds: float = 5.0, **rest: object) -> Request:
    return Request(method=method, url=url, body=body, deadline_seconds=deadline_seconds, **rest)  # type: ignore[arg-type]


async def _fail(exchange: Exchange, request: Request) -> ExchangeError:
    """Send what must fail, with a bound on the time it may take."""
    started = time.monotonic()
    with pytest.raises(ExchangeError) as caught:
        await exchange.send(request)
    assert time.monotonic() - started < request.deadline_seconds + HELD_UP_SECONDS
    return caught.value


async def test_reply_is_whole(exchange: Exchange) -> None:
    """Status, lower-case headers, body and time come back; method, path, headers and body went out."""
    async with serve_peer(peer.always(answer(b"hello", "418 Teapot", X_Kind="tea"))) as server:
        reply = await exchange.send(_make(f"{server.url}/a/b?c=d", headers={"X-One": "1"}))
    assert (reply.status, reply.headers["x-kind"], reply.body) == (418, "tea", b"hello")
    assert 0.0 < reply.elapsed_seconds < HELD_UP_SECONDS
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert b"X-One: 1" in head
    assert b"User-Agent: detector" in head
    assert body == b"body"


async def test_connections_are_kept_alive_and_cookies_are_not(exchange: Exchange) -> None:
    """Five requests in a row share one connection, and nothing of a Set-Cookie comes back."""
    async with serve_peer(peer.always(answer(set_cookie="session=1; Path=/"))) as server:
        for _ in range(5):
            await exchange.send(_make(server.url))
    assert (server.connections, len(server.requests)) == (1, 5)
    assert not any(b"cookie" in request.lower() for request in server.requests)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        peer.drip(HEAD),
        peer.drip(b"HTTP/1.1 200 OK\r\nx-long: "),
        peer.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        peer.hang,
        peer.stay_silent,
    ],
    ids=["body", "header", "interim answers", "no answer", "nothing read"],
)
async def test_one_deadline_cuts_whatever_drips(exchange: Exchange, script: Script) -> None:
    """A byte every 20 ms keeps no exchange open past its deadline; the request may have been received."""
    async with serve_peer(script) as server:
        error = await _fail(exchange, _make(server.url, deadline_seconds=BRIEF_SECONDS))
    assert (error.fault, error.sent) == (Fault.TIMEOUT, True)
    assert error.detail == f"{server.url}: no complete answer within 1.5 s"


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (b"x-%d: y\r\n" * 100, Fault.PROTOCOL),
        (b"z" * 65536, Fault.PROTOCOL),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, Fault.TIMEOUT),
    ],
    ids=["many headers", "one long header", "interim answers"],
)
async def test_headers_that_never_end_are_cut(exchange: Exchange, block: bytes, fault: Fault) -> None:
    """A flood of headers ends at the header limits or at the deadline, not in memory."""
    before = psutil.Process().memory_info().rss
    start = b"" if block.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\nx-first: "
    async with serve_peer(peer.flood(start, block, 1_000_000)) as server:
        error = await _fail(exchange, _make(server.url, deadline_seconds=1.0 if fault is Fault.TIMEOUT else PATIENCE_SECONDS))
    assert error.fault == fault
    assert psutil.Process().memory_info().rss - before < 64 * MEGABYTE


@pytest.mark.parametrize(
    ("start", "block", "count"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 209715200\r\n\r\n", peer.BLOCK, 3200),
        (b"HTTP/1.1 200 OK\r\n\r\n", peer.BLOCK, 3200),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"10000\r\n" + peer.BLOCK + b"\r\n", 3200),
    ],
    ids=["announced", "until close", "chunked"],
)
async def test_200_megabytes_are_cut_at_the_cap(exchange: Exchange, start: bytes, block: bytes, count: int) -> None:
    """The cap ends the answer early and memory stays flat."""
    before = psutil.Process().memory_info().rss
    async with serve_peer(peer.flood(start, block, count)) as server:
        error = await _fail(exchange, _make(server.url, max_bytes=4 * MEGABYTE, deadline_seconds=20.0))
    assert (error.fault, error.sent) == (Fault.TOO_LARGE, True)
    assert psutil.Process().memory_info().rss - before < 48 * MEGABYTE


async def test_gzip_bomb_counts_as_what_it_becomes(exchange: Exchange) -> None:
    """200 KB that unpack to 200 MB are cut at the cap of 4 MB, with memory flat."""
    bomb = peer.zip_bomb(200)
    assert len(bomb) < MEGABYTE
    before = psutil.Process().memory_info().rss
    async with serve_peer(peer.always(answer(bomb, content_encoding="gzip"))) as server:
        error = await _fail(exchange, _make(server.url, max_bytes=4 * MEGABYTE))
    assert error.fault == Fault.TOO_LARGE
    assert psutil.Process().memory_info().rss - before < 48 * MEGABYTE


async def test_body_of_exactly_the_cap_passes(exchange: Exchange) -> None:
    """The cap is the largest size that is still taken."""
    async with serve_peer(peer.always(answer(b"x" * 1000))) as server:
        assert len((await exchange.send(_make(server.url, max_bytes=1000))).body) == 1000
        assert (await _fail(exchange, _make(server.url, max_bytes=999))).fault == Fault.TOO_LARGE


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (peer.once(HEAD + b"half"), Fault.CUT),
        (peer.once(HEAD + b"half", reset=True), Fault.CUT),
        (peer.once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe"), Fault.CUT),
        (peer.once(b"HTTP/1.1 200 OK\r\nx-half"), Fault.CUT),
        (peer.once(b""), Fault.CUT),
        (peer.once(b"", reset=True), Fault.CUT),
        (peer.once(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Fault.PROTOCOL),
        (peer.once(answer(b"no gzip at all", content_encoding="gzip")), Fault.PROTOCOL),
    ],
    ids=["body", "body by RST", "chunk", "header", "no answer", "RST", "not HTTP", "not gzip"],
)
async def test_broken_answers_are_named(exchange: Exchange, script: Script, fault: Fault) -> None:
    """An answer that ends early is CUT and one that is not HTTP is PROTOCOL; in both the request may have been received."""
    async with serve_peer(script) as server:
        error = await _fail(exchange, _make(server.url))
    assert (error.fault, error.sent) == (fault, True)


async def test_redirects_are_not_followed(exchange: Exchange) -> None:
    """A 3xx is its own fault and its target is never asked."""
    async with serve_peer(peer.always(answer())) as target:
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent", "304 Not Modified"):
            async with serve_peer(peer.always(answer(status=status, location=target.url))) as server:
                error = await _fail(exchange, _make(server.url))
            assert (error.fault, error.sent) == (Fault.REDIRECT, True)
    assert target.connections == 0


async def test_refused_and_unresolvable_were_never_sent(exchange: Exchange) -> None:
    """Nobody can have received what found no connection."""
    refused = await _fail(exchange, _make(f"http://127.0.0.1:{free_port()}/"))
    assert (refused.fault, refused.sent) == (Fault.CONNECT, False)
    unresolved = await _fail(exchange, _make("http://no-such-host.invalid/"))
    assert (unresolved.fault, unresolved.sent) == (Fault.DNS, False)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "nonsense", "http://[::1/", "http://2130706433/"])
async def test_impossible_urls_are_a_fault_not_a_crash(exchange: Exchange, url: str) -> None:
    """What cannot be a URL is INVALID, before anything is sent."""
    error = await _fail(exchange, _make(url))
    assert (error.fault, error.sent) == (Fault.INVALID, False)


async def test_header_injection_is_refused(exchange: Exchange) -> None:
    """A line break in a header's value sends nothing and is not quoted."""
    async with serve_peer(peer.always(answer())) as server:
        error = await _fail(exchange, _make(server.url, headers={"X-Token": f"{SECRET}\r\nX-Other: 1"}))
    assert (error.fault, error.sent, server.requests) == (Fault.INVALID, False, [])
    assert SECRET not in str(error)


async def test_tls_needs_a_known_authority(exchange: Exchange, certificate: Certificate) -> None:
    """A server whose authority is not known is refused as TLS with the reason; with the CA file the same server is fine."""
    async with serve_peer(peer.always(answer(b"ok")), certificate.make_server_context()) as server:
        error = await _fail(exchange, _make(server.url))
        assert (error.fault, error.sent) == (Fault.TLS, False)
        assert "unable to get local issuer certificate" in error.detail
        async with Exchange(ExchangeOption(ca_file=certificate.ca_file)) as knowing:
            assert (await knowing.send(_make(server.url))).body == b"ok"
            assert (await knowing.send(_make(f"https://localhost:{server.port}"))).body == b"ok"


async def test_tls_to_a_plain_server_is_named(exchange: Exchange) -> None:
    """A plain HTTP port asked over https is TLS, not a mystery."""

    async def greet(talk: Conversation) -> None:
        await talk.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve_peer(greet) as plain:
        error = await _fail(exchange, _make(f"https://127.0.0.1:{plain.port}"))
    assert (error.fault, error.sent) == (Fault.TLS, False)


def test_unreadable_ca_file_is_one_clear_line(tmp_path: Path) -> None:
    """A missing or wrong CA file is told at construction with its path."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("missing.pem", "ca.pem"):
        with pytest.raises(ValueError, match=f"CA file {tmp_path / name}: cannot be read"):
            Exchange(ExchangeOption(ca_file=tmp_path / name))


class LeaseLostError(Exception):
    """What a caller's hook raises."""


@pytest.mark.parametrize("abort", [LeaseLostError("lost"), OSError("lost"), TimeoutError("lost"), ValueError("lost")])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_hook_aborts_with_nothing_sent(abort: Exception, method: str) -> None:
    """What `before_send` raises comes out as it is, and the server has a connection but not one byte."""
    received = asyncio.get_running_loop().create_future()

    async def record(talk: Conversation) -> None:
        received.set_result(await talk.reader.read())

    def refuse() -> None:
        raise abort

    async with serve_peer(record) as server, Exchange(before_send=refuse) as exchange:
        with pytest.raises(type(abort)) as caught:
            await exchange.send(_make(server.url, method=method, body=b"" if method == "GET" else b"x"))
        assert caught.value is abort
        assert await asyncio.wait_for(received, 5) == b""
    assert server.connections == 1


async def test_hook_runs_only_with_a_connection(certificate: Certificate) -> None:
    """Without a connection, or inside an unfinished TLS handshake, the hook is not asked; with one it is, once a request."""
    calls: list[float] = []

    def note() -> None:
        calls.append(time.monotonic())

    async with serve_peer(peer.stay_silent) as silent, Exchange(before_send=note) as exchange:
        await _fail(exchange, _make(f"http://127.0.0.1:{free_port()}"))
        error = await _fail(exchange, _make(f"https://127.0.0.1:{silent.port}", deadline_seconds=0.3))
        assert (error.fault, error.sent) == (Fault.TIMEOUT, False)
        assert "no connection within" in error.detail
    assert calls == []
    async with (
        serve_peer(peer.always(answer()), certificate.make_server_context()) as server,
        Exchange(ExchangeOption(ca_file=certificate.ca_file), before_send=note) as knowing,
    ):
        for _ in range(2):
            await knowing.send(_make(server.url))
    assert len(calls) == 2


async def test_wait_for_a_free_connection_counts_in_the_deadline() -> None:
    """With one connection a host, a second request behind a hung one ends at its own deadline, unsent."""
    async with serve_peer(peer.hang) as server, Exchange(ExchangeOption(connections_per_host=1)) as narrow:
        first = asyncio.create_task(narrow.send(_make(server.url, deadline_seconds=PATIENCE_SECONDS)))
        await wait_until(lambda: bool(server.requests), "the first one hangs")
        second = await _fail(narrow, _make(server.url, deadline_seconds=0.3))
        assert (second.fault, second.sent) == (Fault.TIMEOUT, False)
        assert not first.done()
        first.cancel()
    assert server.connections == 1


def _close_at_second_request() -> Script:
    """Answer one request a connection and drop the next one unanswered: an idle time-out that crossed it."""

    async def script(talk: Conversation) -> None:
        await talk.read_request()
        await talk.write(answer())
        await talk.read_request()

    return script


async def test_dead_kept_alive_connection(exchange: Exchange) -> None:
    """A repeatable request moves on to a fresh connection; any other is CUT, because it may have been received."""
    async with serve_peer(_close_at_second_request()) as server:
        for _ in range(3):
            assert (await exchange.send(_make(server.url, repeatable=True))).status == 200
        error = await _fail(exchange, _make(server.url))
    assert (error.fault, error.sent) == (Fault.CUT, True)
    assert server.connections == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_policy_holds_for_names_and_literals(host: str) -> None:
    """A denied address is denied however it is written, and the server sees no connection."""
    option = ExchangeOption(policy=AddressPolicy(allow_loopback=False))
    async with serve_peer(peer.always(answer())) as server, Exchange(option) as strict:
        error = await _fail(strict, _make(f"http://{host}:{server.port}/"))
    assert (error.fault, error.sent, server.connections) == (Fault.DENIED, False, 0)


async def test_a_name_that_changes_its_address_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what a name leads to is judged for every connection, so a good first answer opens no door."""
    places = ["127.0.0.1", "169.254.169.254"]

    def look_up(host: str, port: int, family: int) -> list[ResolveResult]:
        del family
        place = places.pop(0) if len(places) > 1 else places[0]
        return [ResolveResult(hostname=host, host=place, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)]

    monkeypatch.setattr(resolver, "look_up_host", look_up)
    async with serve_peer(peer.always(answer(Connection="close"))) as server, Exchange() as exchange:
        session = exchange._open_session()
        assert (await exchange.send(_make(f"http://rebound.example:{server.port}/"))).status == 200
        assert isinstance(session.connector, aiohttp.TCPConnector)
        session.connector.clear_dns_cache()
        error = await _fail(exchange, _make(f"http://rebound.example:{server.port}/"))
    assert (error.fault, server.connections) == (Fault.DENIED, 1)


async def test_metadata_service_is_out_of_reach(exchange: Exchange) -> None:
    """The default policy denies the address at which clouds hand out credentials, at once."""
    error = await _fail(exchange, _make("http://169.254.169.254/latest/meta-data/", method="GET", body=b""))
    assert error.fault == Fault.DENIED
    assert "denied by the address policy" in error.detail


@pytest.mark.parametrize(
    ("option", "userinfo", "expected"),
    [
        (ExchangeOption(basic_auth=("me", SECRET)), "", b"Authorization: Basic bWU6czNjcjN0LXQwa2Vu"),
        (ExchangeOption(bearer_token=SECRET), "", b"Authorization: Bearer s3cr3t-t0ken"),
        (ExchangeOption(), f"me:{SECRET}@", b"Authorization: Basic bWU6czNjcjN0LXQwa2Vu"),
        (ExchangeOption(bearer_token=SECRET), "other:one@", b"Authorization: Bearer s3cr3t-t0ken"),
        (ExchangeOption(headers={"X-Scope-OrgID": "team"}), "", b"X-Scope-OrgID: team"),
    ],
    ids=["basic", "bearer", "userinfo", "setting before userinfo", "header"],
)
async def test_credentials_go_out_and_are_never_shown(
    option: ExchangeOption, userinfo: str, expected: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of credentials reaches the server and none stands in a repr, an error, its causes or a log."""
    caplog.set_level(logging.DEBUG)
    async with serve_peer(peer.always(answer())) as server, Exchange(option) as exchange:
        url = f"http://{userinfo}127.0.0.1:{server.port}/hook/{SECRET}?key={SECRET}"
        request = _make(url, headers={"X-Key": SECRET}, body=SECRET.encode())
        reply: Reply = await exchange.send(request)
        refused = await _fail(exchange, _make(url.replace(str(server.port), str(free_port()))))
    assert expected in server.requests[0]
    shown = [repr(option), repr(request), repr(reply), repr(refused), refused.detail, repr(refused.__cause__), caplog.text]
    assert not [text for text in shown if SECRET in text]
    assert refused.__suppress_context__


async def test_proxies_of_the_environment_are_ignored_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY changes nothing by default, and works where it is wanted."""
    async with serve_peer(peer.always(answer(b"proxy"))) as proxy, serve_peer(peer.always(answer(b"direct"))) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with Exchange() as plain, Exchange(ExchangeOption(trust_environment_proxies=True)) as trusting:
            assert (await plain.send(_make(server.url))).body == b"direct"
            assert (await trusting.send(_make(server.url))).body == b"proxy"


async def test_faults_leak_no_descriptors(exchange: Exchange) -> None:
    """After 30 rounds of every kind of bad end as many descriptors are open as after the first."""
    scripts: list[Script] = [peer.hang, peer.once(HEAD), peer.once(b"", reset=True), peer.drip(HEAD)]

    async def run_round() -> int:
        for script in scripts:
            async with serve_peer(script) as server:
                await _fail(exchange, _make(server.url, deadline_seconds=0.1))
        await asyncio.sleep(0.02)
        return int(psutil.Process().num_fds())

    first = await run_round()
    for _ in range(30 // len(scripts)):
        await run_round()
    await wait_until(lambda: psutil.Process().num_fds() <= first + 1, f"no more descriptors than the {first} of the first round")
