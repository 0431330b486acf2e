"""Blocking calls in threads of our own, one at a time, each with a deadline over the whole of it.

The default executor is not used: a call that hangs there would block name lookups too, and hold the exit of the process. A thread
that overran its deadline is left behind (it ends with its connection); while too many are, further calls are refused at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

from detector.ports.error import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_ABANDONED = 3


class CallThread:
    """Runs calls one after the other. `on_overrun` is called when one overran, e.g. to close its connection."""

    def __init__(self, name: str, *, deadline_seconds: float, on_overrun: Callable[[], None]) -> None:
        self._name = name
        self._deadline_seconds = deadline_seconds
        self._on_overrun = on_overrun
        self._turn = asyncio.Lock()
        self._abandoned: list[threading.Thread] = []

    async def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, or what it raised. TemporaryError when it takes too long, its wait for a turn included."""
        try:
            async with asyncio.timeout(self._deadline_seconds), self._turn:
                return await self._run(work)
        except TimeoutError:
            raise TemporaryError(f"{self._name}: no complete answer within {self._deadline_seconds:g} s") from None

    async def _run(self, work: Callable[[], T]) -> T:
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= MOST_ABANDONED:
            raise TemporaryError(f"{self._name}: {MOST_ABANDONED} calls still hang; not asked", attempted=False)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(settle: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed while the call hung
                loop.call_soon_threadsafe(lambda: None if done.done() else settle())

        def run() -> None:
            try:
                result = work()
            except Exception as fault:  # noqa: BLE001 - handed to whoever awaits the call
                error = fault
                tell(lambda: done.set_exception(error))
            else:
                tell(lambda: done.set_result(result))

        thread = threading.Thread(target=run, name=self._name, daemon=True)
        thread.start()
        try:
            return await done
        except asyncio.CancelledError:
            self._abandoned.append(thread)
            self._on_overrun()
            raise
