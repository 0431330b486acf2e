"""Maintenance windows as rule files declare them: alerts that match are muted inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """Either recurring (`rrule` with `lasts_seconds`, in the IANA zone `tz`) or single (`start` to `end`, unix seconds).

    `match`: every named label has one of the values.
    """

    match: Mapping[str, tuple[str, ...]]
    rrule: str = ""
    lasts_seconds: float = 0.0
    tz: str = "UTC"
    start: float | None = None
    end: float | None = None
    reason: str = ""
