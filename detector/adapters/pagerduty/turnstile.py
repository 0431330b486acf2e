"""The rate at one routing key: who may pass now, and when the others should come back.

Before it: the dispatcher offers notices, severe ones first. After it: the request. PagerDuty allows about 120 events a minute and
key, in a sliding window ("Events API v2 Overview", rate limits): 100 a minute with a burst of 20 stays inside whatever the window
sees. A part of both is a reserve for resolves and critical triggers, so that they never wait behind the rest; and whoever comes
back passes only where nobody more pressing waits, so that a HIGH page overtakes all that came before it and is milder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from detector.transport.bucket import TokenBucket

_INTERVAL_SECONDS = 0.6
_LATE_SECONDS = 1.0
_SHARED_PER_MINUTE, _SHARED_BURST = 90.0, 15
_RESERVE_PER_MINUTE, _RESERVE_BURST = 10.0, 5
# Who waits looks again within this time: those before it may have collapsed.
_LONGEST_WAIT_SECONDS, _LONGEST_URGENT_WAIT_SECONDS = 10.0, 2.0


class Pressure(IntEnum):
    """Who goes before whom. URGENT: resolves and CRITICAL, for whom the reserve is, too."""

    USUAL = 0
    HIGH = 1
    URGENT = 2


@dataclass(slots=True)
class Turnstile:
    """Times are seconds of one clock, always the same. Whoever waits is remembered by id, so that returns are spread out."""

    _shared: TokenBucket = field(default_factory=lambda: TokenBucket(_SHARED_PER_MINUTE, _SHARED_BURST))
    _reserve: TokenBucket = field(default_factory=lambda: TokenBucket(_RESERVE_PER_MINUTE, _RESERVE_BURST))
    _waiting: dict[str, tuple[Pressure, float]] = field(default_factory=dict)
    _began: float | None = None

    def pass_through(self, identity: str, now: float, pressure: Pressure) -> float:
        """Return 0.0 where `identity` may pass, else the seconds after which it should ask again."""
        if self._began is None:
            self._began = now
        now -= self._began  # unix seconds are too coarse a double to add up a burst of fractions
        self._forget(now)
        others = [each for name, (each, _) in self._waiting.items() if name != identity]
        ahead = sum(each >= pressure for each in others)
        overtaken = any(each > pressure for each in others)
        urgent = pressure is Pressure.URGENT
        wait_seconds = _INTERVAL_SECONDS if overtaken else self._shared.take(now)
        if wait_seconds > 0 and urgent:
            wait_seconds = min(wait_seconds, self._reserve.take(now))
        if wait_seconds <= 0:
            self._waiting.pop(identity, None)
            return 0.0
        longest = _LONGEST_URGENT_WAIT_SECONDS if urgent else _LONGEST_WAIT_SECONDS
        wait_seconds = min(wait_seconds + ahead * _INTERVAL_SECONDS, longest)
        self._waiting[identity] = (pressure, now + wait_seconds)
        return wait_seconds

    def _forget(self, now: float) -> None:
        """Drop who did not come back in time, and who waits for a moment that a clock set back made far."""
        latest = now + _LONGEST_WAIT_SECONDS
        self._waiting = {each: entry for each, entry in self._waiting.items() if now - _LATE_SECONDS <= entry[1] <= latest}
