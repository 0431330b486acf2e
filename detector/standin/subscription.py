"""One v3 webhook subscription of the PagerDuty stand-in: signed events to a URL, with the documented patience.

Before it: `account` saw a change. After it: the daemon's /webhooks/pagerduty. PagerDuty waits 5 s for a 2xx; a timeout or a 5xx is
tried again, a 4xx drops the event for ever, and three drops in a row disable the subscription. Source: "Webhooks v3 Overview".
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from detector.transport.signature import sign_body_with_all

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_SECONDS = 5.0
MOST_DROPS = 3
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # compressed: the documented retries stretch over 20 minutes


@dataclass(slots=True)
class Subscription:
    """`secrets`: several while one is being rotated. `answers` are the statuses it got; None where there was none in time."""

    url: str
    secrets: Sequence[str]
    retry_seconds: Sequence[float] = RETRY_SECONDS
    enabled: bool = True
    answers: list[int | None] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)
    _drops_in_a_row: int = 0

    async def send(
        self, event_type: str, data: Mapping[str, Any], agent: Mapping[str, str] | None, at: float, *, identity: str = ""
    ) -> bool:
        """Send one event until it is taken; False where it was dropped."""
        identity = identity or uuid.uuid4().hex
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {
            "id": identity,
            "event_type": event_type,
            "resource_type": event_type.partition(".")[0],
            "occurred_at": moment,
            "agent": agent,
            "client": None,
            "data": data,
        }
        return await self.send_body(msgspec.json.encode({"event": event}), identity)

    async def send_body(self, body: bytes, identity: str) -> bool:
        """Send a raw body, signed."""
        if not self.enabled:
            return False
        for pause in (*self.retry_seconds, None):
            status = await self._post(body, identity)
            self.answers.append(status)
            if status is not None and 200 <= status < 300:  # noqa: PLR2004 - 2xx
                self._drops_in_a_row = 0
                return True
            if pause is None or (status is not None and 400 <= status < 500):  # noqa: PLR2004 - 4xx
                break
            await asyncio.sleep(pause)
        self.dropped.append(body)
        self._drops_in_a_row += 1
        self.enabled = self._drops_in_a_row < MOST_DROPS
        return False

    async def _post(self, body: bytes, identity: str) -> int | None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-PagerDuty-Signature": sign_body_with_all([secret.encode() for secret in self.secrets], body),
            "X-Webhook-Id": identity,
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session,
                session.post(self.url, data=body, headers=headers) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
