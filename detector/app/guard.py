"""Eternal tasks: each has a name, and its end by a fault is an event, not a silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from detector.ports.error import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Store

PAUSE_SECONDS = 1.0
STORE_RETRY_SECONDS = 2.0
REPEAT_SECONDS = 300.0


async def guard(name: str, work: Callable[[], Awaitable[None]], clock: Clock, observer: Observer) -> None:
    """Run `work` until it returns; when it ends by a fault, say so and begin it again after a pause."""
    while True:
        try:
            await work()
        except Exception as fault:  # noqa: BLE001 - the task guard is where any fault of a task becomes an event
            observer.trouble(name, describe_fault(fault))
        else:
            return
        await clock.sleep(PAUSE_SECONDS)


async def open_patiently(store: Store, stop: asyncio.Event, observer: Observer, clock: Clock, wait: Callable[[str], None]) -> bool:
    """Open the store, trying again while it does not answer; False when told to stop meanwhile. Raises PermanentError.

    `wait` hears why before each pause: a service manager that expects a start to end must not end it.
    """
    told, told_at = "", float("-inf")
    while True:
        try:
            await store.open()
        except TemporaryError as fault:
            if str(fault) != told or clock.monotonic() - told_at >= REPEAT_SECONDS:
                told, told_at = str(fault), clock.monotonic()
                observer.trouble("store", f"{fault}; trying again every {STORE_RETRY_SECONDS:g} s")
            wait("waiting for the store")
            if await is_set_within(stop, STORE_RETRY_SECONDS, clock):
                return False
            continue
        return True


async def is_set_within(event: asyncio.Event, seconds: float, clock: Clock) -> bool:
    """Pause, but no longer than until the event; whether it came."""
    waiting = asyncio.create_task(event.wait(), name="event")
    try:
        return await wait_for((waiting,), seconds, clock)
    finally:
        waiting.cancel()


async def wait_for(tasks: Iterable[asyncio.Task[Any]], seconds: float, clock: Clock) -> bool:
    """Until all tasks have ended, or that time has passed; they go on. Whether they have ended."""
    waiting = asyncio.create_task(_wait_all(tuple(tasks)), name="waiting")
    patience = asyncio.create_task(_sleep(clock, seconds), name="patience")
    try:
        await asyncio.wait({waiting, patience}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        patience.cancel()
        waiting.cancel()
    return waiting.done()


async def _wait_all(tasks: tuple[asyncio.Task[Any], ...]) -> None:
    if tasks:
        await asyncio.wait(tasks)


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)


def describe_fault(fault: BaseException) -> str:
    """One line: the kind of the fault and its message."""
    message = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {message}" if message else type(fault).__name__
