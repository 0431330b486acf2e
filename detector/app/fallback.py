"""Another road for a notice that does not arrive: the dispatcher says which one fails, this queues it for the fallback channels.

Queued through the store like any notice; while the store fails, offered from memory. Each notice goes to a fallback channel once.
A page that opened and ended before it could be sent is over, so nobody is woken: it is told as an update, to Slack too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.domain.audience import SLACK
from detector.domain.incident import PAGERDUTY, Decision, Notice, NoticeKind
from detector.domain.label import digest_parts
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.app.committer import Committer
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Delivery


UNDELIVERED = "opened and ended undelivered"


class Fallback:
    """`destinations`: (channel, route) pairs in order; a channel is never its own fallback. `slack`: whether Slack is there."""

    def __init__(
        self,
        destinations: Sequence[tuple[str, str]],
        committer: Committer,
        offer: Callable[[Sequence[Notice]], None],
        clock: Clock,
        observer: Observer,
        *,
        slack: bool = False,
    ) -> None:
        self._witnesses = tuple(dict.fromkeys([*destinations, *([(SLACK, "")] if slack else [])]))
        self._destinations = tuple(destinations)
        self._committer = committer
        self._offer = offer
        self._clock = clock
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery, why: str) -> None:
        """Send it by the other roads; returns at once. A notice that is itself a fallback takes no further one."""
        if delivery.values.get("fallback_for") or (why == UNDELIVERED and delivery.channel != PAGERDUTY):
            return
        roads = self._witnesses if why == UNDELIVERED else self._destinations
        notices = [self._make(delivery, channel, route, why) for channel, route in roads if channel != delivery.channel]
        if not notices:
            self._observer.trouble(
                "fallback", f"{delivery.channel} fails ({why}) and there is no other road; set DETECTOR_FALLBACK"
            )
            return
        task = asyncio.create_task(self._queue(notices), name=f"fallback {delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _queue(self, notices: Sequence[Notice]) -> None:
        try:
            await self._committer.submit_action(lambda _: Decision(notices=tuple(notices)))
        except OutsideError:
            self._offer(notices)

    def _make(self, delivery: Delivery, channel: str, route: str, why: str) -> Notice:
        is_over = why == UNDELIVERED
        message = f"{delivery.channel} could not be reached ({why}); this goes to you instead"
        if is_over:
            message = f"{why}: nobody was paged through {delivery.channel}"
        return Notice(
            id=digest_parts([delivery.id, "fallback", channel, route]),
            incident=delivery.incident,
            episode=delivery.episode,
            kind=NoticeKind.UPDATE if is_over else delivery.kind,
            channel=channel,
            route=route,
            key=delivery.incident,
            severity=delivery.severity,
            at=self._clock.now(),
            values={**delivery.values, "message": message, "fallback_for": delivery.channel},
        )
