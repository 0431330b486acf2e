"""Leases on the shards, kept in the store: how replicas on one database divide the work, and how a stale one is refused.

Times are the database's; a replica's own deadline is the moment it asked plus the TTL, on its monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from detector.domain.incident import Incident
from detector.domain.share import Roll, Share
from detector.ports.store import Memory


@dataclass(frozen=True, slots=True)
class Tenure:
    """What one round left: epoch by shard for what is held, and the heartbeats of all live replicas (name -> blind)."""

    epochs: Mapping[int, int] = field(default_factory=dict)
    replicas: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An opening that somebody claimed and never recorded, whose key was resolved since: it may have arrived after the resolve."""

    notice: str
    incident: str
    key: str


class Registry(Protocol):
    """All methods raise TemporaryError and PermanentError as the store does."""

    @property
    def exclusive(self) -> bool:
        """Whether this process has the store to itself: then it holds every shard, always, and nobody else's commits appear."""

    @property
    def holder(self) -> str:
        """The name of this process in the leases."""

    async def keep(
        self,
        plan: Callable[[Roll], Share],
        ttl_seconds: float,
        *,
        give: Collection[int] = (),
        blind: bool = False,
        going: bool = False,
    ) -> Tenure:
        """One round: give up `give`, put off the end of what is held, beat, and take what `plan` wants of what is free.

        `going`: be counted no more instead of beating, so that the others' shares grow.
        """

    async def release(self) -> None:
        """Give everything up at once, and be counted no more."""

    async def load_alerts(self, rules: Collection[str] | str) -> Memory:
        """Alert states and progress of these rules, as last written by whoever; a string is what their names begin with."""

    async def read_sign(self) -> tuple[int, bool]:
        """A number that grows with every commit of anybody, and whether a shard is free."""

    async def read_book(self) -> tuple[int, Mapping[str, Incident]]:
        """The revision, and the incidents that `load` gives, of one moment."""

    async def list_doubts(self, resolved_before: float) -> Sequence[Doubt]:
        """Openings in doubt of keys whose resolve was accepted before that moment (unix seconds)."""

    async def settle_doubts(self, notices: Collection[str]) -> None:
        """These need no further thought."""
