"""The console as one handler: which page, who looks, what a form does, and the headers that keep a page harmless.

Before it: `site`, which bounds the time of a request. After it: `page` gathers, `template` writes, `form` acts at the desk.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from detector.domain.response import ResponseError
from detector.domain.silence import SilenceError, UnknownMuteError
from detector.ports.error import OutsideError
from detector.web.console.form import RESPONSES, Form, add_silence, expire_silence, respond
from detector.web.console.page import DONE, Pages
from detector.web.console.session import (
    FORM,
    NAME,
    NAME_SECONDS,
    SESSION,
    SESSION_SECONDS,
    Door,
    Level,
    Visitor,
    came_by_tls,
    write_cookie,
)
from detector.web.console.stream import Stream
from detector.web.console.template import make_environment
from detector.web.exchange import Problem, find_header, read_body, send_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from detector.ports.aid import Aid
    from detector.ports.plot import Plotter
    from detector.ports.query import Desk, Pulse, Query
    from detector.web.access import Access
    from detector.web.news import News

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# `same-origin`, not `no-referrer`: under that one a browser sends Origin: null with a form
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_FILES = {
    "/console/style.css": ("style.css", "text/css; charset=utf-8"),
    "/console/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HTML = "text/html; charset=utf-8"
_READING = {"GET", "HEAD"}
_INCIDENTS, _PLOT = "/incidents/", "/plot.svg"
_PLOT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # the picture brings its style sheet, and nothing else


class Console:
    """Answers for every path that `site` does not know otherwise. `now` gives unix seconds."""

    def __init__(
        self,
        *,
        query: Query,
        desk: Desk,
        pulse: Pulse,
        aid: Aid | None,
        plotter: Plotter | None,
        news: News,
        access: Access,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._aid = aid
        self._pages = Pages(query, pulse, news, aid, plotter)
        self._door = Door(access)
        self._write_token = bool(access.write_token)
        self._stream = Stream(news)
        self._templates = make_environment()
        self._now = now
        folder = Path(__file__).parent
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def close(self) -> None:
        """End the streams: the daemon stops."""
        self._stream.close()

    async def answer(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request. A fault is a page too for a browser; for programs it is a Problem."""
        if scope["path"] in self._files and scope["method"] in _READING:
            body, kind = self._files[scope["path"]]
            await send_answer(send, HTTPStatus.OK, body, kind, cache_control="no-cache")
            return
        visitor = self._door.recognise(scope, self._now())
        try:
            await self._serve(scope, visitor, receive, send)
        except Problem as problem:
            if not _wants_page(scope):
                raise
            await self._send_fault(send, scope, visitor, problem)
        except (ResponseError, SilenceError, UnknownMuteError, OutsideError) as fault:
            await self._send_fault(send, scope, visitor, _judge(fault))

    async def _serve(self, scope: HTTPScope, visitor: Visitor, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["method"] in _READING:
            await self._show(scope, visitor, receive, send)
        elif scope["method"] == "POST":
            await self._act(scope, visitor, receive, send)
        else:
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "the console answers GET, HEAD and POST", allow="GET, HEAD, POST")

    async def _show(self, scope: HTTPScope, visitor: Visitor, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path, asked = scope["path"], _read_query(scope)
        if visitor.fresh and find_header(scope, b"sec-fetch-site") == "cross-site":
            await self._send_page(send, scope, visitor, "bounce", {"to": _own_path(scope)}, bounce=True)
            return
        if path == "/login":
            await self._send_page(send, scope, visitor, "login", {"to": _keep_local(asked.get("to", "/")), "fault": ""})
            return
        if visitor.level < Level.READ:
            if not _wants_page(scope):
                raise Problem(HTTPStatus.UNAUTHORIZED, "log in at /login, or send the read token", www_authenticate="Bearer")
            await self._redirect(send, f"/login?{urlencode({'to': _own_path(scope)})}", [])
            return
        if path == "/console/events":
            seen = find_header(scope, b"last-event-id") or asked.get("seen", "")
            await self._stream.answer(seen, receive, send)
            return
        if path.startswith(_INCIDENTS) and path.endswith(_PLOT):
            plot = await self._pages.plot(path.removeprefix(_INCIDENTS).removesuffix(_PLOT))
            headers = {"content_security_policy": _PLOT_POLICY, "cache_control": "no-store"}
            await send_answer(send, HTTPStatus.OK, plot.encode(), "image/svg+xml", **headers)
            return
        name, gather = self._find_page(path, asked)
        values = await gather
        values["done"] = DONE.get(asked.get("done", ""), "")
        await self._send_page(send, scope, visitor, name, values)

    def _find_page(self, path: str, asked: Mapping[str, str]) -> tuple[str, Awaitable[dict[str, Any]]]:
        match path:
            case "/":
                return "incidents", self._pages.incidents()
            case "/rules":
                return "rules", self._pages.rules()
            case "/silences":
                return "silences", self._pages.silences()
            case "/deliveries":
                return "deliveries", self._pages.deliveries()
            case "/history":
                return "history", self._pages.history(asked)
            case _ if path.startswith(_INCIDENTS) and "/" not in path.removeprefix(_INCIDENTS):
                return "incident", self._pages.incident(path.removeprefix(_INCIDENTS))
            case _:
                raise Problem(HTTPStatus.NOT_FOUND, f"nothing is at {path}")

    async def _act(self, scope: HTTPScope, visitor: Visitor, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        form = Form(scope, await read_body(scope, receive))
        self._door.check_form(scope, visitor, form.read("proof"))
        if scope["path"] == "/login":
            await self._log_in(scope, visitor, form, send)
            return
        if scope["path"] == "/logout":
            await self._redirect(send, "/", [write_cookie(SESSION, "", 0, secure=came_by_tls(scope))])
            return
        if visitor.level < Level.READ:
            raise Problem(HTTPStatus.UNAUTHORIZED, "log in first")
        self._door.check_write(scope, visitor)
        to = await self._do(scope, visitor, form)
        name = form.read("by")
        await self._redirect(send, to, [write_cookie(NAME, name, NAME_SECONDS, secure=came_by_tls(scope))] if name else [])

    async def _do(self, scope: HTTPScope, visitor: Visitor, form: Form) -> str:
        match scope["path"].strip("/").split("/"):
            case ["incidents", identity, action] if action in RESPONSES:
                if action == "mitigate":
                    self._door.check_named(scope, visitor)
                await self._pages.incident(identity)
                return await respond(self._desk, self._aid, identity, action, form)
            case ["silences"]:
                return await add_silence(self._desk, form)
            case ["silences", identity, "expire"]:
                return await expire_silence(self._desk, identity, form)
            case _:
                raise Problem(HTTPStatus.NOT_FOUND, f"nothing takes a form at {scope['path']}")

    async def _log_in(self, scope: HTTPScope, visitor: Visitor, form: Form, send: ASGISendCallable) -> None:
        to = _keep_local(form.read("to", 2000))
        try:
            _, value = self._door.log_in(form.read("token", 1000), self._now())
        except Problem as problem:
            values = {"to": to, "fault": problem.detail}
            await self._send_page(send, scope, visitor, "login", values, status=problem.status)
            return
        await self._redirect(send, to, [write_cookie(SESSION, value, SESSION_SECONDS, secure=came_by_tls(scope))])

    async def _send_fault(self, send: ASGISendCallable, scope: HTTPScope, visitor: Visitor, problem: Problem) -> None:
        title = HTTPStatus(problem.status).phrase
        values = {"title": title, "detail": problem.detail, "status": problem.status, "back": _find_back(scope["path"])}
        await self._send_page(send, scope, visitor, "fault", values, status=problem.status, headers=problem.headers)

    async def _send_page(
        self,
        send: ASGISendCallable,
        scope: HTTPScope,
        visitor: Visitor,
        name: str,
        values: Mapping[str, Any],
        *,
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        bounce: bool = False,
    ) -> None:
        frame = {
            "page": name,
            "here": _own_path(scope) if scope["method"] in _READING else _find_back(scope["path"]),
            "now": self._now(),
            "visitor": visitor,
            "may_read": visitor.level >= Level.READ,
            "may_write": visitor.level >= Level.WRITE,
            "may_mitigate": visitor.level >= Level.WRITE and self._write_token,
            "lockable": self._door.lockable,
            "done": "",
        }
        if not bounce and visitor.level >= Level.READ:
            frame |= self._pages.frame()
        template = self._templates.get_template(f"{name}.html")
        text = await asyncio.to_thread(template.render, {**frame, **values})
        cookies = [write_cookie(FORM, visitor.mark, NAME_SECONDS, secure=False)] if visitor.fresh and not bounce else []
        await _send(send, status, text.encode(), [*(headers or {}).items(), *cookies], is_head=scope["method"] == "HEAD")

    async def _redirect(self, send: ASGISendCallable, to: str, headers: list[tuple[str, str]]) -> None:
        await _send(send, HTTPStatus.SEE_OTHER, b"", [("location", to), *headers], is_head=False)


async def _send(send: ASGISendCallable, status: int, body: bytes, headers: list[tuple[str, str]], *, is_head: bool) -> None:
    fields = [*_HEADERS.items(), ("content-type", _HTML), ("content-length", str(len(body))), ("x-content-type-options", "nosniff")]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in [*fields, *headers]]
    await send({"type": "http.response.start", "status": int(status), "headers": encoded, "trailers": False})
    await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})


def _wants_page(scope: HTTPScope) -> bool:
    return "text/html" in (find_header(scope, b"accept") or "")


def _judge(fault: Exception) -> Problem:
    match fault:
        case SilenceError():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(fault))
        case UnknownMuteError():
            return Problem(HTTPStatus.NOT_FOUND, str(fault))
        case OutsideError():
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer: {fault}; try again", retry_after="5")
        case _:
            return Problem(HTTPStatus.CONFLICT, str(fault))


def _read_query(scope: HTTPScope) -> dict[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=20))
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "too many parameters") from None


def _own_path(scope: HTTPScope) -> str:
    query = scope["query_string"].decode("latin-1")
    return _keep_local(quote(scope["path"], safe="/") + (f"?{query}" if query else ""))


def _keep_local(to: str) -> str:
    """A path of this console; anything else becomes the first page."""
    local = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isascii() and to.isprintable()
    return to if local else "/"


def _find_back(path: str) -> str:
    match path.strip("/").split("/"):
        case ["incidents", identity, _]:
            return f"/incidents/{quote(identity, safe='')}"
        case ["silences", *_]:
            return "/silences"
        case _:
            return "/"
