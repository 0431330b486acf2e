"""One bounded HTTP exchange: a request out, a whole reply back, or an `ExchangeError`.

Before it: an adapter that made the request. After it: the network. Every bound is here once, for all destinations: one deadline
over name lookup, wait for a connection, connect, TLS, headers and body (a deadline per read would let one byte a second pass for
ever); a cap on the body as decompressed; limits on headers; no redirects; no cookies; no proxies from the environment unless
asked for; an address policy at the moment of connecting.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import aiohttp
from yarl import URL

from detector.transport.address import AddressPolicy
from detector.transport.fault import ExchangeError, Fault, describe_target, translate_error
from detector.transport.resolver import RememberingResolver

if TYPE_CHECKING:
    from types import SimpleNamespace, TracebackType

MAX_BODY_BYTES = 16 * 1024 * 1024
_MAX_HEADER_BYTES = 8190
_MAX_HEADERS = 100
# Below the 60 s and more after which the usual servers and balancers drop an idle connection without a word.
_KEEP_ALIVE_SECONDS = 30.0
_REDIRECT = range(300, 400)

BeforeSend: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send. Nothing that may hold a secret is shown in its repr.

    `repeatable` says that asking twice does no harm: a kept-alive connection that the other side closed while the request was on
    its way is then replaced by another, within the same deadline. `keep_redirect`: a 3xx is a reply like any other (still never
    followed), for a caller that asks what a URL answers. `before_send` runs after the exchange's own, in the same manner.
    """

    method: str
    url: str = field(repr=False)
    deadline_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    max_bytes: int = MAX_BODY_BYTES
    repeatable: bool = False
    keep_redirect: bool = False
    before_send: BeforeSend | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer, of status 3xx only where the request keeps those.

    `headers` has lower-case names; of a repeated one the first.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    elapsed_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOption:
    """How one group of destinations is reached. `headers` and credentials go with every request and are never shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    connections: int = 64
    connections_per_host: int = 16
    trust_environment_proxies: bool = False


@dataclass(slots=True)
class _Attempt:
    """What the traces learn while aiohttp works: whether bytes may be on the wire, on an old connection, and who aborted."""

    before_send: tuple[BeforeSend | None, ...]
    sent: bool = False
    reused: bool = False
    aborted_by: BaseException | None = None


class Exchange:
    """A pool of kept-alive connections with its bounds. Make it anywhere; use and close it in one event loop.

    `before_send` runs for each request when the connection exists and before the first byte is written; what it raises aborts the
    exchange with nothing sent and comes out of `send` unchanged.
    """

    def __init__(self, option: ExchangeOption | None = None, *, before_send: BeforeSend | None = None) -> None:
        self._option = option or ExchangeOption()
        self._before_send = before_send
        self._headers = _make_headers(self._option)
        self._tls = _load_authorities(self._option.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._resolver: RememberingResolver | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Exchanges under way end with CUT."""
        session, self._session = self._session, None
        resolver, self._resolver = self._resolver, None
        if session is not None:
            await session.close()
        if resolver is not None:
            await resolver.close()

    async def send(self, request: Request) -> Reply:
        """Send and read the whole reply within the deadline and the cap.

        Raises ExchangeError, or what `before_send` raised.
        """
        target = describe_target(request.url)
        attempt = _Attempt((self._before_send, request.before_send))
        started = time.monotonic()
        try:
            async with asyncio.timeout(request.deadline_seconds):
                status, headers, body = await self._persist(request, attempt, target)
        except TimeoutError:
            if attempt.aborted_by is not None:
                raise
            stage = "no complete answer" if attempt.sent else "no connection"
            detail = f"{target}: {stage} within {request.deadline_seconds:.3g} s"
            raise ExchangeError(Fault.TIMEOUT, detail, sent=attempt.sent) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if attempt.aborted_by is not None:
                raise attempt.aborted_by from None
            # `from None`: the cause quotes the whole URL, and a logged traceback would show it.
            raise translate_error(error, target, sent=attempt.sent) from None
        return Reply(status, headers, body, time.monotonic() - started)

    async def _persist(self, request: Request, attempt: _Attempt, target: str) -> tuple[int, dict[str, str], bytes]:
        """Perform, and where an old connection turned out dead again: each leaves the pool, so the end is a fresh one."""
        while True:
            attempt.reused = False
            try:
                return await self._perform(request, attempt, target)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not (request.repeatable and attempt.reused):
                    raise

    async def _perform(self, request: Request, attempt: _Attempt, target: str) -> tuple[int, dict[str, str], bytes]:
        url, headers = _take_credentials(URL(request.url), {**self._headers, **request.headers})
        async with self._open_session().request(
            request.method,
            url,
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=attempt,
        ) as response:
            if response.status in _REDIRECT and not request.keep_redirect:
                response.close()
                detail = f"{target}: answered {response.status} (a redirect, never followed); set the URL it should be"
                raise ExchangeError(Fault.REDIRECT, detail, sent=True)
            body = await _read_body(response, request.max_bytes, target)
            return response.status, _lower_names(response.headers), body

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._resolver = RememberingResolver()
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                socket_factory=self._make_socket,
                ssl=self._tls or True,
                limit=self._option.connections,
                limit_per_host=self._option.connections_per_host,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                ttl_dns_cache=10,
            )
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            trace.on_request_headers_sent.append(_note_sending)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `send` holds the one deadline
                trust_env=self._option.trust_environment_proxies,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                max_headers=_MAX_HEADERS,
                trace_configs=[trace],
            )
        return self._session

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        self._option.policy.check_address(str(place[0]))
        return socket.socket(family=family, type=kind, proto=protocol)


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: aiohttp.TraceConnectionReuseconnParams
) -> None:
    attempt: _Attempt = context.trace_request_ctx
    attempt.reused = True


async def _note_sending(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """Run the hook. aiohttp calls this with the connection in hand and the headers still in its buffer (StreamWriter)."""
    attempt: _Attempt = context.trace_request_ctx
    try:
        for look in attempt.before_send:
            if look is not None:
                look()
    except BaseException as error:
        # Kept aside: aiohttp rewraps an OSError on its way out.
        attempt.aborted_by = error
        raise
    attempt.sent = True


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int, target: str) -> bytes:
    chunks: list[bytes] = []
    size = response.content_length or 0
    if size <= max_bytes:
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > max_bytes:
                break
            chunks.append(chunk)
    if size > max_bytes:
        response.close()  # not released: the rest would have to be read first
        raise ExchangeError(Fault.TOO_LARGE, f"{target}: the answer is larger than {max_bytes} bytes", sent=True)
    return b"".join(chunks)


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        lowered.setdefault(name.lower(), value)
    return lowered


def _make_headers(option: ExchangeOption) -> dict[str, str]:
    headers = {"User-Agent": "detector", **option.headers}
    if option.basic_auth is not None:
        headers["Authorization"] = _encode_basic(*option.basic_auth)
    elif option.bearer_token is not None:
        headers["Authorization"] = f"Bearer {option.bearer_token}"
    return headers


def _take_credentials(url: URL, headers: dict[str, str]) -> tuple[URL, dict[str, str]]:
    """Move `user:password@` out of the URL into a header; an Authorization that was set by hand stands.

    Raises ValueError for a value with a line break: aiohttp refuses it too, but only once the request counts as sent.
    """
    if any(character in value for value in headers.values() for character in "\r\n\0"):
        raise ValueError("a header value holds a line break or NUL")
    if url.user is None and url.password is None:
        return url, headers
    if all(name.lower() != "authorization" for name in headers):
        headers["Authorization"] = _encode_basic(url.user or "", url.password or "")
    return url.with_user(None), headers


def _encode_basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _load_authorities(ca_file: Path | None) -> ssl.SSLContext | None:
    """Trust the given CA file alone, or the system's authorities where none is given (None)."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"CA file {ca_file}: cannot be read as PEM certificates ({error})") from error
