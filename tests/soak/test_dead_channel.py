"""A channel that is dead for a day: what the process keeps of it stays flat, whatever piles up in the store."""

import asyncio
import tracemalloc

import pytest

from detector.app.dispatcher import Dispatcher
from detector.domain.incident import Decision, Notice, NoticeKind
from detector.ports.store import Decide
from tests.kit.clock import VirtualClock
from tests.kit.delivery import OPENED, make_notice
from tests.kit.destination import Destination, Trouble
from tests.kit.memorystore import MemoryStore
from tests.kit.observer import RecordingObserver

HOURS, INCIDENTS_AN_HOUR, LIMIT = 24, 4, 20
GROWTH_BYTES = 512 * 1024


class Deaf(RecordingObserver):
    """Hears everything and keeps nothing, so that only the dispatcher's own memory grows."""

    def delivery_ended(self, *_: object) -> None:
        """Ignored."""

    def trouble(self, *_: object) -> None:
        """Ignored."""


def _measure() -> int:
    own = tracemalloc.Filter(inclusive=True, filename_pattern="*/detector/app/*")
    return sum(each.size for each in tracemalloc.take_snapshot().filter_traces([own]).statistics("filename"))


def _decide(notice: Notice) -> Decide:
    return lambda _: Decision(notices=(notice,))


@pytest.mark.soak
@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.HANGS])
async def test_24_hours_of_a_dead_channel_leave_memory_flat(trouble: Trouble) -> None:
    """Four incidents an hour open and end, nothing gets through: held retries stay below their limit, bytes stay flat."""
    clock = VirtualClock(OPENED)
    store, channel = MemoryStore(), Destination("pagerduty", clock, trouble)
    await store.open()
    dispatcher = Dispatcher(channel, store, Deaf(), clock, spare_limit=LIMIT)
    task = asyncio.create_task(dispatcher.run())
    sizes = []
    tracemalloc.start()
    try:
        for hour in range(HOURS):
            for number in range(INCIDENTS_AN_HOUR):
                notice = make_notice(f"i{hour}-{number}", at=clock.now())
                committed = await store.commit([], _decide(notice), clock.now())
                dispatcher.committed(committed.notices, committed.collapsed)
                await clock.run(60.0)
                end = make_notice(f"i{hour}-{number}", NoticeKind.RESOLVE, sequence=2, at=clock.now())
                committed = await store.commit([], _decide(end), clock.now())
                dispatcher.committed(committed.notices, committed.collapsed)
                await clock.run(3600.0 / INCIDENTS_AN_HOUR - 60.0)
            assert len(dispatcher._spare) <= 2 * LIMIT
            assert len(dispatcher._flights) <= 16
            sizes.append(_measure())
    finally:
        tracemalloc.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert channel.attempts > 0
    assert sizes[-1] - sizes[HOURS // 4] < GROWTH_BYTES, sizes
