"""Requests of every write route with broken bodies, and two ways to send them: into the application itself, or to a real daemon.

`draw_requests` is what is drawn, `ROUTES` what a good body of each route holds; tests/unit/test_security.py holds the list against
the routes that exist.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from hypothesis import strategies as st

from detector.domain.response import ResponseError
from detector.transport.signature import sign_body
from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.pagerduty import PagerDutyHook
from detector.web.site import Site
from detector.web.wire import Wire
from tests.kit.box import Box
from tests.kit.fuzz import Target, run
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.web import request

if TYPE_CHECKING:
    from detector.domain.incident import Incident
    from detector.ports.pagerduty import PagerDutyWord

WRITE_TOKEN, HOOK_SECRET = "fuzz-write-token-1234", "fuzz-hook-secret-1234"
HOOK = "/webhooks/pagerduty"
_BY: dict[str, Any] = {"by": "ann"}
_MATCHER = {"name": "service", "value": "checkout|a.*", "isRegex": True, "isEqual": True}
_ALERT = {
    "labels": {"alertname": "a", "service": "s"},
    "annotations": {"summary": "x"},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "2026-01-01T00:01:00.123456789+02:00",
    "generatorURL": "http://p/",
}
_EVENT = {
    "id": "01",
    "event_type": "incident.acknowledged",
    "occurred_at": "2026-01-01T00:00:00Z",
    "agent": {"summary": "Ann", "type": "user_reference"},
    "data": {"id": "Q1", "type": "incident", "incident_key": "k", "assignees": [{"summary": "B"}], "incident": {"id": "Q1"}},
}
_KINDS = (
    "annotated",
    "resolved",
    "escalated",
    "priority_updated",
    "responder.replied",
    "status_update_published",
    "\ud800{x}",
    "merged",
)
# method, path as the framework writes it, a good body
ROUTES: tuple[tuple[str, str, Any], ...] = (
    *(
        ("POST", f"/api/v1/incidents/{{incident}}/{verb}", {**_BY, "text": "x"})
        for verb in ("acknowledge", "resolve", "note", "cause")
    ),
    ("POST", "/api/v1/incidents/{incident}/update", {**_BY, "message": "x", "eta": "10m", "state": "identified"}),
    ("POST", "/api/v1/incidents/{incident}/tick", {**_BY, "item": "x"}),
    ("POST", "/api/v1/incidents/{incident}/mitigate", {**_BY, "name": "revert", "again": True}),
    ("POST", "/api/v1/incidents/{incident}/postmortem/done", _BY),
    (
        "POST",
        "/api/v1/silences",
        {"matchers": ["service=a"], "reason": "x", "by": "ann", "duration": "1h", "starts": 2e3, "id": "a"},
    ),
    ("POST", "/api/v1/silences/{identity}/expire", _BY),
    ("DELETE", "/api/v1/silences/{identity}", _BY),
    ("POST", "/api/v1/deploys", {"service": "s", "version": "1", "at": 1.0, "by": "ann", "url": "http://x/"}),
    ("POST", "/api/v1/drill", _BY),
    ("POST", "/api/v2/alerts", [_ALERT]),
    (
        "POST",
        "/api/v2/silences",
        {"matchers": [_MATCHER], "endsAt": "2030-01-01T00:00:00Z", "createdBy": "ann", "comment": "x", "id": ""},
    ),
    ("DELETE", "/api/v2/silence/{identity}", None),
    ("POST", "/-/reload", {}),
    ("POST", HOOK, {"event": _EVENT}),
)
_TEXT = st.text(max_size=12) | st.sampled_from(
    ["\ud800", "\x00", "a" * 5000, "(a+)+$", "{{7*7}}", "-1h", "0001-01-01T00:00:00+23:59", "1e999"]
)
_NUMBER = st.sampled_from([0, -1, 1e308, -1e308, 10**25, 2**63, 1e11, 253402300800, True, None]) | st.floats()
_JSON = st.recursive(
    _NUMBER | _TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8
)
_RAW = st.binary(max_size=60) | st.sampled_from([b"[" * 50_000, b'{"by":' * 20_000, b"1" * 6000, b"\xff\xfe", b'"\\ud800"', b"NaN"])


@dataclass(frozen=True, slots=True)
class Drawn:
    """One request; `signed`: as PagerDuty would have sent it."""

    method: str
    path: str
    query: str
    body: bytes
    signed: bool

    @property
    def headers(self) -> dict[str, str]:
        """With the write token, which lets it through to what reads the body."""
        told = {"Content-Type": "application/json", "Authorization": f"Bearer {WRITE_TOKEN}", "Host": "localhost"}
        return told | ({"X-PagerDuty-Signature": sign_body(HOOK_SECRET.encode(), self.body)} if self.signed else {})


@st.composite
def _break(draw: st.DrawFn, good: Any, depth: int = 0) -> Any:
    """The good body with some of its values replaced, left out or joined by others."""
    if depth and draw(st.integers(0, 5)) == 0:
        return draw(_JSON)
    if isinstance(good, dict):
        kept = {name: draw(_break(value, depth + 1)) for name, value in good.items() if draw(st.integers(0, 9))}
        return kept | (draw(st.dictionaries(_TEXT, _JSON, max_size=2)) if draw(st.integers(0, 5)) == 0 else {})
    if isinstance(good, list):
        return [draw(_break(value, depth + 1)) for value in good for _ in range(draw(st.integers(0, 2)))]
    if good == "incident.acknowledged":
        return f"incident.{draw(st.sampled_from(_KINDS))}"
    return good


@st.composite
def draw_requests(draw: st.DrawFn, incident: str = "i1") -> Drawn:
    """A request of one of ROUTES. `incident`: one that is there."""
    method, path, good = draw(st.sampled_from(ROUTES))
    identity = draw(st.sampled_from([incident, incident, incident, "w1", "a"]) if draw(st.integers(0, 5)) else _TEXT)
    path = path.replace("{incident}", _quote(identity)).replace("{identity}", _quote(identity))
    body = draw(_RAW) if draw(st.integers(0, 7)) == 0 else json.dumps(draw(_break(good))).encode()
    query = draw(st.sampled_from(["", "", "limit=-1", "by=%ff%00", "x=" + "1" * 300, "&" * 200]))
    return Drawn(method, path, query, body, signed=path == HOOK and draw(st.booleans()))


def _quote(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass")[:200], safe="") or "none"


class FuzzedSite:
    """The application over what lies in memory; `send` gives the status. What it raises would be a 500."""

    def __init__(self) -> None:
        self.daemon = MemoryDaemon()
        self.incident = self.daemon.incidents[0].id
        access, box = Access(write_token=WRITE_TOKEN), Box()
        self.site = Site(
            metrics=Metrics("1"),
            query=self.daemon,
            desk=self.daemon,
            pulse=self.daemon,
            access=access,
            version="1",
            aid=Hands(),  # type: ignore[arg-type]  # only what writes
            pagerduty=PagerDutyHook(Ear(), [HOOK_SECRET]),
            wire=Wire(self.daemon, self.daemon, box, box, access, "1"),
        )

    async def send(self, drawn: Drawn) -> tuple[int, bytes]:
        """The status and the body."""
        events: list[Any] = []
        body = [{"type": "http.request", "body": drawn.body, "more_body": False}]
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in drawn.headers.items()]
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": drawn.method,
            "scheme": "http",
            "path": unquote(drawn.path),
            "raw_path": drawn.path.encode(),
            "query_string": drawn.query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }

        async def receive() -> Any:
            return body.pop() if body else await asyncio.Event().wait()

        async def send(event: Any) -> None:
            events.append(event)

        await self.site(scope, receive, send)
        content = b"".join(event.get("body", b"") for event in events[1:])
        return int(events[0]["status"]), content


class Hands:
    """An aid that refuses or does at once."""

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Refused: nothing is offered."""
        del by, again
        raise ResponseError(f"incident {incident}: no mitigation {name!r} is offered")

    async def finish_postmortem(self, incident: str, by: str) -> Any:
        """Refused."""
        raise ResponseError(f"incident {incident} has no post-mortem, {by}")

    async def start_drill(self, by: str) -> Any:
        """Refused."""
        raise ResponseError(f"a drill is under way, {by}")


class Ear:
    """Hears, and makes what it heard into text, as the timeline would."""

    async def hear(self, word: PagerDutyWord) -> None:
        """Keep nothing."""
        repr(word).encode("utf-8", "backslashreplace")


def send_real(port: int, drawn: Drawn) -> tuple[int, bytes]:
    """One request to a real daemon; the status and the body."""
    path = f"{drawn.path}?{drawn.query}" if drawn.query else drawn.path
    return request(port, drawn.method, path, drawn.body, drawn.headers, seconds=30.0)


def run_site(examples: int) -> None:
    """Draw so many requests for the application in memory."""
    site = FuzzedSite()
    with asyncio.Runner() as runner:
        run(Target(draw_requests(site.incident), lambda drawn: _judge(*runner.run(site.send(drawn)))), examples)


def run_daemon(port: int, incident: str, examples: int) -> None:
    """Draw so many requests for a real daemon."""
    run(Target(draw_requests(incident), lambda drawn: _judge(*send_real(port, drawn))), examples)


def _judge(status: int, body: bytes) -> None:
    assert 200 <= status < 500, (status, body[:500])
    json.loads(body)
