"""What a form of the console asks for, done at the desk. Plain values in; where the reader goes next out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from detector.domain.silence import MuteRequest
from detector.ports.query import Action
from detector.web.exchange import Problem, find_header

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

    from detector.ports.aid import Aid
    from detector.ports.query import Desk

MAX_FIELDS = 20
MAX_NAME, MAX_TEXT = 200, 4000
RESPONSES = {"acknowledge", "resolve", "note", "cause", "update", "tick", "mitigate"}
_NEEDS_TEXT = {"note", "cause"}


class Form:
    """The fields of a posted form; a field that is missing is empty."""

    def __init__(self, scope: HTTPScope, body: bytes) -> None:
        kind = (find_header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the console takes forms; programs use /api/v1")
        try:
            self._fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise Problem(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None

    def read(self, name: str, most: int = MAX_NAME) -> str:
        """One field without the blanks around it."""
        text = self._fields.get(name, [""])[0].replace("\r\n", "\n").strip()
        if len(text) > most:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: at most {most} characters, this has {len(text)}")
        return text

    def need(self, name: str, what: str, most: int = MAX_NAME) -> str:
        """One field that must say something."""
        text = self.read(name, most)
        if not text:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} is missing: {what}")
        return text


async def respond(desk: Desk, aid: Aid | None, incident: str, action: str, form: Form) -> str:
    """Do one of RESPONSES to the incident. Raises Problem and whatever the desk raises."""
    by = form.need("by", "say who you are")
    text = form.need("text", "say it in words", MAX_TEXT) if action in _NEEDS_TEXT else form.read("text", MAX_TEXT)
    if action == "update":
        await desk.update(incident, by, message=text, eta=form.read("eta", 100), state=form.read("state"))
    elif action == "tick":
        await desk.tick(incident, by, form.need("item", "say what was seen", 400))
    elif action == "mitigate":
        if aid is None:
            raise Problem(HTTPStatus.NOT_FOUND, "no mitigations are known here")
        await aid.mitigate(incident, form.need("item", "say which one"), by, again=bool(form.read("again")))
    else:
        await desk.respond(incident, Action(action), by, text)
    return f"/incidents/{quote(incident, safe='')}?done={action}"


async def add_silence(desk: Desk, form: Form) -> str:
    """Keep a silence."""
    await desk.add_mute(
        MuteRequest(
            matchers=(form.need("matchers", "say what to mute, e.g. service=checkout", MAX_TEXT),),
            author=form.need("by", "say who you are"),
            reason=form.need("reason", "say why, for whoever wonders at the quiet", 1000),
            duration=form.need("duration", "e.g. 2h"),
            starts=form.read("starts") or None,
        )
    )
    return "/silences?done=silence"


async def expire_silence(desk: Desk, identity: str, form: Form) -> str:
    """End one early."""
    await desk.expire_mute(identity, form.need("by", "say who you are"))
    return "/silences?done=expire"
