"""A Slack on this machine: the Web API methods that an incident channel needs, a workspace that remembers, faults by script.

Before it: the daemon's Slack channel calls <url>/api/<method>. After it: a test or the demo asks what people see, in process or
over GET /messages. Errors are `{"ok": false, "error": ...}` with HTTP 200, as Slack's; only the rate limit has a status, 429.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiohttp import web

from detector.standin.block import find_fault
from detector.standin.conversation import Channel, Message, Workspace
from detector.standin.prompter import Prompter, perform
from detector.standin.script import Reply, Step
from detector.standin.server import Server, answer_json
from detector.transport.bucket import TokenBucket

if TYPE_CHECKING:
    from types import TracebackType

SCOPES = frozenset({"chat:write", "channels:history", "channels:read"})
_NEEDS = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.list": "channels:read",
}
_LIMIT_SECONDS = 1

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came; `error` is what it was answered, "" for ok; `status` None while or for ever unanswered."""

    at: float
    method: str
    arguments: Mapping[str, Any]
    headers: Mapping[str, str]
    error: str = ""
    status: int | None = None


class Slack:
    """A workspace with some channels; enter it as an async context manager to serve it on a loopback port.

    `channels`: name -> id. `posts_per_second` and `burst` are the limit of each channel, None for none. `refuses_orphans`: a reply
    whose parent is gone is answered thread_not_found; otherwise it lands in the channel, as Slack does without a word.
    """

    def __init__(
        self,
        channels: Mapping[str, str],
        *,
        token: str,
        port: int = 0,
        scopes: frozenset[str] = SCOPES,
        posts_per_second: float | None = 1.0,
        burst: int = 1,
        page: int = 100,
        refuses_orphans: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.token = token
        self.scopes = scopes
        self.calls: list[Call] = []
        self.workspace = Workspace()
        for name, identity in channels.items():
            bucket = None if posts_per_second is None else TokenBucket(60.0 * posts_per_second, burst)
            self.workspace.channels[identity] = Channel(identity, name, bucket=bucket)
        self._page = page
        self._refuses_orphans = refuses_orphans
        self._now = now
        self._prompter = Prompter(now)
        self.script = self._prompter.script
        self._methods: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "auth.test": lambda _: _ok(user="detector", team="Stand-in", bot_id="B0000000001"),
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.list": self._list,
        }
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/api/{method}", self._serve)
        app.router.add_get("/messages", self._show)
        self._prompter.add_routes(app)
        self._server = Server(app, port)

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return self._server.url

    @property
    def api_url(self) -> str:
        """What a client calls its base URL."""
        return f"{self.url}/api"

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages of all channels that stand, replies too, in the order they were posted."""
        return tuple(message for message in self.workspace.messages if not message.deleted)

    def thread(self, channel: str, ts: str) -> tuple[Message, ...]:
        """The replies under a message."""
        return self.workspace.list_replies(channel, ts)

    def play(self, *steps: Step) -> None:
        """Queue scripted answers; a step's `path` and `action` are the method, its `routing_key` the channel as it was named."""
        self._prompter.play(*steps)

    async def wait_for(self, condition: Callable[[Self], bool], timeout_seconds: float = 10.0) -> None:
        """Return once `condition` holds, looked at after every call. Raises TimeoutError."""
        await self._prompter.wait_until(lambda: condition(self), timeout_seconds)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        method, arguments = http.match_info["method"], await _read_arguments(http)
        self.calls.append(Call(self._now(), method, arguments, dict(http.headers)))
        place = len(self.calls) - 1
        reply = self.script.take(method, str(arguments.get("channel", "")), method, self._now())
        status, body = self._answer(http, method, arguments) if reply.takes_effect else (200, {"ok": True})
        self._prompter.ring()
        return await self._play(http, reply, status, body, place)

    async def _play(self, http: web.Request, reply: Reply, status: int, body: dict[str, Any], place: int) -> web.StreamResponse:
        honest = answer_json(status, body)
        if status == 429:  # noqa: PLR2004 - too many requests
            honest.headers["Retry-After"] = str(_LIMIT_SECONDS)
        if (answer := await perform(http, reply, honest)) is None:
            return honest
        error = str(body.get("error", "")) if answer is honest else "scripted"
        self.calls[place] = replace(self.calls[place], status=answer.status, error=error)
        return answer

    def _answer(self, http: web.Request, method: str, arguments: dict[str, Any]) -> Answer:
        token = http.headers.get("Authorization", "").removeprefix("Bearer ")
        if method not in self._methods:
            return _no("unknown_method")
        if not token:
            return _no("not_authed")
        if token != self.token:
            return _no("invalid_auth")
        if (needed := _NEEDS.get(method)) is not None and needed not in self.scopes:
            return _no("missing_scope", needed=needed, provided=",".join(sorted(self.scopes)))
        return self._methods[method](arguments)

    def _post(self, arguments: dict[str, Any]) -> Answer:
        channel = self.workspace.find_channel(arguments.get("channel"), by_name=True)
        if channel is None:
            return _no("channel_not_found")
        if (fault := _find_closed(channel) or find_fault(arguments)) is not None:
            return _no(fault)
        if channel.bucket is not None and channel.bucket.take(self._now()) > 0:
            return 429, {"ok": False, "error": "ratelimited"}
        thread_ts = arguments.get("thread_ts")
        if thread_ts is not None and self._refuses_orphans and self.workspace.find(channel.id, thread_ts) is None:
            return _no("thread_not_found")
        posted = self.workspace.post(channel.id, arguments, self._now())
        return _ok(channel=channel.id, ts=posted.ts, message=_render(posted, with_metadata=True))

    def _update(self, arguments: dict[str, Any]) -> Answer:
        channel = self.workspace.find_channel(arguments.get("channel"), by_name=False)
        if channel is None:
            return _no("channel_not_found")
        if (fault := _find_closed(channel) or find_fault(arguments)) is not None:
            return _no(fault)
        if (message := self.workspace.find(channel.id, arguments.get("ts"))) is None:
            return _no("message_not_found")
        edited = self.workspace.edit(message, arguments)
        return _ok(channel=channel.id, ts=edited.ts, text=edited.text, message=_render(edited, with_metadata=True))

    def _history(self, arguments: dict[str, Any]) -> Answer:
        channel = self.workspace.find_channel(arguments.get("channel"), by_name=False)
        if channel is None or not channel.member:
            return _no("channel_not_found" if channel is None else "not_in_channel")
        return self._cut_pages(reversed(self.workspace.list_messages(channel.id)), arguments)

    def _replies(self, arguments: dict[str, Any]) -> Answer:
        channel = self.workspace.find_channel(arguments.get("channel"), by_name=False)
        if channel is None or not channel.member:
            return _no("channel_not_found" if channel is None else "not_in_channel")
        if (parent := self.workspace.find(channel.id, arguments.get("ts"))) is None:
            return _no("thread_not_found")
        return self._cut_pages((parent, *self.workspace.list_replies(channel.id, parent.ts)), arguments)

    def _list(self, arguments: dict[str, Any]) -> Answer:
        listed = [{"id": each.id, "name": each.name} for each in self.workspace.channels.values() if not each.archived]
        start = int(arguments.get("cursor") or 0)
        return _ok(channels=listed[start : start + self._page], response_metadata=self._point_on(start, len(listed)))

    def _cut_pages(self, messages: Any, arguments: dict[str, Any]) -> Answer:  # noqa: ANN401 - an iterable of messages
        oldest = float(arguments.get("oldest") or 0)
        listed = [each for each in messages if float(each.ts) > oldest]
        start, size = int(arguments.get("cursor") or 0), min(int(arguments.get("limit") or 100), self._page)
        shown = [
            _render(each, with_metadata=str(arguments.get("include_all_metadata")) == "1") for each in listed[start : start + size]
        ]
        return _ok(messages=shown, response_metadata=self._point_on(start, len(listed)))

    def _point_on(self, start: int, total: int) -> dict[str, str]:
        return {"next_cursor": str(start + self._page) if start + self._page < total else ""}

    async def _show(self, _http: web.Request) -> web.Response:
        return answer_json(200, [msgspec.to_builtins(message) for message in self.messages])


def refuse(error: str, *, requests: int | None = 1, method: str | None = None, needed: str = "") -> Step:
    """Slack's own "no" to the next `requests` of a method: `{"ok": false, "error": ...}` with status 200."""
    body = json.dumps({"ok": False, "error": error} | ({"needed": needed} if needed else {}))
    return Step(reply=Reply(status=200, body=body), requests=requests, path=method)


async def _read_arguments(http: web.Request) -> dict[str, Any]:
    if http.method == "GET":
        return dict(http.query)
    try:
        arguments = json.loads(await http.read() or b"{}")
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _find_closed(channel: Channel) -> str | None:
    return "is_archived" if channel.archived else None if channel.member else "not_in_channel"


def _render(message: Message, *, with_metadata: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text, "blocks": list(message.blocks)}
    shown |= {} if message.thread_ts is None else {"thread_ts": message.thread_ts}
    return shown | ({"metadata": message.metadata} if with_metadata and message.metadata else {})


def _ok(**fields: Any) -> Answer:  # noqa: ANN401 - any JSON
    return 200, {"ok": True, **fields}


def _no(error: str, **fields: str) -> Answer:
    return 200, {"ok": False, "error": error, **fields}
