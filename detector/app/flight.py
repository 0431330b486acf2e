"""One delivery under way, and a bounded memory of what was."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from detector.domain.incident import PAGERDUTY, NoticeKind
from detector.domain.severity import Severity
from detector.ports.store import Delivery

if TYPE_CHECKING:
    from collections import OrderedDict


T = TypeVar("T")

OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})
HELD_GRACE_SECONDS = 60.0
REMEMBERED_KEYS = 10_000


@dataclass(slots=True)
class Flight:
    """One delivery under way. `stored`: it has a row; `held`: that row is claimed and brings a retry back. Both may become true."""

    delivery: Delivery
    stored: bool
    held: bool
    order: int
    task: asyncio.Task[None] | None = None


def is_grave_page(delivery: Delivery) -> bool:
    """What each of several replicas may send by itself while nobody reaches the store: PagerDuty makes one alert of them."""
    return delivery.channel == PAGERDUTY and delivery.kind in OPENING and delivery.severity >= Severity.HIGH


def remember(memory: OrderedDict[str, T], key: str, value: T) -> None:
    """Keep the value; the oldest goes beyond the limit."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED_KEYS:
        memory.popitem(last=False)
