"""What the web side asks for beyond reading and answering: mitigations, post-mortems, the trail of an incident, a drill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from detector.domain.incident import Incident
from detector.domain.mitigation import Offer


class Aid(Protocol):
    """All raise domain.response.ResponseError where something can't be done, TemporaryError while the store fails."""

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """Mitigations of the incident's service, the one to try first standing first."""

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Start one; what comes of it goes into the timeline."""
