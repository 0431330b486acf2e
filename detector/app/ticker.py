"""Turns a grid of slots into calls at the right moments. `slot` plans them; the poller and the baselines say what to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from detector.app.slot import start_position, take_turn

if TYPE_CHECKING:
    from detector.app.slot import Grid
    from detector.ports.clock import Clock


class Duty(Protocol):
    """What a ticker drives."""

    def due(self, slot: float, missed: int) -> None:
        """Start what belongs to the slot (unix seconds) without waiting for it; `missed` older slots are given up."""


class Ticker:
    """Reads both clocks once a turn. `next_turn`: monotonic seconds at which it means to look again."""

    def __init__(self, grid: Grid, duty: Duty, clock: Clock, *, catch_up: bool = False) -> None:
        self._grid = grid
        self._duty = duty
        self._clock = clock
        self._catch_up = catch_up
        self.next_turn = clock.monotonic()

    async def run(self) -> None:
        """Tick until cancelled. Guard this."""
        position = start_position(self._grid, self._clock.now(), self._clock.monotonic(), catch_up=self._catch_up)
        while True:
            monotonic = self._clock.monotonic()
            position, turn = take_turn(self._grid, position, self._clock.now(), monotonic)
            if turn.slot is not None:
                self._duty.due(turn.slot, turn.missed)
            self.next_turn = monotonic + turn.wait_seconds
            await self._clock.sleep(turn.wait_seconds)
