"""Time, read by the shell once a tick and passed down."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleep; tests bring their own."""

    def now(self) -> float:
        """Unix seconds by the wall clock, which may jump."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long by the monotonic clock."""
