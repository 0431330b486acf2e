"""What outsiders may read; the web side asks, the application gathers."""

from __future__ import annotations

from typing import Protocol

from detector.domain.publication import Publication


class Publisher(Protocol):
    """Gives the public page as it stands."""

    async def publish(self) -> Publication:
        """Everything on it now. Never fails: while the store cannot answer, what is in memory and what was last read count."""
