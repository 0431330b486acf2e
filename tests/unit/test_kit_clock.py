"""The injectable clock behaves as time does, or every test on it would be wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.kit.clock import VirtualClock, settle
from tests.kit.wait import PATIENCE_SECONDS

if TYPE_CHECKING:
    from detector.ports.clock import Clock


def test_clock_fits_the_port() -> None:
    """The virtual clock stands wherever the port is asked for (mypy holds the signature), and stands still by itself."""
    clock = VirtualClock(1000.0)
    port: Clock = clock
    assert (port.now(), port.monotonic(), port.now()) == (1000.0, 0.0, 1000.0)


def test_advance_moves_both_and_a_jump_the_wall_alone() -> None:
    """An hour back on the wall leaves monotonic time as it was."""
    clock = VirtualClock(1000.0)
    clock.advance(5.0)
    clock.jump_wall(-3600.0)
    assert (clock.now(), clock.monotonic()) == (1005.0 - 3600.0, 5.0)
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance(-1.0)


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    """Nobody wakes early, and who sleeps shorter wakes first, whoever went to sleep first."""
    clock, woken = VirtualClock(), list[str]()

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep("long", 2.0))
        tasks.create_task(sleep("short", 1.0))
        await settle()
        assert clock.sleeping == 2
        clock.advance(0.999)
        await settle()
        assert woken == []
        clock.advance_to(10.0)
    assert woken == ["short", "long"]


async def test_run_wakes_a_repeating_sleeper_at_each_of_its_moments() -> None:
    """A task that sleeps 5 s at a time sees 5, 10, 15 and 20 during a run of 22 s; one jump would show it the end only."""
    clock, seen = VirtualClock(), list[float]()

    async def tick() -> None:
        while True:
            await clock.sleep(5.0)
            seen.append(clock.monotonic())

    task = asyncio.create_task(tick())
    await clock.run(22.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (seen, clock.monotonic()) == ([5.0, 10.0, 15.0, 20.0], 22.0)
    await clock.run(10.0)
    assert (seen, clock.sleeping) == ([5.0, 10.0, 15.0, 20.0], 0)


async def test_sleep_of_nothing_gives_way() -> None:
    """Zero and negative sleeps return without anybody moving the clock."""
    clock = VirtualClock()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await clock.sleep(0)
        await clock.sleep(-1)
