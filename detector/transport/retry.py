"""When the other side wants to be asked again: the Retry-After header, as every destination may send it.

Before it: `exchange` brought a reply that says no. After it: the adapter's TemporaryError carries the seconds.
"""

from __future__ import annotations

import email.utils
import math

LONGEST_RETRY_AFTER_SECONDS = 300.0


def read_retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or an HTTP date, at most 5 minutes; None where it is not usable."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError, TypeError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
