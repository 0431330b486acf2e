"""Joins what answers ports.aid.Aid: mitigations and what is learned afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.mitigator import Mitigator
    from detector.domain.incident import Incident
    from detector.domain.mitigation import Offer


class FirstAid:
    """Implements ports.aid.Aid."""

    def __init__(self, mitigator: Mitigator) -> None:
        self._mitigator = mitigator

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """What can be run."""
        return await self._mitigator.list_offers(incident)

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Start one."""
        return await self._mitigator.start(incident, name, by, again=again)
