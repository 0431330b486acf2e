"""A TCP server whose every connection runs one coroutine of the test: the raw bytes of an answer, or of no answer."""

import asyncio
import gzip
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET

from tests.kit.doorway import Doorway

Script = Callable[["Conversation"], Awaitable[None]]
BLOCK = b"x" * 65536


@dataclass
class Conversation:
    """One connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: "Peer"

    async def read_request(self) -> bytes:
        """Read one request: its head, and its body by Content-Length; b"" when the client went away."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        request = head + await self.reader.readexactly(length)
        self.peer.requests.append(request)
        return request

    async def write(self, data: bytes) -> None:
        """Write and wait until it left."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Peer:
    """Where the server listens and what it received."""

    port: int
    scheme: str
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve_peer(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Listen on a free port within the block; connections still open at its end are dropped."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        try:
            await script(Conversation(reader, writer, peer))
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    doorway = Doorway(accept)
    peer = Peer(await doorway.open(tls=tls), "https" if tls else "http")
    try:
        yield peer
    finally:
        await doorway.end()


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """Bytes of a complete answer; `content_type="x"` becomes `content-type: x`."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def always(reply: bytes) -> Script:
    """Answer every request of a connection with the same bytes."""

    async def script(talk: Conversation) -> None:
        while await talk.read_request():
            await talk.write(reply)

    return script


def once(reply: bytes, *, reset: bool = False) -> Script:
    """Answer the first request and close, by RST if asked."""

    async def script(talk: Conversation) -> None:
        await talk.read_request()
        await talk.write(reply)
        if reset:
            await asyncio.sleep(0.05)  # let the bytes arrive: an RST discards what is on the way
            talk.reset()

    return script


def drip(start: bytes, byte: bytes = b"x", every_seconds: float = 0.02) -> Script:
    """Begin an answer and continue it for ever, byte by byte."""

    async def script(talk: Conversation) -> None:
        await talk.read_request()
        await talk.write(start)
        while True:
            await talk.write(byte)
            await asyncio.sleep(every_seconds)

    return script


def flood(start: bytes, block: bytes, count: int) -> Script:
    """Begin an answer and write `count` blocks as fast as they are taken."""

    async def script(talk: Conversation) -> None:
        await talk.read_request()
        await talk.write(start)
        for _ in range(count):
            await talk.write(block)

    return script


async def hang(talk: Conversation) -> None:
    """Take the request and never answer."""
    await talk.read_request()
    await asyncio.Event().wait()


async def stay_silent(_talk: Conversation) -> None:
    """Accept and do nothing at all."""
    await asyncio.Event().wait()


def zip_bomb(megabytes: int) -> bytes:
    """Gzip of that many megabytes of zeros: about a thousandth of it."""
    return gzip.compress(b"\0" * (megabytes << 20), 9)
