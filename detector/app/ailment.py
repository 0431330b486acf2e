"""What ails the daemon itself, told like any incident: rules refused at start, a store that was moved aside or does not answer.

Each is an alert of the service "detector" with the fixed rule name given here; `correlate` opens and resolves its incident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.ailment import Ailment
from detector.domain.alert import AlertState, Change, EndReason, Phase, Transition
from detector.domain.incident import OWN_SERVICE
from detector.domain.label import NO_LABELS
from detector.domain.quantity import format_count
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.committer import Committer
    from detector.ports.clock import Clock


STORE_DOWN_AFTER_SECONDS = 60.0  # a restart of PostgreSQL is shorter
STORE_RESET_SECONDS = 60.0  # told as long: what was lost does not come back, and somebody should look at what was moved aside
LOOK_SECONDS = 5.0


class Complaint:
    """Opens and ends the daemon's incidents about itself; doing either twice changes nothing."""

    def __init__(self, committer: Committer, clock: Clock) -> None:
        self._committer = committer
        self._clock = clock
        self._failing_since: float | None = None
        self._moved: str | None = None
        self._reset_until = float("-inf")

    async def begin(self, ailment: Ailment, summary: str) -> None:
        """Page about it, as MEDIUM: the daemon still does its job, on old rules or without its past."""
        if not self._is_open(ailment):
            await self._committer.submit((), (self._make(ailment, Change.FIRED, summary, ""),))

    async def end(self, ailment: Ailment) -> None:
        """It is over; nothing happens where it was never told."""
        if self._is_open(ailment):
            await self._committer.submit((), (self._make(ailment, Change.ENDED, "", EndReason.RECOVERED.value),))

    async def judge_rules(self, findings: Sequence[str], *, used_last_good: bool) -> str:
        """Page about a start on the last good rules, or end that; what to log, "" where the rules are good."""
        if not used_last_good:
            await self.end(Ailment.RULES_REFUSED)
            return ""
        why = f"{format_count(len(findings), 'finding')}, first: {findings[0] if findings else 'none'}"
        await self.begin(Ailment.RULES_REFUSED, f"detector started on its last good rules: {why}")
        return f"the last good set runs: {why}"

    async def watch_store(self) -> None:
        """Page when the store could not be written for a minute, and end that when it can. Guard this.

        A corrupt file that was moved aside is a page of its own, for a minute.
        """
        while True:
            await self._judge_reset(self._committer.moved)
            await self._clock.sleep(LOOK_SECONDS)
            if not self._committer.failing:
                self._failing_since = None
                await self.end(Ailment.STORE_DOWN)
                continue
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
            failing_seconds = self._clock.monotonic() - self._failing_since
            if failing_seconds >= STORE_DOWN_AFTER_SECONDS:
                await self.begin(
                    Ailment.STORE_DOWN,
                    "detector cannot write its store: pages go out from memory, nobody can acknowledge; the log says why",
                )

    async def _judge_reset(self, moved: str | None) -> None:
        if moved is not None and moved != self._moved:
            self._moved, self._reset_until = moved, self._clock.monotonic() + STORE_RESET_SECONDS
            await self.begin(
                Ailment.STORE_RESET,
                f"detector's store was corrupt: moved to {moved}, begun anew with what could be saved; incidents may be missing",
            )
        elif self._clock.monotonic() >= self._reset_until:
            await self.end(Ailment.STORE_RESET)

    def _is_open(self, ailment: Ailment) -> bool:
        return any(
            alert.rule == ailment.value and alert.firing
            for incident in self._committer.book.incidents.values()
            for alert in incident.alerts.values()
        )

    def _make(self, ailment: Ailment, change: Change, summary: str, reason: str) -> Transition:
        now = self._clock.now()
        state = AlertState(NO_LABELS, Phase.FIRING, breached=now, fired=now, severity=Severity.MEDIUM)
        return Transition(
            change, ailment.value, NO_LABELS, now, OWN_SERVICE, state, summary=summary, reason=reason, watch_seconds=0.0
        )
