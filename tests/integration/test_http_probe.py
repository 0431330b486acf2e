"""The HTTP probe against a real server: what passes, what does not, and that nothing makes it hang or wander off."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from detector.adapters.probe import HttpProbe
from detector.ports.probe import ProbeTarget
from detector.standin.server import Server
from detector.transport.exchange import Exchange
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Answers by path; /elsewhere must never be asked."""
    app = web.Application()

    async def answer(http: web.Request) -> web.StreamResponse:
        match http.path:
            case "/ok":
                return web.Response(text="status: all good")
            case "/empty":
                return web.Response(status=204)
            case "/moved":
                return web.Response(status=302, headers={"Location": "/elsewhere"})
            case "/large":
                return web.Response(body=b"x" * (5 * 1024 * 1024))
            case "/drip":
                stream = web.StreamResponse()
                await stream.prepare(http)
                while True:
                    await stream.write(b".")
                    await asyncio.sleep(0.05)
            case "/elsewhere":
                raise AssertionError("a redirect was followed")
            case _:
                return web.Response(status=503)

    app.router.add_get("/{path:.*}", answer)
    async with Server(app) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "target", "ok", "words"),
    [
        ("/ok", {}, True, "answered 200 in "),
        ("/ok", {"contains": "all good"}, True, "answered 200 in "),
        ("/ok", {"contains": "all bad"}, False, "without the text 'all bad'"),
        ("/empty", {}, False, "answered 204"),
        ("/empty", {"expect": (200, 204)}, True, "answered 204"),
        ("/down", {}, False, "expected 200"),
        ("/down", {"expect": (503,)}, True, "answered 503"),
        ("/moved", {}, False, "answered 302"),
        ("/moved", {"expect": (301, 302)}, True, "answered 302"),
        ("/large", {}, False, "larger than"),
        ("/drip", {}, False, "no complete answer within 0.5 s"),
    ],
)
async def test_a_probe_passes_by_status_and_text(
    server: Server,
    path: str,
    target: dict[str, object],
    ok: bool,  # noqa: FBT001 - a column of the table
    words: str,
) -> None:
    """Each row: what the service answers, what is expected, whether it passes and what the ticket says."""
    probe = HttpProbe(Exchange(), deadline_seconds=0.5 if path == "/drip" else PATIENCE_SECONDS)
    began = time.monotonic()
    result = await probe.check(ProbeTarget(server.url + path, **target))  # type: ignore[arg-type]  # fields of the target
    assert (result.ok, words in result.message) == (ok, True), result.message
    assert time.monotonic() - began < HELD_UP_SECONDS
    await probe.close()


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "100.100.100.200"])
async def test_metadata_services_are_never_asked(host: str) -> None:
    """A rule file cannot make the daemon read a cloud's credentials."""
    probe = HttpProbe(Exchange(), deadline_seconds=2.0)
    result = await probe.check(ProbeTarget(f"http://{host}/latest/meta-data"))
    assert not result.ok
    assert "denied by the address policy" in result.message
    await probe.close()


async def test_nobody_there_does_not_pass_and_the_path_is_not_told() -> None:
    """A secret may stand in the path of a URL."""
    probe = HttpProbe(Exchange())
    result = await probe.check(ProbeTarget(f"http://127.0.0.1:{free_port()}/secret-path"))
    assert not result.ok
    assert_no_secret(["secret-path"], repr(result))
    await probe.close()
