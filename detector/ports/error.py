"""The two ways an outside thing fails: worth another try, or not."""

from __future__ import annotations


class OutsideError(Exception):
    """An outside thing did not do what it was asked. The message is one line, without secrets."""


class TemporaryError(OutsideError):
    """Worth another try. `retry_after_seconds` is what the other side asked for, None where it said nothing.

    `attempted` False means that the request surely never reached the other side. `credential`: what it was sent with, where it may
    have taken effect unseen and must be ended with the same.
    """

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, attempted: bool = True, credential: str = ""
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.attempted = attempted
        self.credential = credential


class PermanentError(OutsideError):
    """Will fail the same way again: the request is wrong, or a setting is."""


class CursorError(PermanentError, ValueError):
    """A cursor that no page of the list gave: whoever asks begins again without one."""


class SettingsError(TemporaryError):
    """A setting or a proxy is wrong (401, 403, 404, 3xx, 200 for 202): tell others at once, retry slowly, never drop."""


class ThrottledError(TemporaryError):
    """Our own rate limit held the request back: it was not attempted, and `retry_after_seconds` is always given."""


class NotOursError(Exception):
    """A notice must not leave from here: another replica may be sending it. Nothing was sent."""


class StaleLeaseError(Exception):
    """What was to be written was worked out under leases that no longer stand. `shards`: whose. No fault of the store's."""

    def __init__(self, shards: frozenset[int]) -> None:
        super().__init__(f"another replica leads {len(shards)} of the shards")
        self.shards = shards
