"""What the channel remembers between two sends: whose message stands where, what may have arrived already, and the pace.

Used by `channel` only. All of it may be lost: credentials come back from the outbox, the rest is looked up in Slack.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from detector.ports.error import ThrottledError
from detector.transport.bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from detector.ports.store import Delivery

_REMEMBERED = 10_000
_DOUBT = -1
# Slack: one message a second and channel, chat.update 50 a minute ("Rate limits", tier 3).
_POSTS = (60.0, 1)
_EDITS = (50.0, 5)
EDIT = "chat.update"

Sleep: TypeAlias = "Callable[[float], Awaitable[None]]"
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Handle:
    """One message: the channel's id and the message's timestamp, which is its id there."""

    channel: str
    ts: str

    def __str__(self) -> str:
        """As it stands in a Receipt's credential."""
        return f"{self.channel}:{self.ts}"

    @classmethod
    def parse(cls, credential: str | None) -> Handle | None:
        """The handle of a credential, None where that is none."""
        channel, colon, ts = (credential or "").partition(":")
        return cls(channel, ts) if colon and channel and ts else None


@dataclass(frozen=True, slots=True)
class Found:
    """A message of an incident that stands in Slack, and the notice that made it."""

    handle: Handle
    notice: str


@dataclass(slots=True)
class Threads:
    """Messages by key, newer than what the outbox may know: a message made anew is in use before its credential is stored."""

    _known: OrderedDict[str, tuple[str, Found]] = field(default_factory=OrderedDict)

    def find(self, delivery: Delivery) -> Found | None:
        """The message that the notice's incident has, as far as the outbox or this process knows."""
        stored = delivery.credential or ""
        replaced, found = self._known.get(delivery.key, ("", None))
        if found is not None and stored in {"", replaced}:
            return found
        handle = Handle.parse(stored)
        return Found(handle, "") if handle is not None else None

    def keep(self, delivery: Delivery, found: Found) -> None:
        """The incident's message is this one from now on."""
        _remember(self._known, delivery.key, (delivery.credential or "", found))


@dataclass(slots=True)
class Journal:
    """Which notices may stand in Slack already: those whose post had no clear answer, here or in a process that is gone."""

    _sure: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def is_doubtful(self, delivery: Delivery) -> bool:
        """Whether it must be looked up before it is posted. A claim that this process did not see was another's attempt."""
        last = self._sure.get(delivery.id)
        if last is None:
            return delivery.attempts > 0
        return last == _DOUBT or delivery.attempts > last + 1

    def settle(self, delivery: Delivery) -> None:
        """Nothing of it is in Slack that we do not know of."""
        _remember(self._sure, delivery.id, delivery.attempts)

    def doubt(self, delivery: Delivery) -> None:
        """A post is about to leave: until a refusal it counts as arrived."""
        _remember(self._sure, delivery.id, _DOUBT)


class Pace:
    """Waits so that Slack's rates are kept; who was told to come back later is held off without a request.

    `monotonic` and `sleep` are of one clock.
    """

    def __init__(self, monotonic: Callable[[], float], sleep: Sleep) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._ids: dict[str, str] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._held: dict[str, float] = {}

    def join(self, name: str, channel: str) -> None:
        """`name` is the channel with this id: one rate for both."""
        self._ids[name] = channel
        if (spent := self._buckets.pop(name, None)) is not None:
            self._buckets.setdefault(channel, spent)

    async def wait(self, method: str, channel: str) -> None:
        """Return when this call may leave; raises ThrottledError while the method is held off."""
        place = method if method == EDIT else self._ids.get(channel, channel)
        rate, burst = _EDITS if method == EDIT else _POSTS
        bucket = self._buckets.setdefault(place, TokenBucket(rate, burst))
        async with self._locks.setdefault(place, asyncio.Lock()):
            self._check(method)
            while (seconds := bucket.take(self._monotonic())) > 0:
                await self._sleep(seconds)
            self._check(method)

    def hold(self, method: str, seconds: float) -> None:
        """No call of this method for so long: Slack asked for it."""
        self._held[method] = self._monotonic() + seconds

    def _check(self, method: str) -> None:
        left_seconds = self._held.get(method, 0.0) - self._monotonic()
        if method in self._held and left_seconds > 0:
            raise ThrottledError(
                f"Slack: {method}: held back {left_seconds:.1f} s, as Slack asked",
                retry_after_seconds=left_seconds,
                attempted=False,
            )


def _remember(memory: OrderedDict[str, Value], key: str, value: Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
