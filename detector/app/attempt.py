"""What comes of one attempt to deliver: accepted, to be tried again at a moment, or rejected. A value, decided in one place.

Before it: a channel returned a receipt or raised. After it: the dispatcher writes the outcome into the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_random_exponential

from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.ports.store import Delivery, DeliveryState

if TYPE_CHECKING:
    from detector.ports.channel import Receipt

BASE_SECONDS = 1.0
LONGEST_SECONDS = 60.0
SETTINGS_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 300.0

_BACKOFF = wait_random_exponential(multiplier=BASE_SECONDS, max=LONGEST_SECONDS)
_RETRYING = Retrying()


@dataclass(slots=True)
class Outcome:
    """The end of one attempt. `stored`: its row is in the outbox, so that the outcome can be written there.

    `word` is the metric's outcome, "" for what was no attempt. `failing`: other roads should be tried now; `lost`: the lease ended.
    """

    delivery: Delivery
    state: DeliveryState
    at: float
    stored: bool
    word: str
    retry_at: float | None = None
    detail: str = ""
    credential: str = field(default="", repr=False)
    failing: bool = False
    lost: bool = False


def accept(delivery: Delivery, receipt: Receipt, at: float, *, stored: bool) -> Outcome:
    """The destination has it."""
    return Outcome(delivery, DeliveryState.ACCEPTED, at, stored, "accepted", detail=receipt.note, credential=receipt.credential)


def give_back(delivery: Delivery, at: float, why: str) -> Outcome:
    """It was claimed here and did not leave; its row is for whoever leads its shard, at once."""
    return Outcome(delivery, DeliveryState.QUEUED, at, stored=True, word="", retry_at=at, detail=why, lost=True)


def judge(
    delivery: Delivery, error: Exception, at: float, *, stored: bool, failures: int, fallback_after_seconds: float
) -> Outcome:
    """What an error means. `failures` counts this one. What is no OutsideError is a fault of ours, and tried again all the same."""
    detail = str(error) if isinstance(error, OutsideError) else _describe_fault(error)
    if isinstance(error, PermanentError):
        return Outcome(delivery, DeliveryState.REJECTED, at, stored, "rejected", detail=detail, failing=True)
    since = delivery.created if delivery.first_attempt is None else delivery.first_attempt
    is_late = at - since >= fallback_after_seconds
    is_unattempted = isinstance(error, TemporaryError) and not error.attempted
    return Outcome(
        delivery,
        DeliveryState.QUEUED if is_unattempted else DeliveryState.CLAIMED,
        at,
        stored,
        "" if isinstance(error, ThrottledError) else "retried",
        retry_at=at + _choose_delay(error, failures),
        detail=detail,
        credential=error.credential if isinstance(error, TemporaryError) and error.attempted else "",
        failing=is_late or isinstance(error, SettingsError) or not isinstance(error, OutsideError),
    )


def compute_backoff(failures: int) -> float:
    """Seconds to wait after that many failures: exponential with full jitter."""
    state = RetryCallState(_RETRYING, fn=None, args=(), kwargs={})
    state.attempt_number = max(1, failures)
    return float(_BACKOFF(state))


def _choose_delay(error: Exception, failures: int) -> float:
    if isinstance(error, SettingsError):
        return SETTINGS_SECONDS
    backoff_seconds = compute_backoff(failures)
    if not isinstance(error, TemporaryError) or error.retry_after_seconds is None:
        return backoff_seconds
    asked_seconds = min(max(error.retry_after_seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
    if isinstance(error, ThrottledError):
        return asked_seconds
    # Who was told to come back in zero seconds still backs off.
    return max(asked_seconds, backoff_seconds)


def _describe_fault(error: Exception) -> str:
    """Kind and place only: the message of a fault nobody foresaw may quote a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else ""
    return f"a fault in the channel: {type(error).__name__}{place}; please report it"
