"""Who sits before the console: a session in a cookie, and the proof that a form is one of ours.

Where a token is configured, logging in with it gives a cookie that is derived from it and does not hold it. A read session is
derived from the read token alone, so that its holder learns nothing of the write token. A form is believed when the browser names
our own origin and the form repeats what only our own page could read.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from detector.web.exchange import Problem, find_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import HTTPScope

    from detector.web.access import Access

SESSION_SECONDS = 12 * 3600
NAME_SECONDS = 365 * 86400
SESSION, FORM, NAME = "detector_session", "detector_form", "detector_name"
_PARTS = 4


class Level(IntEnum):
    """What one may do here."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request's person: what they may do, whether by a session, the mark of their forms, the name they gave last.

    `fresh`: they had no mark before this request, so it must be given with the answer.
    """

    level: Level
    logged_in: bool
    mark: str
    fresh: bool
    name: str

    @property
    def proof(self) -> str:
        """What a form must repeat."""
        return hmac.new(self.mark.encode(), b"detector console form", hashlib.sha256).hexdigest()


class Door:
    """Knows the tokens; recognises visitors and lets them in."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.lockable = bool(access.read_token or access.write_token)
        self._tokens = {Level.READ: access.read_token, Level.WRITE: access.write_token}

    def recognise(self, scope: HTTPScope, now: float) -> Visitor:
        """Whoever asks."""
        cookies = _read_cookies(scope)
        session = self._read_session(cookies.get(SESSION, ""), now)
        level = self._judge(scope, session)
        mark = cookies.get(FORM, "")
        known = len(mark) >= 32 and mark.isalnum()  # noqa: PLR2004 - as `secrets.token_hex(16)` is long
        return Visitor(
            level,
            session is not Level.NONE,
            mark if known else secrets.token_hex(16),
            not known,
            unquote(cookies.get(NAME, ""))[:200],
        )

    def log_in(self, token: str, now: float) -> tuple[Level, str]:
        """Level and cookie value for a token; raises Problem where it is none of ours."""
        for level in (Level.WRITE, Level.READ):
            known = self._tokens[level]
            if known and hmac.compare_digest(token.strip().encode(), known.encode()):
                stem = f"{int(level)}.{int(now) + SESSION_SECONDS}.{secrets.token_hex(8)}"
                return level, f"{stem}.{self._sign(level, stem)}"
        raise Problem(HTTPStatus.FORBIDDEN, "this is neither the read nor the write token of this daemon")

    def check_form(self, scope: HTTPScope, visitor: Visitor, proof: str) -> None:
        """Raise a Problem unless the form came from one of our own pages."""
        host = (find_header(scope, b"host") or "").lower()
        origin = urlsplit((find_header(scope, b"origin") or "").lower())
        if origin.scheme not in {"http", "https"} or origin.netloc != host:
            raise Problem(HTTPStatus.FORBIDDEN, "a form of another origin must not write here")
        if find_header(scope, b"sec-fetch-site") not in {None, "same-origin"}:
            raise Problem(HTTPStatus.FORBIDDEN, "a form of another site must not write here")
        if visitor.fresh or not hmac.compare_digest(proof.encode(), visitor.proof.encode()):
            raise Problem(HTTPStatus.FORBIDDEN, "this form has expired: reload the page and send it again")

    def check_write(self, scope: HTTPScope, visitor: Visitor) -> None:
        """Raise a Problem unless the visitor may write."""
        if self._access.write_token:
            if visitor.level < Level.WRITE:
                raise Problem(HTTPStatus.FORBIDDEN, "acting needs the write token: log in with it")
        else:
            self._access.check_write(scope)

    def check_named(self, scope: HTTPScope, visitor: Visitor) -> None:
        """Raise a Problem unless the visitor may run commands: by the write token only, wherever they are."""
        if not self._access.write_token:
            self._access.check_named(scope)
        self.check_write(scope, visitor)

    def _judge(self, scope: HTTPScope, session: Level) -> Level:
        """What the session, an Authorization header or the place of the asker allow. A look is judged wherever its link stood."""
        plain: Any = {**scope, "headers": [each for each in scope["headers"] if each[0] not in {b"origin", b"sec-fetch-site"}]}
        may_read = session >= Level.READ or _passes(self._access.check_read, plain)
        may_write = (session is Level.WRITE and bool(self._access.write_token)) or _passes(self._access.check_write, plain)
        return Level.NONE if not may_read else Level.WRITE if may_write else Level.READ

    def _read_session(self, value: str, now: float) -> Level:
        parts = value.split(".")
        if len(parts) != _PARTS or parts[0] not in {"1", "2"} or not (parts[1].isascii() and parts[1].isdigit()):
            return Level.NONE
        level = Level(int(parts[0]))
        if not self._tokens[level] or len(value) > 200 or int(parts[1]) <= now:  # noqa: PLR2004 - ours are shorter
            return Level.NONE
        good = hmac.compare_digest(parts[3].encode(), self._sign(level, ".".join(parts[:3])).encode())
        return level if good else Level.NONE

    def _sign(self, level: Level, stem: str) -> str:
        return hmac.new(self._tokens[level].encode(), f"detector console session {stem}".encode(), hashlib.sha256).hexdigest()


def write_cookie(name: str, value: str, seconds: int, *, secure: bool) -> tuple[str, str]:
    """A Set-Cookie header that no script reads and no other site sends; no seconds: forget it."""
    return (
        "set-cookie",
        f"{name}={quote(value, safe='')}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}",
    )


def came_by_tls(scope: HTTPScope) -> bool:
    """Whether the browser speaks TLS to whatever stands before us; only a form's Origin tells."""
    return (find_header(scope, b"origin") or "").lower().startswith("https://")


def _passes(check: Callable[[HTTPScope], None], scope: HTTPScope) -> bool:
    try:
        check(scope)
    except Problem:
        return False
    return True


def _read_cookies(scope: HTTPScope) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(find_header(scope, b"cookie") or "")
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
