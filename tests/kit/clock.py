"""A clock that stands still until a test moves it; stands where the daemon has the real one (the port `Clock`).

Wall and monotonic time move together with `advance` and `run`; `jump_wall` moves the wall alone, as an operator or NTP does.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

_TURNS = 50  # loop turns that a woken task gets to reach its next wait


class VirtualClock:
    """Wall time in unix seconds, monotonic time in seconds from 0, and sleep on virtual time."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._wall = wall
        self._monotonic = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Unix seconds by the wall clock."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    @property
    def sleeping(self) -> int:
        """How many tasks wait on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until somebody moved the clock this far; at most zero seconds only give way to the loop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move time at once, as one long pause of the process would; sleepers whose time has come wake in its order."""
        if seconds < 0:
            raise ValueError("time only goes forward: use jump_wall for a wall clock that is set back")
        self._wall += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def advance_to(self, monotonic_seconds: float) -> None:
        """Move time at once to this many seconds after the start."""
        self.advance(monotonic_seconds - self._monotonic)

    async def run(self, seconds: float) -> None:
        """Let time pass sleeper by sleeper, so that a task that sleeps again is woken at each of its moments."""
        end = self._monotonic + seconds
        await settle()
        while (moment := self._next_moment()) is not None and moment <= end:
            self.advance_to(moment)
            await settle()
        self.advance_to(end)
        await settle()

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back; monotonic time and sleepers do not notice."""
        self._wall += seconds

    def _next_moment(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():  # a cancelled sleeper
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None


async def settle() -> None:
    """Let every task that can run reach its next wait on virtual time (not on a socket)."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
