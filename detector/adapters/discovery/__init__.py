"""What a Prometheus holds, for `detector init`: asked through prometheus-api-client, once, with a timeout.

The client is synchronous, has no timeout of its own and drops warnings, so the daemon never uses it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import ConnectionError as UnreachableError
from requests import RequestException, Session, Timeout, TooManyRedirects
from requests.exceptions import SSLError
from urllib3 import Retry

from detector.adapters.discovery.instrumentation import Instrumentation, find_known, find_missing
from detector.ports.error import TemporaryError
from detector.transport.exchange import ExchangeOption

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


def discover(url: str, *, timeout_seconds: int = TIMEOUT_SECONDS, access: ExchangeOption | None = None) -> Found:
    """Ask for the names of all metrics, and for the services of what is known, with the credentials of `access`. Blocks.

    Raises TemporaryError with one line when Prometheus cannot be reached, is late, or gives no usable answer.
    """
    try:
        with _make_session(access or ExchangeOption()) as session:
            connection = PrometheusConnect(
                url=url.rstrip("/"), retry=Retry(0, read=False), session=session, timeout=timeout_seconds
            )
            names = [str(name) for name in connection.get_label_values("__name__")]
            known = find_known(names)
            services = {each: _list_services(connection, each, names) for each in known}
    except (PrometheusApiClientException, RequestException, LookupError, TypeError, ValueError) as fault:
        raise TemporaryError(_explain(fault, timeout_seconds)) from fault
    return Found(services, {each: find_missing(each, names) for each in known}, len(names))


def _make_session(access: ExchangeOption) -> Session:
    """A session that sends the credentials to no other server, wherever a redirect or a ~/.netrc points."""
    session = Session()
    session.trust_env = False
    session.max_redirects = 0
    session.headers.update(access.headers)
    if access.bearer_token is not None:
        session.headers["Authorization"] = f"Bearer {access.bearer_token}"
    if access.basic_auth is not None:
        session.auth = access.basic_auth
    if access.ca_file is not None:
        session.verify = str(access.ca_file)
    return session


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
    if isinstance(fault, SSLError):
        return "its certificate is not trusted; name its authority in DETECTOR_PROMETHEUS__CA_FILE"
    if isinstance(fault, TooManyRedirects):
        return "it points to another address; give that one"
    if isinstance(fault, UnreachableError):
        return "nothing answers there"
    if isinstance(fault, PrometheusApiClientException) and (status := re.search(r"\b40[13]\b", str(fault))):
        return (
            f"it answers {status[0]}; DETECTOR_PROMETHEUS__USERNAME, __PASSWORD, __BEARER_TOKEN or __HEADERS are missing or wrong"
        )
    if isinstance(fault, PrometheusApiClientException) and (status := re.search(r"HTTP Status Code (\d+)", str(fault))):
        hint = "; what answers there is no Prometheus, or one below another path" if status[1] == "404" else ""
        return f"it answers HTTP {status[1]}{hint}"
    if isinstance(fault, ValueError | LookupError | TypeError):
        return "what answers there is no Prometheus"
    return " ".join(str(fault).split())[:200]
