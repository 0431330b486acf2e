"""The HTTP server: uvicorn in the daemon's own loop, without its signal handlers, with every bound set.

`bind` takes the port early, so that a taken one is told before anything else starts; `serve` runs until `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uvicorn.config import Config
from uvicorn.server import Server

from detector.transport.listener import let_in
from detector.web.protocol import MAX_CONNECTIONS, BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from uvicorn._types import ASGI3Application

KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 3
_TICKS_A_SECOND = 10  # as uvicorn counts them
_BACKLOG = 128
_ACCEPTED = 32  # at a time; four times as many are open before the first beyond the cap is closed: accepted, made, cut, closed


@runtime_checkable
class Closing(Protocol):
    """An application with answers that go on until it is told to end them."""

    def close(self) -> None:
        """End them."""


class BindError(Exception):
    """The address cannot be listened on; the message is one line."""


class WebServer:
    """Serves one ASGI application on one address, which `setting` gave. Port 0 takes any free one, which `port` then names."""

    def __init__(self, application: ASGI3Application, host: str, port: int, *, setting: str = "DETECTOR_LISTEN") -> None:
        self._application = application
        self._host = host
        self._port = port
        self._setting = setting
        self._socket: socket.socket | None = None
        self._server: _Quiet | None = None

    @property
    def port(self) -> int:
        """The port in use, once bound."""
        return self._port

    def bind(self) -> None:
        """Take the address; raises BindError."""
        shown = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            family = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._socket = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        except OSError as error:
            # create_server adds the address to its words; faults of a name lookup have numbers of their own
            words = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
            raise BindError(f"cannot listen on {shown}: {words}; set {self._setting} to a free address") from error
        # asyncio sets it only where the socket knows its protocol number, which that of create_server does not: without it every
        # answer on a kept-alive connection waits 40 ms for an acknowledgement. Connections inherit it (tcp(7))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = self._socket.getsockname()[1]

    async def serve(self) -> None:
        """Serve until `stop`, then let requests under way end, for three seconds at most."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None  # noqa: S101 - `bind` raises or sets it
        self._server = _Quiet(_configure(self._application))
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

    def stop(self) -> None:
        """End `serve`; may be called more than once, and before it."""
        if isinstance(self._application, Closing):
            self._application.close()
        if self._server is not None:
            self._server.end()

    @property
    def started(self) -> bool:
        """Whether connections are accepted and answered."""
        return self._server is not None and self._server.started


class _Quiet(Server):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Leave the main loop now."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Look once a second, and when `end` says so; uvicorn's own looks ten times a second whether it should end."""
        tick = 0
        while not await self.on_tick(tick):
            tick += _TICKS_A_SECOND
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the daemon: uvicorn's own handlers replace them and raise them again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept; the kernel's queue stays longer than what is accepted in one turn."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who was just accepted, then end."""
        await let_in(sockets or [])
        await super().shutdown(sockets)


def _configure(application: ASGI3Application) -> Config:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    protocol = type("Protocol", (BoundedProtocol,), {"max_connections": max(4, min(MAX_CONNECTIONS, soft // 4)), "waiting": {}})
    return Config(
        application,
        http=protocol,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who is asking decides what is allowed: not for a header to say
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=max(4, min(_ACCEPTED, soft // 16)),  # to asyncio also how many it accepts in one turn of its loop
    )
