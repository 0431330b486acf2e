"""Where post-mortems lie once they are written: documents that people go on editing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from detector.domain.incident import Event
from detector.domain.postmortem import Curve, Facts


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One line under "Follow-up" of a document; `done` where its box is ticked."""

    incident: str
    text: str
    done: bool


class Archive(Protocol):
    """Blocks: call it in a thread. Raises TemporaryError where the disk does not take or give it."""

    def write(self, facts: Facts) -> str:
        """Write document and plot, and say where. What people have changed is never written over: a further file gets a number."""

    def amend(self, incident: str, events: Sequence[Event]) -> bool:
        """Add what people said after the draft, each line once; False where there is none or somebody has edited it."""

    def read(self, incident: str) -> str | None:
        """Text of the newest document of the incident, None where there is none."""

    def draw(self, incident: str) -> str | None:
        """Its plot as SVG."""

    def read_curves(self, incident: str) -> Sequence[Curve]:
        """The signals that its newest plot shows; empty where none were kept."""

    def list_follow_ups(self) -> Sequence[FollowUp]:
        """Of all documents, newest document first."""
