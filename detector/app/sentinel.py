"""Watches whether the daemon sees anything at all; its finding is committed like any alert's (step 3a for the daemon itself)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.alert import Change
from detector.domain.blind import BlindState, RuleHealth, advance_blind
from detector.domain.incident import BLIND_ID, Incident

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.app.committer import Committer
    from detector.app.lease import LeaseKeeper
    from detector.app.roster import Roster

BLIND_AFTER_SECONDS = 120.0


class Sentinel:
    """Judges blindness after every evaluation of any rule."""

    def __init__(
        self,
        roster: Roster,
        committer: Committer,
        *,
        blind_after_seconds: float = BLIND_AFTER_SECONDS,
        keeper: LeaseKeeper | None = None,
    ) -> None:
        self._keeper = keeper
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
        """Why we must be thought blind; "" while some rule has series, or others evaluate them all."""
        if not (self._is_alone or self.blind or any(each is not RuleHealth.IDLE for each in self._roster.health())):
            return ""
        return "" if self._roster.answering() and not self.blind else "no rule gets an answer"

    async def take_over(self, incidents: Mapping[str, Incident], now: float) -> None:
        """End the blindness of a replica that is no more; called where this one leads it, on what others committed."""
        if self._state.active or self._committing or (self._keeper is not None and self._keeper.others_blind):
            return
        self.restore(incidents)
        if self._state.active:
            await self.look(now, "")

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
        if transition is None or (transition.change is Change.ENDED and self._keeper is not None and self._keeper.others_blind):
            self._state = state
            return
        self._committing = True
        try:
            await self._committer.submit((), (transition,), lambda: self._swap(state))
        finally:
            self._committing = False

    @property
    def _is_alone(self) -> bool:
        return self._keeper is None or self._keeper.exclusive

    def _swap(self, state: BlindState) -> None:
        self._state = state
