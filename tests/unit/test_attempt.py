"""What an error means for the next attempt, and what may leave memory next."""

from __future__ import annotations

from typing import Any

import pytest

from detector.app.attempt import LONGEST_SECONDS, Outcome, compute_backoff, judge
from detector.app.spare import Spare, SpareQueue, lane_of
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.ports.store import DeliveryState
from tests.kit.delivery import OPENED, make_delivery


def judge_late(error: Exception, *, late_seconds: float = 0.0, failures: int = 1) -> Outcome:
    """The outcome of an error that long after the notice was created."""
    at = OPENED + late_seconds
    return judge(make_delivery(), error, at, stored=True, failures=failures, fallback_after_seconds=120.0)


@pytest.mark.parametrize(
    ("error", "state", "word", "failing", "soonest", "latest"),
    [
        (TemporaryError("x"), DeliveryState.CLAIMED, "retried", False, 0, 1),
        (TemporaryError("x", attempted=False), DeliveryState.QUEUED, "retried", False, 0, 1),
        (TemporaryError("x", retry_after_seconds=17), DeliveryState.CLAIMED, "retried", False, 17, 17),
        (TemporaryError("x", retry_after_seconds=1e9), DeliveryState.CLAIMED, "retried", False, 300, 300),
        (TemporaryError("x", retry_after_seconds=-5), DeliveryState.CLAIMED, "retried", False, 0, 1),
        (ThrottledError("x", retry_after_seconds=0.6, attempted=False), DeliveryState.QUEUED, "", False, 0.6, 0.6),
        (SettingsError("x"), DeliveryState.CLAIMED, "retried", True, 60, 60),
        (ValueError("x"), DeliveryState.CLAIMED, "retried", True, 0, 1),
    ],
)
def test_errors(error: Exception, state: DeliveryState, word: str, failing: bool, soonest: float, latest: float) -> None:  # noqa: FBT001
    """Each kind of error has its state, its word on the metric and its pause."""
    outcome = judge_late(error)
    assert (outcome.state, outcome.word, outcome.failing) == (state, word, failing)
    assert outcome.retry_at is not None
    assert OPENED + soonest <= outcome.retry_at <= OPENED + latest


def test_a_permanent_error_ends_the_notice() -> None:
    """Rejected, never retried, and told to other roads."""
    outcome = judge_late(PermanentError("refused"))
    assert (outcome.state, outcome.word, outcome.retry_at, outcome.failing) == (DeliveryState.REJECTED, "rejected", None, True)


def test_other_roads_are_asked_for_after_a_while() -> None:
    """A passing fault is failing from two minutes on, counted from the first attempt."""
    assert not judge_late(TemporaryError("x"), late_seconds=119).failing
    assert judge_late(TemporaryError("x"), late_seconds=120).failing


def test_backoff_grows_with_full_jitter_and_is_capped() -> None:
    """The n-th pause lies anywhere between nothing and 2^(n-1) s, at most a minute, however many failures there were."""
    for failures, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (7, LONGEST_SECONDS), (100_000, LONGEST_SECONDS)):
        pauses = [compute_backoff(failures) for _ in range(200)]
        assert max(pauses) <= longest
        assert max(pauses) - min(pauses) > longest / 2


def spare(incident: str, kind: NoticeKind = NoticeKind.TRIGGER, *, due: float = 0.0, held: bool = False, **about: Any) -> Spare:
    """One notice in memory."""
    return Spare(make_delivery(kind, incident=incident, **about), due=due, held=held)


def take(queue: SpareQueue, limit: int = 10, *, now: float = 0.0, with_held: bool = False) -> list[str]:
    """What leaves, as incident:kind."""
    return [f"{each.delivery.incident}:{each.delivery.kind}" for each in queue.take(now, limit, set(), with_held=with_held)]


def test_memory_gives_the_critical_first_and_one_a_lane() -> None:
    """The resolve waits for its trigger even where the trigger is not due yet."""
    queue = SpareQueue()
    for each in (spare("a"), spare("a", NoticeKind.RESOLVE), spare("b", severity=Severity.CRITICAL), spare("c", due=5.0)):
        queue.put(each)
    queue.put(spare("c", NoticeKind.RESOLVE))
    assert take(queue) == ["b:trigger", "a:trigger"]
    assert take(queue) == ["a:resolve"]
    assert (take(queue), queue.next_due(with_held=False)) == ([], 5.0)
    assert take(queue, now=5.0) == ["c:trigger"]


def test_a_busy_lane_gives_nothing() -> None:
    """What is under way keeps its lane."""
    queue = SpareQueue()
    queue.put(spare("a"))
    assert queue.take(0.0, 10, {lane_of(make_delivery(incident="a"))}, with_held=True) == []


def test_held_ones_leave_only_while_the_store_fails_and_are_forgotten() -> None:
    """A row that waits in the store is not sent from memory too; one that the store never gives back is dropped."""
    queue = SpareQueue(limit=1)
    queue.put(spare("a", held=True))
    assert queue.put(spare("b")) is None, "held ones do not count"
    queue.discard(make_delivery(incident="b").id)
    assert take(queue) == []
    queue.forget_held(before=0.0)
    assert take(queue, with_held=True) == ["a:trigger"]
    queue.put(spare("a", held=True))
    queue.forget_held(before=1.0)
    assert len(queue) == 0
