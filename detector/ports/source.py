"""Where samples come from: anything that speaks Prometheus' query API."""

from __future__ import annotations

from typing import Protocol

from detector.domain.outcome import MatrixOutcome, Outcome, RangeOutcome


class SampleSource(Protocol):
    """Never raises for outside faults: a failure is an Outcome."""

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """Instant query at unix seconds `at`, cut at the deadline."""

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """Range query over [start, end]."""


class PastSource(SampleSource, Protocol):
    """A source that also tells a long past at once. Never raises for outside faults."""

    async def query_matrix(
        self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float
    ) -> MatrixOutcome:
        """What instant queries at start, start + step, ... (`count` of them) would answer."""
