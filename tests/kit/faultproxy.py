"""A TCP proxy that breaks connections as networks do; the mode is switched while it runs.

A mode holds for connections that are open already too, except that what was forwarded stays forwarded. Bytes towards the
client are the ones that are cut, dripped and delayed; bytes towards the server pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Self, assert_never

from detector.standin.server import reset_connection
from tests.kit.doorway import Doorway
from tests.kit.port import free_port

_CHUNK_BYTES = 65_536
_DRIP_TICK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward everything."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens: connecting fails at once; open connections are reset."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Accept, wait for the first bytes of the client, then RST."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Forward so many bytes of each answer, then end the connection: RST, or FIN where `with_reset` is False."""

    after_bytes: int
    with_reset: bool = True


@dataclass(frozen=True, slots=True)
class Drip:
    """Forward answers at this speed."""

    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Accept and read, never answer."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold every piece of an answer back for so long."""

    seconds: float


Mode = Pass | Refuse | Reset | Cut | Drip | BlackHole | Delay


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.upstream: asyncio.StreamWriter | None = None
        self.answered_bytes = 0

    def end(self, *, with_reset: bool) -> None:
        """Break both sides off."""
        for writer in (self.client, self.upstream):
            if writer is None or writer.transport.is_closing():
                continue
            if with_reset:
                reset_connection(writer.transport)
            else:
                writer.close()


class FaultProxy:
    """Stands in front of host:port on a loopback port of its own, which stays the same through every mode."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.connections = 0  # accepted ever; refused ones are not seen
        self.port = free_port()  # kept while nobody listens on it
        self._upstream = (host, port)
        self._mode: Mode = Pass()
        self._switched = asyncio.Event()
        self._doorway = Doorway(self._carry)
        self._links: set[_Link] = set()

    @property
    def mode(self) -> Mode:
        """What is being done to connections."""
        return self._mode

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    @property
    def url(self) -> str:
        """Base URL for a plain HTTP server behind the proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def switch(self, mode: Mode) -> None:
        """Do this from now on."""
        self._mode = mode
        self._switched.set()
        self._switched = asyncio.Event()
        if isinstance(mode, Refuse):
            await self._doorway.shut()
            for link in tuple(self._links):
                link.end(with_reset=True)
        elif not self._doorway.is_open:
            await self._doorway.open(self.port)

    async def __aenter__(self) -> Self:
        await self._doorway.open(self.port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._doorway.shut()
        for link in tuple(self._links):
            link.end(with_reset=True)
        await self._doorway.end()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            answers, link.upstream = await asyncio.open_connection(*self._upstream)
            sides = (
                asyncio.ensure_future(self._ask(link, reader)),
                asyncio.ensure_future(self._answer(link, answers)),
            )
            try:
                await asyncio.gather(*sides)
            finally:
                for side in sides:
                    side.cancel()
        except OSError:
            link.end(with_reset=True)  # the far side went away: so does this one
        finally:
            link.end(with_reset=False)
            self._links.discard(link)

    async def _ask(self, link: _Link, reader: asyncio.StreamReader) -> None:
        """Client to server."""
        while piece := await reader.read(_CHUNK_BYTES):
            link.answered_bytes = 0  # a new request begins: what is cut is its answer
            if isinstance(self._mode, Reset):
                raise ConnectionResetError
            if link.upstream is not None and not isinstance(self._mode, BlackHole):
                link.upstream.write(piece)
                await link.upstream.drain()
        if link.upstream is not None and link.upstream.can_write_eof():
            with contextlib.suppress(OSError):
                link.upstream.write_eof()

    async def _answer(self, link: _Link, reader: asyncio.StreamReader) -> None:
        """Server to client, through the mode."""
        while piece := await reader.read(_CHUNK_BYTES):
            while piece:
                piece = await self._forward(link, piece)
        if isinstance(self._mode, BlackHole):
            await self._switched.wait()
        link.end(with_reset=False)

    async def _forward(self, link: _Link, piece: bytes) -> bytes:
        """Send what the mode lets through now; returns what is left of the piece."""
        match self._mode:
            case Pass():
                sent = len(piece)
            case Delay(seconds):
                await asyncio.sleep(seconds)
                sent = len(piece)
            case Drip(bytes_per_second):
                sent = max(1, int(bytes_per_second * _DRIP_TICK_SECONDS))
                await self._sleep_or_switch(sent / bytes_per_second)
            case Cut(after_bytes, with_reset):
                sent = min(len(piece), after_bytes - link.answered_bytes)
                await self._send(link, piece[:sent])
                if link.answered_bytes < after_bytes:
                    return b""
                await asyncio.sleep(_DRIP_TICK_SECONDS)  # an RST overtakes bytes that the client has not read
                link.end(with_reset=with_reset)
                raise ConnectionAbortedError
            case BlackHole():
                await self._switched.wait()
                return piece
            case Refuse() | Reset():
                raise ConnectionResetError
            case never:
                assert_never(never)
        await self._send(link, piece[:sent])
        return piece[sent:]

    async def _send(self, link: _Link, piece: bytes) -> None:
        link.client.write(piece)
        await link.client.drain()
        link.answered_bytes += len(piece)

    async def _sleep_or_switch(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._switched.wait(), seconds)
