"""The rate at one routing key: who may pass now, and when the others should come back.

Before it: the dispatcher offers notices, critical first. After it: the request. PagerDuty allows about 120 events a minute and
key, in a sliding window ("Events API v2 Overview", rate limits): 100 a minute with a burst of 20 stays inside whatever the window
sees. A part of both is a reserve for resolves and critical triggers, so that they never wait behind the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from detector.transport.bucket import TokenBucket

_INTERVAL_SECONDS = 0.6
_LATE_SECONDS = 1.0
_SHARED_PER_MINUTE, _SHARED_BURST = 90.0, 15
_RESERVE_PER_MINUTE, _RESERVE_BURST = 10.0, 5
# Who waits looks again within this time: those before it may have collapsed.
_LONGEST_WAIT_SECONDS = {True: 2.0, False: 10.0}


@dataclass(slots=True)
class Turnstile:
    """Times are seconds of one clock, always the same. Whoever waits is remembered by id, so that returns are spread out."""

    _shared: TokenBucket = field(default_factory=lambda: TokenBucket(_SHARED_PER_MINUTE, _SHARED_BURST))
    _reserve: TokenBucket = field(default_factory=lambda: TokenBucket(_RESERVE_PER_MINUTE, _RESERVE_BURST))
    _waiting: dict[str, tuple[bool, float]] = field(default_factory=dict)
    _began: float | None = None

    def pass_through(self, identity: str, now: float, *, urgent: bool) -> float:
        """Return 0.0 where `identity` may pass, else the seconds after which it should ask again."""
        if self._began is None:
            self._began = now
        now -= self._began  # unix seconds are too coarse a double to add up a burst of fractions
        self._forget(now)
        ahead = sum(1 for each, (is_urgent, _) in self._waiting.items() if each != identity and is_urgent >= urgent)
        urgent_ones_wait = any(is_urgent for is_urgent, _ in self._waiting.values())
        wait_seconds = _INTERVAL_SECONDS if not urgent and urgent_ones_wait else self._shared.take(now)
        if wait_seconds > 0 and urgent:
            wait_seconds = min(wait_seconds, self._reserve.take(now))
        if wait_seconds <= 0:
            self._waiting.pop(identity, None)
            return 0.0
        wait_seconds = min(wait_seconds + ahead * _INTERVAL_SECONDS, _LONGEST_WAIT_SECONDS[urgent])
        self._waiting[identity] = (urgent, now + wait_seconds)
        return wait_seconds

    def _forget(self, now: float) -> None:
        """Drop who did not come back in time, and who waits for a moment that a clock set back made far."""
        latest = now + max(_LONGEST_WAIT_SECONDS.values())
        self._waiting = {each: entry for each, entry in self._waiting.items() if now - _LATE_SECONDS <= entry[1] <= latest}
