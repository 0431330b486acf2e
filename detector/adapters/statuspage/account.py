"""The Statuspage API of one page: calls within its rate, answers told apart.

Before it: `channel` decides what to call. After it: Statuspage. One call a second and token, measured over a sliding minute; beyond
that 420 or 429, with Retry-After (Statuspage API documentation, rate limiting; Atlassian's notice of 2020). Components are asked
for by page, since without paging they may be asked for once a minute only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, assert_never
from urllib.parse import quote

from detector.domain.text import clean_line
from detector.ports.error import OutsideError, SettingsError, TemporaryError, ThrottledError
from detector.transport.bucket import TokenBucket
from detector.transport.exchange import Exchange, Reply, Request
from detector.transport.fault import ExchangeError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

_PER_MINUTE, _BURST = 45.0, 12  # together below the 60 of any minute
_LIMITED = frozenset({420, 429})
_REFUSED = frozenset({400, 422})
_SERVER_ERRORS = range(500, 600)
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_PAGE_SIZE, _MAX_PAGES = 100, 5
_COMPONENTS_SECONDS = 600.0
_LONGEST_RETRY_AFTER_SECONDS = 300.0
_SHOWN_CHARACTERS = 200
_IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Secret(Protocol):
    """A value that does not show itself, as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value."""


class RefusedError(Exception):
    """The API took offence at what was sent (400, 422): the message is what it said."""


class GoneError(Exception):
    """404: no such page, or no such incident."""


class Account:
    """Incidents and components of one page. Methods raise the port's errors, RefusedError and GoneError."""

    def __init__(self, exchange: Exchange, page_id: str, token: Secret, *, api_url: str, deadline_seconds: float) -> None:
        self._exchange = exchange
        self._base = f"{api_url.rstrip('/')}/pages/{quote(page_id.strip(), safe='')}"
        self._token = token
        self._deadline_seconds = deadline_seconds
        self._bucket = TokenBucket(_PER_MINUTE, _BURST)
        self._components: dict[str, str] = {}
        self._components_at = -math.inf

    async def create(self, incident: Mapping[str, Any], now: float) -> str:
        """Post an incident; returns its id."""
        return _read_identity(await self._call("POST", "/incidents", now, {"incident": incident}))

    async def change(self, identity: str, incident: Mapping[str, Any], now: float) -> None:
        """Change an incident, which adds an update to its history."""
        await self._call("PATCH", f"/incidents/{_check_identity(identity)}", now, {"incident": incident})

    async def fetch(self, identity: str, now: float) -> Mapping[str, Any]:
        """One incident."""
        found = await self._call("GET", f"/incidents/{_check_identity(identity)}", now)
        return found if isinstance(found, Mapping) else {}

    async def list_unresolved(self, now: float) -> Sequence[Mapping[str, Any]]:
        """The incidents that stand open on the page, the newest first."""
        return await self._list("/incidents/unresolved", now)

    async def find_components(self, services: Sequence[str], now: float) -> Mapping[str, str]:
        """Service -> id of the component of the same name, for those that have one; the list is kept for ten minutes."""
        if not 0 <= now - self._components_at < _COMPONENTS_SECONDS:
            listed = await self._list("/components", now)
            named = [(each.get("name"), each.get("id")) for each in listed if not each.get("group")]
            self._components = {_fold(name): each for name, each in named if isinstance(name, str) and isinstance(each, str)}
            self._components_at = now
        return {name: self._components[_fold(name)] for name in services if _fold(name) in self._components}

    @property
    def has_components(self) -> bool:
        """Whether the page had components when they were last asked for."""
        return bool(self._components)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._exchange.close()

    async def _list(self, path: str, now: float) -> Sequence[Mapping[str, Any]]:
        listed: list[Mapping[str, Any]] = []
        for number in range(1, _MAX_PAGES + 1):
            found = await self._call("GET", f"{path}?page={number}&per_page={_PAGE_SIZE}", now)
            entries = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
            listed += entries
            if len(entries) < _PAGE_SIZE:
                break
        return listed

    async def _call(self, method: str, path: str, now: float, body: Mapping[str, Any] | None = None) -> object:
        if (wait_seconds := self._bucket.take(now)) > 0:
            raise ThrottledError(
                f"Statuspage: held back {wait_seconds:.1f} s by our own rate limit",
                retry_after_seconds=wait_seconds,
                attempted=False,
            )
        is_writing = method != "GET"
        request = Request(
            method=method,
            url=self._base + path,
            headers={"Authorization": f"OAuth {self._token.get_secret_value()}", "Content-Type": "application/json"},
            body=b"" if body is None else json.dumps(body, allow_nan=False).encode(),
            deadline_seconds=self._deadline_seconds,
            max_bytes=_MAX_ANSWER_BYTES,
            repeatable=not is_writing,
        )
        try:
            reply = await self._exchange.send(request)
        except ExchangeError as error:
            raise _translate(error, attempted=error.sent and is_writing) from None
        return self._read(reply, attempted=is_writing)

    def _read(self, reply: Reply, *, attempted: bool) -> object:
        if reply.status in {HTTPStatus.OK, HTTPStatus.CREATED}:
            try:
                found: object = json.loads(reply.body)
            except ValueError:
                raise SettingsError(
                    f"Statuspage answered {reply.status} without JSON: check DETECTOR_STATUSPAGE__API_URL and any proxy on the way",
                    attempted=attempted,
                ) from None
            return found
        if reply.status in _REFUSED:
            raise RefusedError(self._quote(reply))
        if reply.status == HTTPStatus.NOT_FOUND:
            raise GoneError(self._quote(reply))
        if reply.status in _LIMITED:
            seconds = read_retry_after(reply.headers.get("retry-after"))
            raise TemporaryError(
                f"Statuspage answered {reply.status}: too many calls", retry_after_seconds=seconds, attempted=False
            )
        if reply.status in _SERVER_ERRORS:
            seconds = read_retry_after(reply.headers.get("retry-after"))
            raise TemporaryError(f"Statuspage answered {reply.status}", retry_after_seconds=seconds, attempted=attempted)
        raise SettingsError(
            f"Statuspage answered {reply.status}: check DETECTOR_STATUSPAGE__TOKEN, __PAGE_ID and __API_URL", attempted=False
        )

    def _quote(self, reply: Reply) -> str:
        """What the answer says, in one short line and without the token, should it be repeated there."""
        text = reply.body.decode("utf-8", "replace").replace(self._token.get_secret_value(), "<token>")
        return clean_line(text)[:_SHOWN_CHARACTERS] or "no reason given"


def read_retry_after(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, at most 5 minutes; None where it is no number of them."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _read_identity(found: object) -> str:
    identity = found.get("id") if isinstance(found, Mapping) else None
    if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity):
        raise SettingsError(
            "Statuspage answered without an incident id: check DETECTOR_STATUSPAGE__API_URL and any proxy on the way"
        )
    return identity


def _check_identity(identity: str) -> str:
    if not _IDENTITY.fullmatch(identity):
        raise GoneError("no id of an incident")
    return identity


def _fold(name: str) -> str:
    """`Check-out API` and `check_out api` are the same name."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _translate(error: ExchangeError, *, attempted: bool) -> OutsideError:
    match error.fault:
        case Fault.DNS | Fault.CONNECT | Fault.TIMEOUT | Fault.CUT | Fault.TOO_LARGE | Fault.PROTOCOL:
            return TemporaryError(f"Statuspage: {error.detail}", attempted=attempted)
        case Fault.REDIRECT | Fault.TLS | Fault.DENIED | Fault.INVALID:
            return SettingsError(f"Statuspage: {error.detail}", attempted=attempted)
        case _:
            assert_never(error.fault)
