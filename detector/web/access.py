"""Who may read and who may write.

With a token configured, it must come along (compared in constant time). Without a write token, only this machine may write, and no
web page on it: the Host is on a list, a body is JSON, and the Origin is our own.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from detector.web.exchange import Problem, find_header

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens (empty: not configured) and the host names under which writing without one is allowed."""

    read_token: str = field(default="", repr=False)
    write_token: str = field(default="", repr=False)
    hosts: frozenset[str] = LOCAL_HOSTS

    def check_read(self, scope: HTTPScope) -> None:
        """Raise a Problem unless reading is allowed; the write token reads too."""
        if self.read_token and not any(_bears(scope, token) for token in (self.read_token, self.write_token) if token):
            raise Problem(HTTPStatus.UNAUTHORIZED, _wants("read", scope), www_authenticate="Bearer")

    def check_write(self, scope: HTTPScope) -> None:
        """Raise a Problem unless writing is allowed; what the body is, `check_json` says."""
        if self.write_token:
            self._check_token(scope)
            return
        if not _is_loopback(scope["client"][0] if scope["client"] else ""):
            raise Problem(
                HTTPStatus.FORBIDDEN, "writing from another machine needs a token: set DETECTOR_WRITE_TOKEN on the daemon"
            )
        self._check_page(scope)

    def check_named(self, scope: HTTPScope) -> None:
        """Raise a Problem unless the write token is configured and sent, wherever the request comes from: commands are run."""
        if not self.write_token:
            raise Problem(HTTPStatus.FORBIDDEN, "a mitigation always needs the write token: set DETECTOR_WRITE_TOKEN on the daemon")
        self._check_token(scope)

    def _check_token(self, scope: HTTPScope) -> None:
        if _bears(scope, self.write_token):
            return
        if self.read_token and _bears(scope, self.read_token):
            raise Problem(HTTPStatus.FORBIDDEN, "the read token does not allow writing: send the write token")
        raise Problem(HTTPStatus.UNAUTHORIZED, _wants("write", scope), www_authenticate="Bearer")

    def _check_page(self, scope: HTTPScope) -> None:
        host = find_header(scope, b"host") or ""
        if _host_name(host) not in self.hosts:
            raise Problem(HTTPStatus.FORBIDDEN, "writing without a token needs a Host that names this machine, e.g. localhost")
        origin = find_header(scope, b"origin")
        if origin is not None and origin.lower() != f"http://{host}".lower():
            raise Problem(HTTPStatus.FORBIDDEN, "a page of another origin must not write")
        if find_header(scope, b"sec-fetch-site") not in {None, "same-origin", "none"}:
            raise Problem(HTTPStatus.FORBIDDEN, "a page of another site must not write")


def check_json(scope: HTTPScope, body: bytes) -> None:
    """Raise a Problem for a body that is not declared as JSON: a form of a web page cannot declare it."""
    kind = (find_header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON with Content-Type: application/json")


def _bears(scope: HTTPScope, token: str) -> bool:
    scheme, _, given = (find_header(scope, b"authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token.encode())


def _wants(kind: str, scope: HTTPScope) -> str:
    if find_header(scope, b"authorization") is None:
        return f"send the {kind} token: Authorization: Bearer ..."
    return f"this is not the {kind} token"


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
