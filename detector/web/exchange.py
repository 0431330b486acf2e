"""One request and one answer on the ASGI interface: reading a body within bounds, answering with text, JSON or a problem."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, HTTPScope

PROBLEM_TYPE = "application/problem+json"
MAX_BODY_BYTES = 65536
BODY_SECONDS = 5.0
DRAINED_BYTES = 1024 * 1024  # a sender that is cut while it writes may never see why


class Problem(Exception):  # noqa: N818 - an answer, by the name RFC 9457 gives it
    """Answered as application/problem+json; `headers` go with it."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def describe_problem(status: int, detail: str) -> dict[str, Any]:
    """Body of a problem answer (RFC 9457). The detail may quote what was sent, which need not be Unicode."""
    told = detail.encode("utf-8", "replace").decode()
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": told}


def find_header(scope: HTTPScope, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


async def read_body(
    scope: HTTPScope, receive: ASGIReceiveCallable, *, max_bytes: int | None = None, seconds: float | None = None
) -> bytes:
    """The whole body; Problem 413 beyond the cap, 408 beyond the deadline, 400 when it is cut."""
    max_bytes = MAX_BODY_BYTES if max_bytes is None else max_bytes
    seconds = BODY_SECONDS if seconds is None else seconds
    length = find_header(scope, b"content-length")
    if length is not None and int(length) > max(max_bytes, DRAINED_BYTES):  # h11 lets digits only through
        raise _too_large(max_bytes)
    body = bytearray()
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                event = await receive()
                if event["type"] != "http.request":
                    raise Problem(HTTPStatus.BAD_REQUEST, "the connection ended before the body did")
                size += len(event.get("body", b""))
                if size <= max_bytes:
                    body += event.get("body", b"")
                elif size > DRAINED_BYTES or not event.get("more_body", False):
                    raise _too_large(max_bytes)
                if not event.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        if size > max_bytes:
            raise _too_large(max_bytes) from None
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} s", connection="close") from None


def check_text(body: bytes) -> None:
    """Raise Problem 400 for JSON that holds half a character (a lone surrogate): it would break every answer that shows it."""
    try:
        text = body.decode()
        if "\\ud" in text.lower():
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not Unicode: send JSON in UTF-8") from None
    except (ValueError, RecursionError):
        return  # no JSON at all: who parses it says so


def replay_body(body: bytes, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """A receive that gives the body that was read, then whatever comes."""
    given = False

    async def replay() -> ASGIReceiveEvent:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def send_answer(send: ASGISendCallable, status: int, body: bytes, content_type: str, **headers: str) -> None:
    """Answer in one piece."""
    fields = {"content-type": content_type, "content-length": str(len(body)), "x-content-type-options": "nosniff"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    await send(
        {
            "type": "http.response.start",
            "status": int(status),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
            "trailers": False,
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_json(send: ASGISendCallable, status: int, content: object, **headers: str) -> None:
    """Answer with JSON."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    await send_answer(send, status, body, "application/json", **headers)


async def send_problem(send: ASGISendCallable, problem: Problem) -> None:
    """Answer with a problem."""
    body = json.dumps(describe_problem(problem.status, problem.detail), ensure_ascii=False).encode()
    await send_answer(send, problem.status, body, PROBLEM_TYPE, **problem.headers)


def _too_large(max_bytes: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {max_bytes} bytes", connection="close")
