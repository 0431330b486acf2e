"""The fault proxy breaks connections in the way it says, seen from a plain client."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.kit.doorway import Doorway
from tests.kit.faultproxy import BlackHole, Cut, Delay, Drip, FaultProxy, Pass, Refuse, Reset
from tests.kit.wait import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER = b"0123456789" * 10


@asynccontextmanager
async def echo_behind_proxy(heard: list[bytes] | None = None) -> AsyncIterator[FaultProxy]:
    """A server that answers each line with ANSWER, behind a proxy; `heard` collects the lines."""
    lines = [] if heard is None else heard

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            lines.append(line)
            writer.write(ANSWER)
        writer.close()

    doorway = Doorway(serve)
    try:
        async with FaultProxy(await doorway.open()) as proxy:
            yield proxy
    finally:
        await doorway.end()


async def ask(proxy: FaultProxy, *, seconds: float = PATIENCE_SECONDS, size: int = len(ANSWER)) -> bytes:
    """One line through the proxy; what came of the answer before the connection ended or `size` bytes were here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"ask\n")
        async with asyncio.timeout(seconds):
            return await reader.readexactly(size)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    finally:
        writer.close()


async def test_pass_forwards_and_counts() -> None:
    """Everything passes, and each connection is counted."""
    async with echo_behind_proxy() as proxy:
        assert await ask(proxy) == ANSWER
        assert await ask(proxy) == ANSWER
        assert proxy.connections == 2


async def test_refuse_and_back_on_the_same_port() -> None:
    """Connecting is refused, an open connection is reset, and the same port answers again after the switch back."""
    async with echo_behind_proxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"ask\n")
        await reader.readexactly(len(ANSWER))
        await proxy.switch(Refuse())
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy)
        await proxy.switch(Pass())
        assert await ask(proxy) == ANSWER


async def test_reset_comes_after_the_question() -> None:
    """The connection is accepted, and reset once the client has spoken; the server never hears of it."""
    heard: list[bytes] = []
    async with echo_behind_proxy(heard) as proxy:
        await proxy.switch(Reset())
        with pytest.raises(ConnectionResetError):
            await ask(proxy)
        assert (proxy.connections, heard) == (1, [])
        await proxy.switch(Pass())
        assert await ask(proxy) == ANSWER
    assert heard == [b"ask\n"]


async def test_cut_ends_the_answer_after_so_many_bytes() -> None:
    """Exactly 37 bytes arrive, then FIN; or RST, where it is asked for."""
    async with echo_behind_proxy() as proxy:
        await proxy.switch(Cut(37, with_reset=False))
        assert await ask(proxy) == ANSWER[:37]
        await proxy.switch(Cut(37))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"ask\n")
        assert await reader.readexactly(37) == ANSWER[:37]
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


async def test_drip_is_slow_and_whole() -> None:
    """At 200 bytes a second 20 bytes take about a tenth of a second, and a switch lets the rest through at once."""
    async with echo_behind_proxy() as proxy:
        await proxy.switch(Drip(200.0))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        started = time.monotonic()
        writer.write(b"ask\n")
        head = await reader.readexactly(20)
        assert time.monotonic() - started >= 0.08
        await proxy.switch(Drip(0.1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(10), 0.2)
        await proxy.switch(Pass())
        async with asyncio.timeout(PATIENCE_SECONDS):
            rest = await reader.readexactly(len(ANSWER) - len(head))
        assert head + rest == ANSWER
        writer.close()


async def test_black_hole_accepts_and_is_silent() -> None:
    """The connection opens and nothing ever comes."""
    async with echo_behind_proxy() as proxy:
        await proxy.switch(BlackHole())
        with pytest.raises(TimeoutError):
            await ask(proxy, seconds=0.2)
        await wait_until(lambda: proxy.connections == 1, "the connection was accepted")


async def test_delay_holds_the_answer_back() -> None:
    """The answer comes whole, 0.2 s late."""
    async with echo_behind_proxy() as proxy:
        await proxy.switch(Delay(0.2))
        started = time.monotonic()
        assert await ask(proxy) == ANSWER
        assert time.monotonic() - started >= 0.2


async def test_far_side_that_is_gone_is_a_reset() -> None:
    """A proxy before a port where nobody listens passes the failure on."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with FaultProxy(port) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy)
