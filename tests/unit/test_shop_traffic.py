"""The demo shop counts exactly: a test that expects one error in ten gets one, not about one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from detector.standin.shop import Fault, Shop
from detector.standin.traffic import Service
from tests.kit.clock import VirtualClock

PLAIN = (Service("checkout", rate=10.0),)
CHAIN = (
    Service("frontend", rate=100.0, calls={"checkout": 0.4}),
    Service("checkout", calls={"payments": 0.5}),
    Service("payments"),
)


def build(services: tuple[Service, ...]) -> tuple[Shop, VirtualClock]:
    """A shop that is not served, and its clock."""
    clock = VirtualClock(1000.0)
    return Shop(services, monotonic=clock.monotonic, wall=clock.now), clock


def scrape(shop: Shop) -> dict[tuple[str, ...], float]:
    """All samples of a scrape: (name, service, other label values...) -> value."""
    values: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(shop.metrics().decode()):
        for sample in family.samples:
            others = (value for label, value in sorted(sample.labels.items()) if label != "service")
            values[sample.name, sample.labels["service"], *others] = sample.value
    return values


def test_errors_are_exact_fractions_however_often_it_is_scraped() -> None:
    """100 s at 10 requests a second and 10% errors are 900 and 100, scraped once or at odd moments."""
    for gaps in ([100.0], [0.1] * 1000, [0.37, 12.63, 50.0, 37.0]):
        shop, clock = build(PLAIN)
        shop.set_fault(Fault(service="checkout", error_ratio=0.1))
        for gap in gaps:
            clock.advance(gap)
            shop.metrics()
        samples = scrape(shop)
        assert samples["http_requests_total", "checkout", "200"] == 900
        assert samples["http_requests_total", "checkout", "500"] == 100


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30), st.floats(0.0, 1.0), st.floats(0.0, 50.0))
def test_no_request_is_lost_or_invented(gaps: list[float], error_ratio: float, rate: float) -> None:
    """Codes and buckets both add up to rate times time, to within one request, and errors to their share of it."""
    shop, clock = build((Service("checkout", rate=rate),))
    shop.set_fault(Fault(service="checkout", error_ratio=error_ratio))
    for gap in gaps:
        clock.advance(gap)
        shop.metrics()
    counts = shop.traffic.counts["checkout"]
    total = sum(counts.by_code.values())
    assert total == sum(counts.by_bucket)
    assert abs(total - rate * clock.monotonic()) <= 1
    assert abs(counts.by_code.get("500", 0) - error_ratio * total) <= 1


def test_fault_counts_from_the_moment_it_is_set() -> None:
    """The time before a fault is healthy traffic even if nobody scraped in it."""
    shop, clock = build(PLAIN)
    clock.advance_to(10.0)
    shop.set_fault(Fault(service="checkout", error_ratio=1.0))
    clock.advance_to(15.0)
    samples = scrape(shop)
    assert (samples["http_requests_total", "checkout", "200"], samples["http_requests_total", "checkout", "500"]) == (100, 50)
    shop.clear_faults()
    clock.advance_to(16.0)
    assert scrape(shop)["http_requests_total", "checkout", "200"] == 110


def test_callers_share_the_errors_of_what_they_call() -> None:
    """Half of checkout goes through payments, 40% of frontend through checkout: 10% there are 5% and 2%."""
    shop, clock = build(CHAIN)
    shop.set_fault(Fault(service="payments", error_ratio=0.1))
    clock.advance_to(100.0)
    samples = scrape(shop)
    assert samples["http_requests_total", "payments", "500"] == 200
    assert samples["http_requests_total", "checkout", "502"] == 200
    assert samples["http_requests_total", "frontend", "502"] == 200
    assert samples["http_requests_total", "checkout", "200"] == 3800
    assert samples["http_requests_total", "frontend", "200"] == 9800


def test_own_errors_come_first_and_callees_fail_of_the_rest() -> None:
    """Checkout fails 20% itself; of the other 80% half goes to payments, which fails half: 20% more."""
    shop, clock = build(CHAIN)
    shop.set_fault(Fault(service="payments", error_ratio=0.5))
    shop.set_fault(Fault(service="checkout", error_ratio=0.2))
    clock.advance_to(100.0)
    samples = scrape(shop)
    assert [samples["http_requests_total", "checkout", code] for code in ("200", "500", "502")] == [2400, 800, 800]
    assert shop.traffic.failure_ratio("checkout") == pytest.approx(0.4)


def test_service_that_is_down_has_no_series_and_fails_its_callers() -> None:
    """Everything named payments vanishes, checkout fails the half that goes there, and the counters go on afterwards."""
    shop, clock = build(CHAIN)
    clock.advance_to(10.0)
    before = scrape(shop)
    shop.set_fault(Fault(service="payments", down=True))
    clock.advance_to(20.0)
    samples = scrape(shop)
    assert not [key for key in samples if "payments" in key]
    assert samples["http_requests_total", "checkout", "502"] == 200
    shop.clear_faults()
    assert scrape(shop)["http_requests_total", "payments", "200"] == before["http_requests_total", "payments", "200"]


def test_latency_goes_into_its_bucket_and_up_to_the_callers() -> None:
    """A payment of 2 s makes half of checkout slow and leaves the other half as it was."""
    shop, clock = build(CHAIN)
    shop.set_fault(Fault(service="payments", latency_seconds=2.0))
    clock.advance_to(10.0)
    samples = scrape(shop)
    assert samples["http_request_duration_seconds_bucket", "payments", "1.0"] == 0
    assert samples["http_request_duration_seconds_bucket", "payments", "2.5"] == 200
    assert samples["http_request_duration_seconds_bucket", "checkout", "0.025"] == 200
    assert samples["http_request_duration_seconds_bucket", "checkout", "2.5"] == 400
    assert samples["http_request_duration_seconds_bucket", "checkout", "+Inf"] == 400
    assert samples["http_request_duration_seconds_count", "payments"] == 200
    assert samples["http_request_duration_seconds_sum", "payments"] == pytest.approx(400.0)


def test_latency_on_a_bound_is_inside_its_bucket() -> None:
    """`le` means less or equal: answers of exactly 1 s are counted in the bucket of 1 s."""
    shop, clock = build(PLAIN)
    shop.set_fault(Fault(service="checkout", latency_seconds=1.0))
    clock.advance_to(1.0)
    samples = scrape(shop)
    assert samples["http_request_duration_seconds_bucket", "checkout", "0.5"] == 0
    assert samples["http_request_duration_seconds_bucket", "checkout", "1.0"] == 10


def test_service_that_never_failed_has_no_5xx_series() -> None:
    """No 5xx series until the first error; a restart takes it away again, and never_failed does it either way by hand."""
    shop, clock = build(PLAIN)
    key = ("http_requests_total", "checkout", "500")
    clock.advance_to(1.0)
    assert key not in scrape(shop)
    shop.set_fault(Fault(service="checkout", error_ratio=1.0))
    clock.advance_to(2.0)
    assert scrape(shop)[key] == 10
    shop.clear_faults()
    assert scrape(shop)[key] == 10
    shop.reset_counters("checkout", version="1.1.0")
    samples = scrape(shop)
    assert key not in samples
    assert samples["http_requests_total", "checkout", "200"] == 0
    assert samples["build_info", "checkout", "1.1.0"] == 1
    assert samples["process_start_time_seconds", "checkout"] == 1002.0
    shop.set_fault(Fault(service="checkout", never_failed=False))
    assert scrape(shop)[key] == 0
    shop.set_fault(Fault(service="checkout", never_failed=True))
    assert key not in scrape(shop)


def test_rate_is_settable_to_three_requests_a_night() -> None:
    """A rate of 3 in eight hours counts three requests, and reaches what is called behind it."""
    shop, clock = build(CHAIN)
    shop.set_fault(Fault(service="checkout", rate=3 / 28_800))
    clock.advance_to(28_800.0)
    samples = scrape(shop)
    assert samples["http_requests_total", "checkout", "200"] == 3
    assert samples["http_requests_total", "payments", "200"] == 1


@pytest.mark.parametrize(
    ("services", "named"),
    [
        ((Service("a", calls={"b": 1.0}),), "service a calls b: no such service"),
        ((Service("a", calls={"b": 0.6, "c": 0.6}), Service("b"), Service("c")), "add up to more than 1"),
        ((Service("a", calls={"b": 0.1}), Service("b", calls={"a": 0.1})), "calls itself, directly or through others"),
    ],
)
def test_impossible_shop_is_refused(services: tuple[Service, ...], named: str) -> None:
    """A callee that does not exist, shares above 1 and a circle are named at once."""
    with pytest.raises(ValueError, match=named):
        Shop(services)
