"""What a Prometheus holds, for `detector init`: asked through prometheus-api-client, once, with a timeout.

The client is synchronous, has no timeout of its own and drops warnings, so the daemon never uses it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import ConnectionError as UnreachableError
from requests import RequestException, Session, Timeout
from urllib3 import Retry

from detector.adapters.discovery.instrumentation import Instrumentation, find_known, find_missing
from detector.ports.error import TemporaryError

__all__ = ["Found", "Instrumentation", "discover"]

TIMEOUT_SECONDS = 10
MOST_SERVICES = 500
_RECENT_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """`services` by instrumentation, sorted; `missing`: what its rules ask for in vain; `metrics`: how many names there are."""

    services: Mapping[Instrumentation, tuple[str, ...]]
    missing: Mapping[Instrumentation, tuple[str, ...]]
    metrics: int


def discover(url: str, *, timeout_seconds: int = TIMEOUT_SECONDS) -> Found:
    """Ask for the names of all metrics, and for the services of what is known. Blocks.

    Raises TemporaryError with one line when Prometheus cannot be reached, is late, or gives no usable answer.
    """
    connection = PrometheusConnect(url=url.rstrip("/"), retry=Retry(0, read=False), session=Session(), timeout=timeout_seconds)
    try:
        names = [str(name) for name in connection.get_label_values("__name__")]
        known = find_known(names)
        services = {each: _list_services(connection, each, names) for each in known}
    except (PrometheusApiClientException, RequestException, LookupError, TypeError, ValueError) as fault:
        raise TemporaryError(_explain(fault, timeout_seconds)) from fault
    return Found(services, {each: find_missing(each, names) for each in known}, len(names))


def _list_services(connection: PrometheusConnect, known: Instrumentation, names: list[str]) -> tuple[str, ...]:
    """The values of the first label that its series carry."""
    metric = next(metric for metric in known.metrics if metric in names)
    day = {"match[]": metric, "start": str(time.time() - _RECENT_SECONDS)}
    for label in known.labels:
        for params in (day, {"match[]": metric}):  # a service that is gone since yesterday only where nothing is newer
            if found := sorted(str(value) for value in connection.get_label_values(label, params=params) if value):
                return tuple(found[:MOST_SERVICES])
    return ()


def _explain(fault: Exception, timeout_seconds: int) -> str:
    if isinstance(fault, Timeout):
        return f"no answer within {timeout_seconds} s"
    if isinstance(fault, UnreachableError):
        return "nothing answers there"
    if isinstance(fault, ValueError | LookupError | TypeError):
        return "what answers there is no Prometheus"
    return " ".join(str(fault).split())[:200]
