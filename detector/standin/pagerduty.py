"""A PagerDuty on this machine: the Events API v2 as documented, REST, webhooks, an account that remembers, and faults by script.

Before it: the daemon's PagerDuty channel posts to /v2/enqueue. After it: a test or the demo asks what was paged, in process or
over GET /alerts, /requests and /drops. `python -m detector.standin.pagerduty --port N --routing-key K` runs it by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import msgspec
from aiohttp import web

from detector.standin.account import ENGINEER, Account, User
from detector.standin.event import Reading, read_event
from detector.standin.ledger import Alert, CallWindow, Drop, Duplicate, Ledger
from detector.standin.prompter import Prompter, perform
from detector.standin.server import Server, answer_json
from detector.standin.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from detector.standin.script import Reply, Step

CALLS_PER_WINDOW = 120
_READ_LIMIT_BYTES = 64 * 1024 * 1024  # far above the documented limit, so that an oversized event is refused by rule
_THROTTLED = {
    "status": "throttle exceeded",
    "message": "Requests for this service are arriving too quickly.  Please retry later.",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came, and the status it got; None while unanswered, or for ever when the script withheld it."""

    number: int
    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    event: Mapping[str, object] | None
    errors: tuple[str, ...]
    unknown_keys: tuple[str, ...]
    status: int | None


class PagerDuty:
    """An account with some integrations; enter it as an async context manager to serve it on a loopback port.

    `routing_keys`: name -> 32 characters. `now` gives unix seconds. PagerDuty documents no Retry-After with its 429, so none
    is sent unless `retry_after_seconds` says so.
    """

    def __init__(
        self,
        routing_keys: Mapping[str, str],
        *,
        port: int = 0,
        calls_per_window: int = CALLS_PER_WINDOW,
        retry_after_seconds: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.routing_keys = dict(routing_keys)
        self.requests: list[Request] = []
        self._retry_after_seconds = retry_after_seconds
        self._now = now
        self._prompter = Prompter(now)
        self.script = self._prompter.script
        self._ledger = Ledger()
        self.account = Account(self._ledger)
        self.subscriptions: list[Subscription] = []
        self._sending: set[asyncio.Task[bool]] = set()
        self._calls = CallWindow(calls_per_window)
        self._server = Server(self._build_app(), port)

    @property
    def url(self) -> str:
        """Base URL; the Events API lies at <url>/v2/enqueue."""
        return self._server.url

    @property
    def events_url(self) -> str:
        """The full address of the Events API."""
        return f"{self.url}/v2/enqueue"

    def alerts(self) -> tuple[Alert, ...]:
        """Every alert ever opened, oldest first."""
        return self._ledger.alerts

    def open_alerts(self) -> tuple[Alert, ...]:
        """The alerts nobody resolved yet."""
        return tuple(alert for alert in self.alerts() if alert.is_open)

    def alerts_for(self, dedup_prefix: str) -> tuple[Alert, ...]:
        """The alerts whose dedup key begins so: all of one incident, or of one episode."""
        return tuple(alert for alert in self.alerts() if alert.dedup_key.startswith(dedup_prefix))

    def drops(self) -> tuple[Drop, ...]:
        """The acknowledges and resolves that met no open alert of their routing key."""
        return self._ledger.drops

    def duplicates(self) -> tuple[Duplicate, ...]:
        """The keys under which more than one alert was opened."""
        return self._ledger.duplicates()

    def subscribe(self, url: str, *secrets: str) -> Subscription:
        """From now on every change of an incident's status is sent there, signed with these secrets."""
        self.subscriptions.append(Subscription(url, secrets))
        return self.subscriptions[-1]

    def acknowledge(self, dedup_key: str, user: User = ENGINEER) -> None:
        """A person acknowledges the incident with this alert."""
        self.account.act(dedup_key, "acknowledged", user, self._now())
        self._publish()

    def resolve(self, dedup_key: str, user: User = ENGINEER) -> None:
        """A person resolves the incident with this alert."""
        self.account.act(dedup_key, "resolved", user, self._now())
        self._publish()

    def annotate(self, dedup_key: str, text: str, user: User = ENGINEER) -> None:
        """A person writes a note on the incident with this alert."""
        incident = self.account.find_incident(dedup_key)
        note = {"type": "incident_note", "id": "PNOTE", "content": text, "trimmed": False}
        self._send("incident.annotated", note | {"incident": {"id": incident.id, "type": "incident_reference"}}, user.refer())

    def _publish(self) -> None:
        for change in self.account.sync():
            self._send(change.event_type, change.data, change.agent)
        self._prompter.ring()

    def _send(self, event_type: str, data: Mapping[str, object], agent: Mapping[str, str]) -> None:
        for subscription in self.subscriptions:
            task = asyncio.create_task(subscription.send(event_type, data, agent, self._now()), name="webhook")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def play(self, *steps: Step) -> None:
        """Queue scripted answers; they are used up in this order."""
        self._prompter.play(*steps)

    async def wait_for(self, condition: Callable[[Self], bool], timeout_seconds: float = 10.0) -> None:
        """Return once `condition` holds, looked at after every request. Raises TimeoutError."""
        await self._prompter.wait_until(lambda: condition(self), timeout_seconds)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._server.__aexit__(kind, error, trace)

    def _build_app(self) -> web.Application:
        app = web.Application(client_max_size=_READ_LIMIT_BYTES)
        app.router.add_post("/v2/enqueue", self._enqueue)
        app.router.add_get("/alerts", self._show_alerts)
        app.router.add_get("/requests", self._show_requests)
        app.router.add_get("/drops", self._show_drops)
        self._prompter.add_routes(app)
        self.account.add_routes(app, self._now, self._publish)
        return app

    async def _enqueue(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        now = self._now()
        reading = read_event(body, frozenset(self.routing_keys.values()))
        reply = self.script.take(http.path, reading.text("routing_key"), reading.text("event_action"), now)
        place = self._record(http, body, reading, now)
        honest = self._answer(reading, now) if reply.takes_effect else web.Response(status=202)
        self._publish()
        return await self._play(http, reply, honest, place)

    def _record(self, http: web.Request, body: bytes, reading: Reading, now: float) -> int:
        self.requests.append(
            Request(
                number=len(self.requests) + 1,
                at=now,
                method=http.method,
                path=http.path,
                headers=dict(http.headers),
                body=body.decode("utf-8", "backslashreplace"),
                event=reading.event,
                errors=reading.errors,
                unknown_keys=reading.unknown_keys,
                status=None,
            )
        )
        return len(self.requests) - 1

    def _answer(self, reading: Reading, now: float) -> web.Response:
        """The documented answer, with its effect on the account."""
        if not self._calls.admit(reading.text("routing_key"), now):
            answer = answer_json(429, _THROTTLED)
            if self._retry_after_seconds is not None:
                answer.headers["Retry-After"] = str(self._retry_after_seconds)
            return answer
        if reading.event is None or reading.errors:
            refusal = {"status": "invalid event", "message": "Event object is invalid", "errors": reading.errors}
            return answer_json(400, refusal)
        dedup_key = reading.text("dedup_key") or uuid.uuid4().hex
        self._ledger.apply(reading.event, dedup_key, now, invented_key=not reading.text("dedup_key"))
        return answer_json(202, {"status": "success", "message": "Event processed", "dedup_key": dedup_key})

    async def _play(self, http: web.Request, reply: Reply, honest: web.Response, place: int) -> web.StreamResponse:
        if (answer := await perform(http, reply, honest)) is None:
            return honest
        self.requests[place] = replace(self.requests[place], status=answer.status)
        self._prompter.ring()
        return answer

    async def _show_alerts(self, http: web.Request) -> web.Response:
        shown = self.open_alerts() if "open" in http.query else self.alerts()
        return answer_json(200, [_render_alert(alert) for alert in shown])

    async def _show_requests(self, _http: web.Request) -> web.Response:
        return answer_json(200, self.requests)

    async def _show_drops(self, _http: web.Request) -> web.Response:
        return answer_json(200, self.drops())


def _render_alert(alert: Alert) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(alert)
    return shown | {"open": alert.is_open, "acknowledged": alert.acknowledged}


async def _serve(port: int, routing_keys: Mapping[str, str]) -> None:
    async with PagerDuty(routing_keys, port=port):
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m detector.standin.pagerduty", description="PagerDuty stand-in")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--routing-key", action="append", required=True, help="32 characters; may be repeated")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.port, {key: key for key in options.routing_key}))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
