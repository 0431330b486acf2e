"""The last hour of the signal that a rule is about: a ring in memory, filled by the daemon's own evaluations.

Before it: `evaluation`, which has the values in hand, so that nothing is asked of Prometheus for it. After it: the console.
"""

from __future__ import annotations

from array import array
from math import nan
from typing import TYPE_CHECKING

from detector.domain.plot import choose_watched
from detector.ports.query import RuleTrail

if TYPE_CHECKING:
    from detector.domain.plot import Watched
    from detector.domain.reading import Readings
    from detector.domain.rule import Rule

BUCKET_SECONDS = 30.0
BUCKETS = 120
LEAST_SECONDS = 300.0  # so much is shown when less is known


class Trail:
    """One rule's: of every half minute the worst value over all its alerts, and its last failure. A kilobyte."""

    __slots__ = ("_bucket", "_fault", "_fault_at", "_rule", "_values", "_watched")

    def __init__(self) -> None:
        self._values: array[float] = array("d")
        self._bucket = 0
        self._rule: Rule | None = None
        self._watched: Watched | None = None
        self._fault = ""
        self._fault_at: float | None = None

    def add(self, rule: Rule, readings: Readings, at: float) -> None:
        """Take in one evaluation."""
        if rule is not self._rule:  # reloaded: the same signal goes on, another begins anew
            watched, before = choose_watched(rule), self._watched
            if before is not None and (watched is None or watched.signal != before.signal):
                self._values = array("d")
            self._rule, self._watched = rule, watched
        watched = self._watched
        column = None if watched is None else readings.columns.get(watched.signal)
        if watched is None or column is None or not column.values:
            return
        self._put(min(column.values.values()) if watched.falling else max(column.values.values()), at, falling=watched.falling)

    def fail(self, fault: str, at: float) -> None:
        """The evaluation failed."""
        self._fault, self._fault_at = fault, at

    def show(self, now: float) -> RuleTrail:
        """What is left of the last hour."""
        watched = self._watched
        last = int(now // BUCKET_SECONDS)
        points = [
            ((bucket + 0.5) * BUCKET_SECONDS, value)
            for bucket in range(last - BUCKETS + 1, min(last, self._bucket) + 1)
            if bucket > self._bucket - BUCKETS and self._values and (value := self._values[bucket % BUCKETS]) == value
        ]
        return RuleTrail(
            signal="" if watched is None else watched.signal,
            limits=() if watched is None else watched.limits,
            begin=max(now - BUCKETS * BUCKET_SECONDS, min(now - LEAST_SECONDS, points[0][0] if points else now)),
            end=now,
            points=tuple(points),
            fault=self._fault,
            fault_at=self._fault_at,
        )

    def _put(self, value: float, at: float, *, falling: bool) -> None:
        bucket = int(at // BUCKET_SECONDS)
        if not self._values:
            self._values = array("d", [nan]) * BUCKETS
            self._bucket = bucket
        elif bucket > self._bucket:
            for skipped in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
                self._values[skipped % BUCKETS] = nan
            self._bucket = bucket
        elif bucket <= self._bucket - BUCKETS:
            return  # the wall clock went back by an hour
        known = self._values[bucket % BUCKETS]
        if known != known or (value < known if falling else value > known):  # noqa: PLR0124 - NaN
            self._values[bucket % BUCKETS] = value
