"""Token bucket: how long a caller must wait before the next request to a destination.

Before it on the path: a delivery queue that already chose which notice is most urgent. After it: `exchange`.
Kept as one number, the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), so that waiting exactly the
returned time is always enough: a stored fraction of a token would drift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# A unix time of today as a double has steps of 0.24 microseconds; a wait shorter than that could not be waited.
_ROUNDING_SECONDS = 1e-6


@dataclass(slots=True)
class TokenBucket:
    """`rate_per_minute` requests on average, `burst` at once. Any minute sees at most `rate_per_minute + burst` of them."""

    rate_per_minute: float
    burst: int = 1
    _arrival: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Refuse a bucket that could never give."""
        if not self.rate_per_minute > 0 or self.burst < 1:
            raise ValueError(f"token bucket: rate_per_minute {self.rate_per_minute} and burst {self.burst} must be above zero")

    def take(self, now: float) -> float:
        """Take a token and return 0.0, or take none and return the seconds after which one will be there.

        `now` is any clock in seconds, always the same one; a clock set back only makes the caller wait, at most until the bucket's
        whole content has come back.
        """
        interval_seconds = 60.0 / self.rate_per_minute
        full_seconds = interval_seconds * self.burst
        # A clock set back by more than the bucket can owe would block for as long as the jump.
        arrival = min(max(self._arrival, now), now + full_seconds)
        wait_seconds = arrival + interval_seconds - full_seconds - now
        if wait_seconds > _ROUNDING_SECONDS:
            self._arrival = arrival
            return wait_seconds
        self._arrival = arrival + interval_seconds
        return 0.0
