"""The shop's traffic as Prometheus series.

Before it: `traffic` counted. After it: `shop` answers a scrape with the text. A collector, not live counters: a series is absent
exactly when the simulated service would not have it, which the counters of prometheus_client cannot do.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from detector.standin.traffic import BUCKET_BOUNDS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from detector.standin.traffic import Traffic


class _TrafficCollector(Collector):
    def __init__(self, traffic: Traffic, names: tuple[str, ...]) -> None:
        self._traffic = traffic
        self._names = names

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("http_requests", "Requests answered.", labels=["service", "code"])
        durations = HistogramMetricFamily("http_request_duration_seconds", "Time to answer.", labels=["service"])
        builds = GaugeMetricFamily("build_info", "Always 1.", labels=["service", "version"])
        starts = GaugeMetricFamily("process_start_time_seconds", "Start of the process.", labels=["service"])
        for name in self._names:
            counts = self._traffic.counts[name]
            for code, value in sorted(counts.by_code.items()):
                requests.add_metric([name, code], value)
            bounds = [*(str(bound) for bound in BUCKET_BOUNDS_SECONDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts.by_bucket), strict=True))
            durations.add_metric([name], buckets, sum_value=counts.latency_sum_seconds)
            builds.add_metric([name, counts.version], 1)
            starts.add_metric([name], counts.started_at)
        yield from (requests, durations, builds, starts)


def render(traffic: Traffic, names: tuple[str, ...]) -> bytes:
    """The text exposition of these services; a service that is not named has no series at all."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_TrafficCollector(traffic, names))
    return generate_latest(registry)
