"""Watches whether the daemon sees anything at all; its finding is committed like any alert's (step 3a for the daemon itself)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.blind import BlindState, advance_blind
from detector.domain.incident import BLIND_ID, Incident

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.app.committer import Committer
    from detector.app.roster import Roster

BLIND_AFTER_SECONDS = 120.0


class Sentinel:
    """Judges blindness after every evaluation of any rule."""

    def __init__(self, roster: Roster, committer: Committer, *, blind_after_seconds: float = BLIND_AFTER_SECONDS) -> None:
        self._roster = roster
        self._committer = committer
        self._blind_after_seconds = blind_after_seconds
        self._state = BlindState()
        self._committing = False

    @property
    def blind(self) -> bool:
        """Whether the blind incident is open."""
        return self._state.active

    def find_fault(self) -> str:
        """Why we must be thought blind; "" while some rule has series."""
        return "" if self._roster.answering() and not self.blind else "no rule gets an answer"

    def restore(self, incidents: Mapping[str, Incident]) -> None:
        """Go on being blind where the last process was."""
        incident = incidents.get(BLIND_ID)
        if incident is not None and any(alert.firing for alert in incident.alerts.values()):
            self._state = BlindState(active=True, since=incident.opened, seconds=self._blind_after_seconds)

    async def look(self, now: float, why: str) -> None:
        """Judge the health of all rules at wall time `now`; `why` is the last failure in one line."""
        if self._committing:
            return
        if not self._state.active and self._state.since is None and self._roster.answering():
            return  # nothing to count: the usual case does not look at every rule
        state, transition = advance_blind(self._state, self._roster.health(), now, self._blind_after_seconds, why)
        if transition is None:
            self._state = state
            return
        self._committing = True
        try:
            await self._committer.submit((), (transition,), lambda: self._swap(state))
        finally:
            self._committing = False

    def _swap(self, state: BlindState) -> None:
        self._state = state
