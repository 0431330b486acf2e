"""The dead-man's heartbeat: an outside service raises the alarm when it stops.

Sent only while evaluation, queries and the paging channel are well. Other channels are metrics: a dead broker must wake nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from detector.ports.clock import Clock
    from detector.ports.observer import Observer


class Heartbeat:
    """Calls `ping` every `every_seconds` while each of `checks` finds no fault (an empty text)."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        checks: Sequence[Callable[[], str]],
        clock: Clock,
        observer: Observer,
        *,
        every_seconds: float,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_ours = is_ours
        self._ping = ping
        self._checks = tuple(checks)
        self._clock = clock
        self._observer = observer
        self._every_seconds = every_seconds
        self._withheld = ""

    async def run(self) -> None:
        """Beat until cancelled. Guard this."""
        while True:
            if self._is_ours():
                await self.beat()
            await self._clock.sleep(self._every_seconds)

    async def beat(self) -> bool:
        """One beat; False when it was withheld or did not arrive. Says when it begins to be withheld, and when it is sent again."""
        fault = next(filter(None, (check() for check in self._checks)), "")
        if fault:
            if not self._withheld:
                self._observer.trouble("heartbeat", f"withheld: {fault}")
            self._withheld = fault
            return False
        if self._withheld:
            self._observer.note("heartbeat sent again", after=self._withheld)
            self._withheld = ""
        try:
            await self._ping()
        except OutsideError as error:
            self._observer.trouble("heartbeat", describe_fault(error))
            return False
        return True
