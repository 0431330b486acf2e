"""A look from outside at whether a service is well: asked once its metrics have recovered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What is asked, and what passes: one of the statuses, and the text in the answer where one is wanted."""

    url: str
    expect: tuple[int, ...] = (200,)
    contains: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether it passed, and one line for the ticket."""

    ok: bool
    message: str


class Probe(Protocol):
    """Never raises for outside faults: a fault is a result that did not pass."""

    async def check(self, target: ProbeTarget) -> ProbeResult:
        """Ask once, within the probe's own deadline."""

    async def close(self) -> None:
        """Release connections; idempotent."""
