"""A day in the life of a shop as OpenMetrics text: every three hours another of the usual causes strikes for ten minutes.

The exporters are those of the defaults: client libraries, postgres_exporter, node_exporter, and a prober for the third party.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from detector.domain.check import Check

END = 1_700_006_400.0
SPACING_SECONDS = 10_800.0
STEP_SECONDS = 60.0
LASTS_SECONDS = 600.0
CAUSES = {
    "a deploy": Check.DEPLOY,
    "a traffic spike": Check.TRAFFIC,
    "a slow database": Check.DATABASE,
    "a failing third party": Check.THIRD_PARTIES,
    "a bad configuration": Check.CONFIGURATION,
    "full memory": Check.RESOURCES,
    "a lock": Check.CONCURRENCY,
}
START = END - (len(CAUSES) + 1) * SPACING_SECONDS
RULES = """\
services:
  shop:
    diagnosis:
      third_parties: {query: 'min by (target) (probe_success{needed_by="$service"})', below: 1}
rules:
  - name: errors
    by: [service]
    window: 5m
    signals:
      error_rate:
        ratio:
          - sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))
          - sum by (service) (increase(http_requests_total[$window]))
      p95: avg by (service) (http_request_duration_seconds_p95)
    open: error_rate > 0.01
"""

Gauge: TypeAlias = Callable[[float], float]


def find_moment(cause: str) -> float:
    """When somebody looks: ten minutes after the cause struck."""
    return START + (list(CAUSES).index(cause) + 1) * SPACING_SECONDS


def quiet_moment() -> float:
    """An hour and a half after the last cause, all is well again."""
    return find_moment("a lock") + SPACING_SECONDS / 2


def strikes(cause: str, at: float) -> bool:
    """Whether that cause is at work."""
    return find_moment(cause) - LASTS_SECONDS < at <= find_moment(cause)


def write_story() -> str:
    """Every sample of the day."""
    lines: list[str] = []
    for series, value in _list_gauges().items():
        lines += [f"{series} {value(at):.6f} {at:.0f}" for at in _steps()]
    for version, there in (("v1", lambda at: not _deployed(at)), ("v2", _deployed)):
        lines += [f'shop_build_info{{job="shop",instance="s1",version="{version}"}} 1 {at:.0f}' for at in _steps() if there(at)]
    for series, rate in _list_rates().items():
        total = 0.0
        for at in _steps():
            total += rate(at)
            lines.append(f"{series} {total:.6f} {at:.0f}")
    return "\n".join(_group(lines))


def _steps() -> list[float]:
    return [START + step * STEP_SECONDS for step in range(1, int((END - START) / STEP_SECONDS) + 1)]


def _deployed(at: float) -> bool:
    return at > find_moment("a deploy") - LASTS_SECONDS


def _ill(at: float) -> bool:
    return any(strikes(cause, at) for cause in CAUSES)


def _requests(at: float) -> float:
    return 400.0 if strikes("a traffic spike", at) else 100.0


def _list_gauges() -> Mapping[str, Gauge]:
    def during(cause: str, then: float, usual: float) -> Gauge:
        return lambda at: then if strikes(cause, at) else usual

    return {
        'http_request_duration_seconds_p95{service="shop"}': lambda at: 0.9 if _ill(at) else 0.2,
        'process_start_time_seconds{job="shop",instance="s1"}': lambda _: START - 86_400.0,
        'process_open_fds{job="shop",instance="s1"}': lambda _: 50.0,
        'process_max_fds{job="shop",instance="s1"}': lambda _: 1024.0,
        'shop_config_last_reload_successful{job="shop",instance="s1"}': during("a bad configuration", 0.0, 1.0),
        'pg_up{instance="db1"}': lambda _: 1.0,
        'pg_stat_activity_count{instance="db1",state="active"}': during("a slow database", 95.0, 10.0),
        'pg_settings_max_connections{instance="db1"}': lambda _: 100.0,
        'pg_stat_activity_max_tx_duration{instance="db1",datname="shop",state="active"}': during("a slow database", 240.0, 0.2),
        'probe_success{needed_by="shop",target="stripe"}': during("a failing third party", 0.0, 1.0),
        'node_memory_MemTotal_bytes{instance="h1"}': lambda _: 8e9,
        'node_memory_MemAvailable_bytes{instance="h1"}': during("full memory", 1e8, 5e9),
    }


def _list_rates() -> Mapping[str, Gauge]:
    """Counters, by how much they grow in a step."""
    return {
        'http_requests_total{service="shop",code="200"}': lambda at: _requests(at) * (0.9 if _ill(at) else 1.0),
        'http_requests_total{service="shop",code="500"}': lambda at: _requests(at) * (0.1 if _ill(at) else 0.0),
        'pg_stat_database_deadlocks{instance="db1",datname="shop"}': lambda at: 2.0 if strikes("a lock", at) else 0.0,
    }


def _group(lines: list[str]) -> list[str]:
    """OpenMetrics wants a family's lines together."""
    families: dict[str, list[str]] = {}
    for line in lines:
        families.setdefault(line.partition("{")[0], []).append(line)
    return [line for family in families.values() for line in family]
