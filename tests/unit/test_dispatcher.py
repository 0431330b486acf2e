"""The dispatcher on a store that is slower than the destination."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from detector.app.dispatcher import CONCURRENCY, Dispatcher
from detector.domain.incident import Decision
from tests.kit.clock import VirtualClock
from tests.kit.delivery import OPENED, make_notice
from tests.kit.destination import Destination, Trouble
from tests.kit.memorystore import MemoryStore
from tests.kit.observer import RecordingObserver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.ports.store import Delivery

WAITING, STEP_SECONDS, WRITE_SECONDS, PASSING_SECONDS = 400, 0.05, 0.05, 30.0


class SlowStore(MemoryStore):
    """Every claim and every outcome takes its time, as on a disk that others write to."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    async def claim(self, *given: Any, **named: Any) -> Sequence[Delivery]:
        """Later."""
        await self._clock.sleep(WRITE_SECONDS)
        return await super().claim(*given, **named)

    async def record(self, *given: Any, **named: Any) -> None:
        """Later."""
        await self._clock.sleep(WRITE_SECONDS)
        await super().record(*given, **named)


async def test_a_dead_destination_piles_up_no_outcomes() -> None:
    """Hundreds wait and each attempt fails at once: no more is attempted than the store takes down, and all arrive."""
    clock = VirtualClock(OPENED)
    store, channel = SlowStore(clock), Destination("pagerduty", clock, Trouble.REFUSED)
    await store.open()
    dispatcher = Dispatcher(channel, store, RecordingObserver(), clock)
    notices = tuple(make_notice(f"i{number}", at=clock.now()) for number in range(WAITING))
    await store.commit([], lambda _: Decision(notices=notices), clock.now())
    task = asyncio.create_task(dispatcher.run())
    most = 0
    try:
        for _ in range(int(PASSING_SECONDS / STEP_SECONDS)):
            await clock.run(STEP_SECONDS)
            most = max(most, len(dispatcher._outcomes))
        assert CONCURRENCY < most <= 6 * CONCURRENCY
        channel.trouble = Trouble.NONE
        await clock.run(400.0)
        assert len(channel.accepted) == WAITING
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
