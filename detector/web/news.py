"""What the console wants to know and only an observer hears: that something changed, and how each channel delivers.

Before it: `metrics`, the observer. After it: the console's stream of events and its page of deliveries. In memory: a restart
begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from detector.ports.store import Backlog, Delivery

FAULTS = frozenset({"retried", "rejected"})
DETAIL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ChannelNews:
    """One channel: its queue as it was last seen, and how its last attempts ended (unix seconds, None: none since the start)."""

    name: str
    depth: int = 0
    oldest: float | None = None
    accepted: float | None = None
    failed: float | None = None
    failure: str = ""
    failed_incident: str = ""

    @property
    def ill(self) -> bool:
        """Whether its last attempt failed."""
        return self.failed is not None and (self.accepted is None or self.failed > self.accepted)


class News:
    """`revision` grows with everything that a reader should see at once. Call from the loop's thread only."""

    def __init__(self, channels: Iterable[str] = ()) -> None:
        self.revision = 0
        self._channels = {name: ChannelNews(name) for name in channels}

    @property
    def channels(self) -> list[ChannelNews]:
        """Every channel that is configured or was heard of, by name."""
        return [self._channels[name] for name in sorted(self._channels)]

    def ring(self) -> None:
        """Something changed."""
        self.revision += 1

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """An attempt ended, as ports.observer.Observer tells."""
        known = self._find(delivery.channel)
        if outcome == "accepted":
            self._channels[known.name] = replace(known, accepted=at)
        elif outcome in FAULTS:
            words = f"{outcome}: {detail}"[:DETAIL_CHARACTERS]
            self._channels[known.name] = replace(known, failed=at, failure=words, failed_incident=delivery.incident)
        self.ring()

    def backlog_seen(self, backlog: Mapping[str, Backlog]) -> None:
        """Undelivered rows by channel; one that is not named has none."""
        for name in {*self._channels, *backlog}:
            row = backlog.get(name)
            known = self._find(name)
            self._channels[name] = replace(known, depth=row.depth if row else 0, oldest=row.oldest if row else None)

    def _find(self, channel: str) -> ChannelNews:
        return self._channels.get(channel) or ChannelNews(channel)
