"""Wakes the committer: when something was submitted, or when a timer of an incident is due.

Before it: whoever submits rings. After it: the committer gathers what there is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.app.guard import is_set_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.ports.clock import Clock

GATHER_SECONDS = 0.005
TIMER_LOOK_SECONDS = 5.0  # a due moment is wall time, which may be set while we sleep
TIMER_PAUSE_SECONDS = 1.0


class Alarm:
    """`find_due` gives the next moment at which a timer wants a decision (unix seconds), None while there is none."""

    def __init__(self, clock: Clock, find_due: Callable[[], float | None]) -> None:
        self._clock = clock
        self._find_due = find_due
        self._arrived = asyncio.Event()
        self._looked = float("-inf")

    def ring(self) -> None:
        """Look now: something was submitted, or timers have changed."""
        self._arrived.set()

    async def wait(self, is_work: Callable[[], bool]) -> None:
        """Until there is work, and 5 ms more for others, or a timer is due."""
        while not is_work():
            pause = self._until_timer()
            if pause is not None and pause <= 0:
                self._looked = self._clock.monotonic()
                return
            self._arrived.clear()
            if pause is None:
                await self._arrived.wait()
            else:
                await is_set_within(self._arrived, pause, self._clock)
        await self._clock.sleep(GATHER_SECONDS)

    def _until_timer(self) -> float | None:
        """Seconds until the next look at the timers; None when there is none."""
        due = self._find_due()
        if due is None:
            return None
        rest = self._looked + TIMER_PAUSE_SECONDS - self._clock.monotonic()
        return max(min(due - self._clock.now(), TIMER_LOOK_SECONDS), rest)
