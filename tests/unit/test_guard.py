"""Patience with a store that does not answer at the start."""

import asyncio
from typing import Any

from detector.app.guard import open_patiently
from tests.kit.clock import VirtualClock
from tests.kit.memorystore import MemoryStore
from tests.kit.stage import Ear, store_fault


class _Opening:
    """An opening that waits for its store, on virtual time."""

    def __init__(self) -> None:
        self.clock, self.store, self.ear, self.stop = VirtualClock(), MemoryStore(), Ear(), asyncio.Event()
        self.waits: list[str] = []
        self.store.disk.failure = store_fault()
        ear: Any = self.ear
        self.task = asyncio.create_task(open_patiently(self.store, self.stop, ear, self.clock, self.waits.append))


async def test_a_store_that_does_not_answer_at_the_start_is_waited_for_and_told_of_seldom() -> None:
    """Told at once and every five minutes; the service manager hears of each pause, else it would end the start."""
    opening = _Opening()
    await opening.clock.run(299)
    assert [what for what, _ in opening.ear.troubles] == ["store"]
    assert 140 <= len(opening.waits) <= 150
    await opening.clock.run(10)
    assert len(opening.ear.troubles) == 2
    opening.store.disk.failure = None
    await opening.clock.run(3)
    assert await opening.task


async def test_a_stop_ends_the_waiting() -> None:
    """Nobody waits for a store in order to end."""
    opening = _Opening()
    await opening.clock.run(5)
    opening.stop.set()
    await opening.clock.run(0)
    assert not await asyncio.wait_for(opening.task, 5)
