"""Prometheus, and what speaks its query API (Thanos, Mimir, VictoriaMetrics), as a source of samples.

`source` asks, `answer` reads the bytes that came back.
"""

from detector.adapters.prometheus.source import PrometheusSource

__all__ = ["PrometheusSource"]
