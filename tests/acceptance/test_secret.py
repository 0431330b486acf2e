"""No secret leaves the running daemon: all are set, every channel fails in its own way, and everything it gives is searched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from detector.adapters.settings import load_settings
from detector.standin.server import Server
from tests.kit.fuzzweb import run_daemon
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.standin import fail
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from tests.kit.daemon import Daemon
    from tests.kit.house import EnterBooth

READ, WRITE = "fuzz-read-token-1234", "fuzz-write-token-1234"  # the write token is the one that fuzzweb sends
KEY = "0123456789abcdefROUTINGKEY012345"
SECRETS = {
    "prometheus__bearer_token": "prometheus-bearer-1234",
    "pagerduty__routing_keys": json.dumps({"default": KEY}),
    "pagerduty__api_token": "rest-api-token-1234",
    "pagerduty__webhook_secret": "fuzz-hook-secret-1234",
    "slack__token": "xoxb-slack-token-1234",
    "email__password": "mail-password-1234",
    "mqtt__password": "mqtt-password-1234",
    "webhook__secret": "webhook-signing-1234",
    "statuspage__token": "statuspage-token-1234",
    "read_token": READ,
    "write_token": WRITE,
}
PATHS = ("/metrics", "/-/healthy", "/-/ready", "/status", "/status.json", "/status.atom", "/api/openapi.json", "/api/v1/rules")
MORE = (
    "/api/v1/incidents",
    "/api/v1/alerts",
    "/api/v1/silences",
    "/api/v1/deploys",
    "/api/v1/follow-ups",
    "/api/v1/drill",
    "/api/v2/status",
)
PAGES = (
    "/",
    "/rules",
    "/silences",
    "/deliveries",
    "/history",
    "/login",
    "/api/v2/alerts",
    "/api/v2/silences",
    "/prometheus/api/v1/rules",
)


class Echo:
    """Refuses everything and says back all that it was sent, headers and body: what a careless proxy puts into its error page."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._answer)
        self.server = Server(application)

    async def _answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        said = f"{request.method} {request.path_qs} {dict(request.headers)} {await request.text()}"
        return web.json_response({"ok": False, "error": said, "message": said, "errors": [said]}, status=401, reason="Denied")


def _read_outputs(folder: Path) -> dict[str, bytes]:
    """Every file that the daemon wrote, by its path."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def _ask(daemon: Daemon, path: str) -> bytes:
    """What the daemon answers whoever has the read token, whatever the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {READ}\r\n\r\n".encode())
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def test_no_secret_is_told_whatever_fails(enter_booth: EnterBooth) -> None:
    """Log, metrics, API, console, status page, post-mortem, state and the process's own arguments: none holds a secret.

    PagerDuty accepts no page here: one that it accepted leaves its routing key in the state, which is why that is private.
    """
    echo = Echo()
    async with echo.server:
        url = echo.server.url
        paths = {"webhook__url": f"{url}/hook-url-secret-1234", "heartbeat_url": f"{url}/heartbeat-url-secret-1234"}
        told = {
            **SECRETS,
            **paths,
            "slack__channel": "#a",
            "slack__api_url": f"{url}/slack",
            "statuspage__api_url": f"{url}/page",
            "statuspage__page_id": "p",
            "email__host": "127.0.0.1",
            "email__port": str(free_port()),
            "email__username": "u",
            "email__sender": "a@b.example",
            "email__on_call": '["a@b.example"]',
            "mqtt__host": "127.0.0.1",
            "mqtt__port": str(free_port()),
            "mqtt__username": "u",
            "pagerduty__rest_url": url,
            "pagerduty__requester": "a@b.example",
            "heartbeat_every": "1s",
            "log_level": "debug",
            "prometheus__headers": '{"X-Scope": "prometheus-header-1234"}',
            "fallback_after": "1s",
        }
        booth = await enter_booth(**told)
        daemon = booth.daemon
        daemon.settings |= {"DETECTOR_PAGERDUTY__ROUTING_KEYS": SECRETS["pagerduty__routing_keys"]}
        booth.pagerduty.play(fail(403, requests=2))
        booth.show(checkout=0.1)
        secrets = load_settings({name: text for name, text in daemon.settings.items() if name.startswith("DETECTOR_")}).secrets()
        assert {READ, WRITE, KEY, *paths.values(), "prometheus-header-1234"} <= set(secrets)
        assert len(secrets) >= len(SECRETS) + 3
        await daemon.start()

        async def has_failed() -> bool:
            """Every channel, the heartbeat and the REST side were tried."""
            failed = all(
                word in daemon.read() for word in ("channel=slack", "channel=email", "channel=webhook", "channel=pagerduty")
            )
            return failed and any("heartbeat" in path for path in echo.paths)

        await wait_until(has_failed, "a failure of each channel in the log")
        daemon.token = READ
        incident = await daemon.wait_incident("checkout")
        await asyncio.to_thread(run_daemon, daemon.port, incident["id"], 120)
        assert (await _ask(daemon, "/-/healthy")).startswith(b"HTTP/1.1 200")
        booth.show(checkout=0.0)
        await wait_until(lambda: bool(list(daemon.folder.glob("state/**/*.md"))), "the post-mortem")
        one = [
            f"/incidents/{incident['id']}",
            *(f"/api/v1/incidents/{incident['id']}{each}" for each in ("", "/postmortem", "/deliveries")),
        ]
        answers = {path: await _ask(daemon, path) for path in (*PATHS, *MORE, *PAGES, *one)}
        refused = [path for path, answer in answers.items() if not answer.startswith(b"HTTP/1.1 200")]
        assert set(refused) <= {f"/api/v1/incidents/{incident['id']}/postmortem"}, refused
        listed = await asyncio.to_thread(Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes)
        assert b"detector" in listed
        await daemon.stop()
    files = _read_outputs(daemon.folder)
    assert any(path.endswith(".md") for path in files)
    assert_no_secret(secrets, listed, *answers.values(), *files.values())


async def test_no_secret_of_a_database_is_told(enter_booth: EnterBooth) -> None:
    """A database that is not there is named by host and port in the log, its password nowhere."""
    secret, port = "database-password-1234", free_port()
    booth = await enter_booth(database_url=f"postgresql://detector:{secret}@127.0.0.1:{port}/x")
    await booth.daemon.launch()
    await booth.daemon.wait_line(str(port))
    assert_no_secret([secret], booth.daemon.read(), *_read_outputs(booth.daemon.folder).values())
