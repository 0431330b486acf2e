import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.transport.bucket import TokenBucket

START = 1_790_000_000.0


def test_burst_then_wait() -> None:
    """A full bucket gives its burst at once and then one token an interval."""
    bucket = TokenBucket(rate_per_minute=60, burst=3)
    assert [bucket.take(START) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(START) == pytest.approx(1.0)
    assert bucket.take(START + 0.4) == pytest.approx(0.6)
    assert bucket.take(START + 1.0) == 0.0


def test_refused_take_costs_nothing() -> None:
    """Asking in vain does not push the next token further away."""
    bucket = TokenBucket(rate_per_minute=60)
    bucket.take(START)
    for _ in range(100):
        assert bucket.take(START + 0.5) == pytest.approx(0.5)


def test_idle_time_fills_up_to_the_burst_only() -> None:
    """An hour of silence buys the burst and no more."""
    bucket = TokenBucket(rate_per_minute=100, burst=5)
    bucket.take(START)
    assert sum(bucket.take(START + 3600) == 0.0 for _ in range(50)) == 5


def test_clock_set_back_does_not_block_for_the_jump() -> None:
    """After the clock went back an hour the wait is at most the time to fill the bucket."""
    bucket = TokenBucket(rate_per_minute=60, burst=2)
    for _ in range(2):
        bucket.take(START)
    assert bucket.take(START - 3600) <= 2.0


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (60.0, 0)])
def test_a_bucket_that_never_gives_is_refused(rate: float, burst: int) -> None:
    """Nonsense is refused at construction, not met as an endless wait."""
    with pytest.raises(ValueError, match="token bucket"):
        TokenBucket(rate_per_minute=rate, burst=burst)


@given(
    rate=st.floats(1, 1000),
    burst=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=300),
)
def test_any_minute_holds_at_most_rate_plus_burst(rate: float, burst: int, gaps: list[float]) -> None:
    """Whatever the arrivals, no sliding minute sees more than rate + burst tokens, and the wait returned is always enough."""
    bucket = TokenBucket(rate_per_minute=rate, burst=burst)
    now, taken = START, []
    for gap in gaps:
        now += gap
        wait_seconds = bucket.take(now)
        if wait_seconds:
            now += wait_seconds
            assert bucket.take(now) == 0.0
        taken.append(now)
    for index, first in enumerate(taken):
        assert sum(first <= moment < first + 59.999 for moment in taken[index:]) <= rate + burst
