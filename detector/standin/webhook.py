"""A receiver of signed webhooks on this machine: checks every signature, knows repetitions, and plays faults by script.

Before it: the daemon's webhook channel. After it: a test or the demo asks what arrived. It does what a careful receiver should:
the signature over the raw body before anything is parsed, then the event id, then the body's schema.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from detector.standin.prompter import Prompter, perform
from detector.standin.server import Server, answer_json
from detector.transport.signature import verify_body

if TYPE_CHECKING:
    from types import TracebackType

    from detector.standin.script import Reply, Step

SIGNATURE_HEADER = "X-Detector-Signature"
EVENT_ID_HEADER = "X-Detector-Event-Id"
_READ_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `event` None: the body is no notice. `replay`: the event id was accepted before. `status` None: unanswered."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes
    event: Mapping[str, Any] | None
    event_id: str
    signed: bool
    replay: bool
    status: int | None


class Receiver:
    """Enter it as an async context manager to serve <url>/hook/<token> on a loopback port.

    `secrets`: any of them may have signed; empty: unsigned bodies are taken. `now` gives unix seconds.
    """

    def __init__(
        self,
        *,
        secrets: tuple[str, ...] = (),
        token: str = "token",  # noqa: S107 - a stand-in's
        port: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.arrivals: list[Arrival] = []
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._token = token
        self._now = now
        self._prompter = Prompter(now)
        self.script = self._prompter.script
        self._accepted: dict[str, Mapping[str, Any]] = {}
        app = web.Application(client_max_size=_READ_LIMIT_BYTES)
        app.router.add_post("/hook/{token}", self._receive)
        app.router.add_get("/arrivals", self._show)
        self._server = Server(app, port)

    @property
    def url(self) -> str:
        """Where notices go; its last part is a secret."""
        return f"{self._server.url}/hook/{self._token}"

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """The accepted notices, each once, in the order of their first arrival."""
        return tuple(self._accepted.values())

    @property
    def replays(self) -> tuple[str, ...]:
        """The event ids that came again after they were accepted, once for each time."""
        return tuple(arrival.event_id for arrival in self.arrivals if arrival.replay)

    def play(self, *steps: Step) -> None:
        """Queue scripted answers; `action` of a step is the notice's kind."""
        self._prompter.play(*steps)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def _receive(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        arrival = self._read(http, body)
        self.arrivals.append(arrival)
        place = len(self.arrivals) - 1
        kind = str((arrival.event or {}).get("kind", ""))
        reply = self.script.take(http.path, "", kind, self._now())
        honest = self._answer(http, arrival) if reply.takes_effect else web.Response(status=204)
        return await self._play(http, reply, honest, place)

    def _read(self, http: web.Request, body: bytes) -> Arrival:
        signed = bool(self._secrets) and verify_body(self._secrets, body, http.headers.get(SIGNATURE_HEADER, ""))
        event_id = http.headers.get(EVENT_ID_HEADER, "")
        event = _read_notice(body, event_id) if signed or not self._secrets else None
        return Arrival(
            self._now(), http.path, dict(http.headers), body, event, event_id, signed, event_id in self._accepted, status=None
        )

    def _answer(self, http: web.Request, arrival: Arrival) -> web.Response:
        if http.match_info["token"] != self._token:
            return answer_json(404, {"error": "no such hook"})
        if self._secrets and not arrival.signed:
            return answer_json(401, {"error": "the signature does not match the body"})
        if http.content_type != "application/json":
            return answer_json(415, {"error": "send application/json"})
        if arrival.event is None:
            return answer_json(422, {"error": "not a detector.notice of version 1 with the id of its header"})
        self._accepted.setdefault(arrival.event_id, arrival.event)
        return web.Response(status=204)

    async def _play(self, http: web.Request, reply: Reply, honest: web.Response, place: int) -> web.StreamResponse:
        if (answer := await perform(http, reply, honest)) is None:
            return honest
        self.arrivals[place] = replace(self.arrivals[place], status=answer.status)
        return answer

    async def _show(self, _http: web.Request) -> web.Response:
        return answer_json(200, [{"status": each.status, "replay": each.replay, "event": each.event} for each in self.arrivals])


def _read_notice(body: bytes, event_id: str) -> Mapping[str, Any] | None:
    try:
        event = json.loads(body.decode())
    except (UnicodeError, ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or (event.get("schema"), event.get("version")) != ("detector.notice", 1):
        return None
    well_formed = (
        event.get("id") == event_id != "" and isinstance(event.get("kind"), str) and isinstance(event.get("incident"), dict)
    )
    return event if well_formed else None
