"""Instrumentations that the shipped rules know: the metric that gives one away, its rule file, the label that names a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """`metrics`: what its rules ask for. `file`: below the shipped rules. `labels`: the first there counts."""

    name: str
    file: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()


KNOWN = (
    Instrumentation(
        "HTTP counters and histograms (client libraries)",
        "http.yaml",
        ("http_requests_total", "http_request_duration_seconds_bucket", "http_request_duration_seconds_count"),
        ("service", "job"),
    ),
    Instrumentation(
        "HTTP counters and average latencies, for small faults that last",
        "http-lasting.yaml",
        ("http_requests_total", "http_request_duration_seconds_sum", "http_request_duration_seconds_count"),
        ("service", "job"),
    ),
    Instrumentation(
        "OpenTelemetry",
        "library/opentelemetry.yaml",
        ("http_server_request_duration_seconds_bucket", "http_server_request_duration_seconds_count"),
        ("job",),
    ),
    Instrumentation(
        "Spring Boot (Micrometer)",
        "library/spring-micrometer.yaml",
        ("http_server_requests_seconds_count", "http_server_requests_seconds_bucket"),
        ("job",),
    ),
    Instrumentation(
        "Istio",
        "library/istio.yaml",
        ("istio_requests_total", "istio_request_duration_milliseconds_bucket", "istio_request_duration_milliseconds_count"),
        ("destination_service_name",),
    ),
    Instrumentation(
        "Envoy",
        "library/envoy.yaml",
        ("envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_time_bucket", "envoy_cluster_upstream_rq_time_count"),
        ("envoy_cluster_name",),
    ),
    Instrumentation(
        "NGINX ingress",
        "library/nginx-ingress.yaml",
        ("nginx_ingress_controller_request_duration_seconds_count", "nginx_ingress_controller_request_duration_seconds_bucket"),
        ("ingress",),
    ),
    Instrumentation(
        "Traefik",
        "library/traefik.yaml",
        (
            "traefik_service_requests_total",
            "traefik_service_request_duration_seconds_bucket",
            "traefik_service_request_duration_seconds_count",
        ),
        ("service",),
    ),
    Instrumentation(
        "Hosts (node_exporter)", "host.yaml", ("node_memory_MemTotal_bytes", "node_cpu_seconds_total", "node_filesystem_size_bytes")
    ),
)


def find_known(metrics: Collection[str]) -> tuple[Instrumentation, ...]:
    """Those of which at least one metric is there."""
    there = frozenset(metrics)
    return tuple(known for known in KNOWN if there & set(known.metrics))


def find_missing(known: Instrumentation, metrics: Iterable[str]) -> tuple[str, ...]:
    """Metrics that its rules ask for and that are not there."""
    there = frozenset(metrics)
    return tuple(metric for metric in known.metrics if metric not in there)
