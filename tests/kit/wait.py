"""Waiting for a real server: polls a condition until a deadline, from plain code and from coroutines."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 90.0  # costs nothing where the condition comes; a crowded machine is three times slower than a quiet one
HELD_UP_SECONDS = 8.0  # by which a crowded machine may hold up what is over in time; what hangs, hangs for longer
BRIEF_SECONDS = 1.5  # for what hangs on purpose, where something else has to be answered within the same deadline
STEP_SECONDS = 0.02


def until(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Block until the condition holds; AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(STEP_SECONDS)


async def wait_until(condition: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """As `until`, without blocking the loop; the condition may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        await asyncio.sleep(STEP_SECONDS)
