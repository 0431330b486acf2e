"""Pings the URL of a dead-man's switch, by the conventions of healthchecks.io: a GET is a sign of life, any 2xx accepts it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from detector.ports.error import TemporaryError
from detector.transport.exchange import Request
from detector.transport.fault import ExchangeError

if TYPE_CHECKING:
    from detector.transport.exchange import Exchange

DEADLINE_SECONDS = 10.0
MAX_BYTES = 16_384


class HeartbeatPing:
    """One sign of life a call. The URL is itself a secret: whoever has it can keep the switch quiet."""

    def __init__(self, exchange: Exchange, url: str) -> None:
        self._exchange = exchange
        self._url = url

    async def __call__(self) -> None:
        """Raise TemporaryError unless the switch took it."""
        try:
            reply = await self._exchange.send(
                Request(method="GET", url=self._url, deadline_seconds=DEADLINE_SECONDS, max_bytes=MAX_BYTES, repeatable=True)
            )
        except ExchangeError as error:
            raise TemporaryError(f"the heartbeat URL cannot be reached: {error.fault.value}") from error
        if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            raise TemporaryError(f"the heartbeat URL answered {reply.status}; check DETECTOR_HEARTBEAT_URL")
