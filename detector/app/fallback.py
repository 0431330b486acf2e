"""Another road for a notice that does not arrive: the dispatcher says which one fails, this queues it for the fallback channels.

Queued through the store like any notice; while the store fails, offered from memory. Each notice goes to a fallback channel once.
A page that PagerDuty does not take is noted in the incident, so that our own channels call the responders (`domain/escalation`).
A page that opened and ended before it could be sent is over, so nobody is woken: it is told as an update, to Slack too.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from detector.domain.audience import SLACK
from detector.domain.escalation import note_refused
from detector.domain.incident import PAGERDUTY, Book, Decision, Notice, NoticeKind
from detector.domain.label import digest_parts
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Delivery


UNDELIVERED = "opened and ended undelivered"
_OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})


class Fallback:
    """`destinations`: (channel, route) pairs in order; a channel is never its own fallback. `slack`: whether Slack is there."""

    def __init__(
        self,
        destinations: Sequence[tuple[str, str]],
        committer: Committer,
        roster: Roster,
        paging: Paging,
        offer: Callable[[Sequence[Notice]], None],
        clock: Clock,
        observer: Observer,
        *,
        slack: bool = False,
    ) -> None:
        self._witnesses = tuple(dict.fromkeys([*destinations, *([(SLACK, "")] if slack else [])]))
        self._destinations = tuple(destinations)
        self._committer = committer
        self._roster = roster
        self._paging = paging
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
        task = asyncio.create_task(self._queue(delivery, why, notices), name=f"fallback {delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _queue(self, delivery: Delivery, why: str, notices: Sequence[Notice]) -> None:
        catalogue, now = self._roster.catalogue, self._clock.now()
        roads = [notice.channel for notice in notices]

        def decide(book: Book) -> Decision:
            noted = Decision()
            if delivery.channel == PAGERDUTY and delivery.kind in _OPENING:
                noted = note_refused(book, catalogue, self._paging, delivery.incident, delivery.key, why, roads, now)
            return replace(noted, notices=(*noted.notices, *notices))

        try:
            await self._committer.submit_action(decide)
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
