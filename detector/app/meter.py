"""A source whose requests are measured: stands between the query cache and the real source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.outcome import Outcome, QueryFailed, RangeOutcome

if TYPE_CHECKING:
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.source import SampleSource


class MeteredSource:
    """Implements ports.source.SampleSource by asking another one and telling the observer how long it took."""

    def __init__(self, source: SampleSource, clock: Clock, observer: Observer) -> None:
        self._source = source
        self._clock = clock
        self._observer = observer

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """Instant query, measured."""
        began = self._clock.monotonic()
        outcome = await self._source.query(expr, at, deadline_seconds=deadline_seconds)
        self._tell(began, outcome)
        return outcome

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """Range query, measured."""
        began = self._clock.monotonic()
        outcome = await self._source.query_range(expr, start, end, step_seconds, deadline_seconds=deadline_seconds)
        self._tell(began, outcome)
        return outcome

    def _tell(self, began: float, outcome: Outcome | RangeOutcome) -> None:
        failure = outcome.reason.value if isinstance(outcome, QueryFailed) else None
        self._observer.query_done(self._clock.monotonic() - began, failure)
