"""How much waits in the outbox: looked at every few seconds, told to the metrics, and asked by the heartbeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.ports.store import Backlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Store

BACKLOG_EVERY_SECONDS = 5.0


class BacklogWatch:
    """Undelivered rows by channel, as they were when last looked at. A row is late after `late_after_seconds`."""

    def __init__(self, store: Store, clock: Clock, observer: Observer, *, late_after_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._late_after_seconds = late_after_seconds
        self._backlog: Mapping[str, Backlog] = {}

    async def run(self) -> None:
        """Look until cancelled. Guard this."""
        while True:
            self._backlog = await self._store.backlog()
            self._observer.backlog_seen(self._backlog, self._clock.now())
            await self._clock.sleep(BACKLOG_EVERY_SECONDS)

    def find_fault(self, channel: str) -> str:
        """Why the channel must be thought broken; "" while it takes its notices."""
        oldest = self._backlog.get(channel, Backlog()).oldest
        late = oldest is not None and self._clock.now() - oldest > self._late_after_seconds
        return f"{channel} does not take its notices" if late else ""
