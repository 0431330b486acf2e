"""The real clock: the only place of the running daemon that asks the operating system for the time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements ports.clock.Clock."""

    def now(self) -> float:
        """Unix seconds by the wall clock."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long by the event loop's clock."""
        await asyncio.sleep(seconds)
