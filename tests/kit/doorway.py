"""A listening socket of the test's own whose every connection runs one coroutine, and of which nothing is left after the end.

asyncio's own server leaves alone what it has accepted: a connection that arrives while the test ends is in nobody's hands, its
transport is found by the garbage collector, and whichever test runs then fails for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from detector.transport.listener import give_way, let_in

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]]


class Doorway:
    """`serve` is run for each connection, in a task of its own, and closes what it was given as it likes."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def is_open(self) -> bool:
        """Whether somebody listens."""
        return self._server is not None

    async def open(self, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Listen on 127.0.0.1; the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, ssl=tls)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def shut(self) -> None:
        """Listen no more; what is open stays, what was just accepted arrives."""
        server, self._server = self._server, None
        if server is not None:
            await let_in(server.sockets)
            server.close()

    async def end(self) -> None:
        """Listen no more, end every conversation, and drop every connection, whatever is still to be sent."""
        await self.shut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await give_way()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # taken down here: a task that is cancelled before its first step never sees what it was given
        self._writers = [each for each in self._writers if _is_alive(each.transport)]
        self._writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_alive(transport: asyncio.WriteTransport) -> bool:
    return not transport.is_closing() or transport.get_write_buffer_size() > 0
