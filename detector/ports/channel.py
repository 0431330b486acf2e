"""A destination for notices: PagerDuty and, beside it, everyone else who must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from detector.ports.store import Delivery

BeforePost: TypeAlias = Callable[[Delivery], object]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The destination accepted. `credential`: the secret or handle that the next notice of the key needs; empty: as before.

    `note` is one line for the timeline when something was cut or reduced, else empty.
    """

    credential: str = ""
    note: str = ""


class Channel(Protocol):
    """Sends one notice at a time.

    `send` raises TemporaryError (try again; `retry_after_seconds` honoured, capped), SettingsError (fallback at once, retry slowly)
    or PermanentError (rejected for good).
    """

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """Render and send; return only after the destination accepted."""

    async def close(self) -> None:
        """Release connections; idempotent."""


@runtime_checkable
class Rehearsing(Protocol):
    """A channel to people outside that can be tried without sending them anything."""

    async def rehearse(self, delivery: Delivery, *, now: float) -> None:
        """Render it and log in; raises as `send`."""


@runtime_checkable
class Eager(Protocol):
    """A channel that has something to say before its first notice, such as that the daemon is there."""

    def start(self) -> None:
        """Begin; returns at once."""
