"""Who of several processes on one store leads: the tenure that one of them holds, and what it may do by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from detector.ports.error import ThrottledError


@dataclass(frozen=True, slots=True)
class Tenure:
    """The lease of all shards, in an epoch of its own. Unless renewed it ends `ttl_seconds` (inf: never) after it was asked for."""

    epoch: int
    ttl_seconds: float


class NotLeadingError(ThrottledError):
    """This process does not lead, or not surely: nothing was sent or written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_seconds=1.0, attempted=False)


class LeaseRow(Protocol):
    """The store's side of the lease. All methods raise TemporaryError when the database cannot answer now."""

    async def acquire(self) -> Tenure | None:
        """Take the lease where nobody holds it; None while another does."""

    async def renew(self) -> bool:
        """Put its end off, also where it has passed and nobody took over; False when another has it."""

    async def release(self) -> None:
        """Give it back, so that another need not wait for its end; nothing happens where it is not held."""
