"""A destination on virtual time that breaks as networks do, and remembers what took effect there.

Stands where a channel's adapter is. `Pager` keeps alerts as PagerDuty does: by routing key and dedup key; a resolve through another
key, or of nothing open, is dropped in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from detector.domain.incident import NoticeKind
from detector.ports.channel import Receipt
from detector.ports.error import SettingsError, TemporaryError
from detector.ports.store import Delivery
from tests.kit.clock import VirtualClock

HANG_SECONDS = 4.0
OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})


class Trouble(Enum):
    """How an attempt ends: accepted, never left, refused before or after it took effect, hung likewise, or set up wrongly."""

    NONE = "none"
    REFUSED = "refused"
    FAILED = "failed"
    LOST = "lost"
    HANGS = "hangs"
    HANGS_AND_TAKES = "hangs and takes"
    SETTINGS = "settings"


@dataclass
class Destination:
    """`taken`: what took effect, in order; `accepted`: ids of what we were told was taken, in order."""

    name: str
    clock: VirtualClock
    trouble: Trouble = Trouble.NONE
    taken: list[Delivery] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    attempts: int = 0

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """Play the trouble of this moment."""
        del now
        self.attempts += 1
        trouble, used = self.trouble, self.choose(delivery)
        match trouble:
            case Trouble.REFUSED:
                raise TemporaryError("refused", attempted=False)
            case Trouble.SETTINGS:
                raise SettingsError("401", attempted=False)
            case Trouble.HANGS | Trouble.HANGS_AND_TAKES:
                if trouble is Trouble.HANGS_AND_TAKES:
                    self.take(delivery)
                await self.clock.sleep(HANG_SECONDS)
                raise TemporaryError("no answer", credential=used)
            case Trouble.FAILED:
                raise TemporaryError("500", credential=used)
            case _:
                self.take(delivery)
        if trouble is Trouble.LOST:
            raise TemporaryError("the connection was lost", credential=used)
        self.accepted.append(delivery.id)
        return Receipt(credential=used)

    async def close(self) -> None:
        """Nothing to release."""

    def choose(self, delivery: Delivery) -> str:
        """The credential it is sent with."""
        del delivery
        return ""

    def take(self, delivery: Delivery) -> None:
        """It takes effect."""
        self.taken.append(delivery)


@dataclass
class Pager(Destination):
    """`open`: (routing key, dedup key) of the alerts that stand open; `faults`: what should never have happened, in words."""

    routing_key: str = "key-1"
    open: set[tuple[str, str]] = field(default_factory=set)
    resolved: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def choose(self, delivery: Delivery) -> str:
        """The key that opened it, else the one that is set now."""
        return delivery.credential or self.routing_key

    def take(self, delivery: Delivery) -> None:
        """As PagerDuty: a trigger opens or adds a line, a resolve ends what is open under that very key."""
        super().take(delivery)
        used = self.choose(delivery)
        if delivery.kind in OPENING:
            if delivery.key in self.resolved:
                self.faults.append(f"{delivery.kind} after the resolve of {delivery.key}")
            if any(key == delivery.key and routing != used for routing, key in self.open):
                self.faults.append(f"{delivery.key} opened through two routing keys")
            self.open.add((used, delivery.key))
        elif delivery.kind is NoticeKind.RESOLVE:
            self.resolved.add(delivery.key)
            if any(key == delivery.key and routing != used for routing, key in self.open):
                self.faults.append(f"the resolve of {delivery.key} went through another routing key and was dropped")
            self.open.discard((used, delivery.key))
