"""What the web side asks for beyond reading and answering: mitigations, post-mortems, the trail of an incident, a drill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from detector.domain.check import Diagnosis
from detector.domain.exercise import DrillReport
from detector.domain.incident import Incident
from detector.domain.mitigation import Offer
from detector.domain.postmortem import Hop, Lesson
from detector.ports.postmortem import FollowUp


class Aid(Protocol):
    """All raise domain.response.ResponseError where something can't be done, TemporaryError while store or disk fail."""

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """Mitigations of the incident's service, the one to try first standing first."""

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Start one; what comes of it goes into the timeline."""

    async def read_postmortem(self, incident: str) -> tuple[str | None, str | None, Lesson | None]:
        """Its Markdown, its plot as SVG, and where it stands; None where there is none."""

    async def finish_postmortem(self, incident: str, by: str) -> Lesson:
        """Somebody has filled it in."""

    async def list_follow_ups(self) -> Sequence[FollowUp]:
        """Of all post-mortems, the newest document first."""

    async def start_drill(self, by: str) -> DrillReport:
        """Begin a drill."""

    async def read_drill(self) -> tuple[DrillReport | None, float | None]:
        """The last one since the start, and when one last passed."""

    async def list_hops(self, incident: str) -> Sequence[Hop]:
        """How each notice of the incident fared, in the order they were queued."""

    async def diagnose(self, service: str, at: float | None) -> Diagnosis:
        """The usual causes at a moment (None: now), and the suspects. One at a time: it asks Prometheus much."""
