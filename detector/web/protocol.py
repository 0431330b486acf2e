"""One HTTP connection with the bounds uvicorn lacks: a deadline for the headers, a cap on connections, an end for idle ones.

A sender that drips its headers, at the start or on a kept-alive connection, is cut after `HEADER_SECONDS`. Beyond the cap the
connection that has waited longest without a request makes room: who asks is answered, though ten thousand only hold the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

HEADER_SECONDS = 5.0
MAX_CONNECTIONS = 128


class BoundedProtocol(H11Protocol):
    """uvicorn's h11 protocol with a header timer; `max_connections` keeps descriptors free for outgoing connections.

    `waiting`: connections of one server that have asked nothing, the longest-waiting first.
    """

    header_seconds = HEADER_SECONDS
    max_connections = MAX_CONNECTIONS
    waiting: ClassVar[dict[BoundedProtocol, None]] = {}

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Make room beyond the cap, and start the timer."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            longest = next(iter(self.waiting), self)  # all are being answered: the new one goes
            longest.abort()
            if longest is self:
                return
        self._watch_headers()

    def abort(self) -> None:
        """Cut it now, and count it no more."""
        self.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the headers are whole."""
        super().data_received(data)
        self._watch_headers()

    def on_response_complete(self) -> None:
        """Leave an idle connection to the keep-alive timer."""
        self._stop_timer()
        super().on_response_complete()
        if self in self.connections and not self._answering():  # the next one may have come already
            self.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        self.waiting.pop(self, None)
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close; at once where the other side does not even read the last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        super().timeout_keep_alive_handler()

    def _watch_headers(self) -> None:
        if self._answering():
            self._stop_timer()
            self.waiting.pop(self, None)
            return
        self.waiting.setdefault(self)
        if self._header_timer is None and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
