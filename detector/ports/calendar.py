"""Maintenance windows as code, turned into the mutes that hold around a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from detector.domain.maintenance import MaintenanceWindow
from detector.domain.mute import Mute


class Calendar(Protocol):
    """Knows recurrence rules and time zones."""

    def find_mutes(self, windows: Sequence[MaintenanceWindow], now: float) -> tuple[Mute, ...]:
        """The occurrences that hold at `now` or begin within a day after it, soonest end first."""
