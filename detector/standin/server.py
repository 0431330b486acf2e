"""An aiohttp application on a loopback port, and the few answers that every stand-in gives.

Before it: `pagerduty` and `shop` build an application. After it: whoever holds the URL.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Self

import msgspec
from aiohttp import web

from detector.transport.listener import let_in

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

_SHUTDOWN_SECONDS = 0.1
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: closing sends RST


class Server:
    """Serves an application while entered; port 0 takes a free one."""

    def __init__(self, app: web.Application, port: int = 0) -> None:
        self._app = app
        self._runner: web.AppRunner | None = None
        self._listener: socket.socket | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        # handler_cancellation: a caller that gives up frees the handler that was told to hang
        self._runner = web.AppRunner(self._app, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS, access_log=None)
        await self._runner.setup()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        await web.SockSite(self._runner, self._listener).start()
        self.port = self._listener.getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is None or self._listener is None:
            return
        await let_in([self._listener])
        await self._runner.cleanup()
        self._runner = self._listener = None


def answer_json(status: int, value: object) -> web.Response:
    """A JSON answer; `value` is anything msgspec encodes."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def cut(request: web.Request, *, with_reset: bool) -> None:
    """End the request's connection unanswered: with FIN, or with RST."""
    transport = request.transport
    if transport is not None and with_reset:
        reset_connection(transport)
    elif transport is not None:
        transport.abort()


def reset_connection(transport: asyncio.WriteTransport) -> None:
    """End a connection with RST, whatever is still to be sent."""
    if not transport.is_closing():
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    transport.abort()
