"""How a service is diagnosed: the defaults of the usual exporters, with what its catalogue entry says under `diagnosis:`.

Before it: the rule file reader, which has checked the mapping. After it: `app/diagnosis` carries it out.

    diagnosis:
      database:
        query: pg_stat_activity_count{datname="shop"}       # one query of its own, instead of the defaults
        above: 80
        connect: db.internal:5432                           # and whether a TCP connection can be made
      resources:
        queries: {queue: {query: rabbitmq_queue_messages, above: 1000}}
      third_parties:
        statuspages: {stripe: https://status.stripe.com/api/v2/summary.json}
        probes: {tax: https://tax.example/health}
      configuration: {environment: [STRIPE_KEY]}            # names that must be set, of this process or of `environment_file`
      recent_errors: {loki: http://loki:3100, query: '{app="shop"} |~ "(?i)error"'}        # or file: /var/log/shop.log
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.domain.catalogue import Service
from detector.domain.check import Check
from detector.domain.exporter import DEFAULTS
from detector.domain.measurement import Measurement, Unit

LOG_PATTERN = r"(?i)\b(error|exception|fatal|panic|critical)\b"


@dataclass(frozen=True, slots=True)
class Logs:
    """Where error lines are: Loki at `loki` with `query`, or the end of `file`. `pattern`: what makes a line of a file an error."""

    loki: str = ""
    query: str = ""
    file: str = ""
    pattern: str = LOG_PATTERN


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Everything to be asked about one service; what is empty is not asked."""

    service: str
    measurements: Mapping[Check, tuple[Measurement, ...]] = field(default_factory=dict)
    connect: str = ""
    statuspages: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[str, ...] = ()
    environment_file: str = ""
    logs: Logs | None = None
    error_rate_above: float = 0.01
    traffic_above: float = 2.0
    link: str = ""


def plan_inquiry(service: Service) -> Inquiry:
    """The inquiry of a service of the catalogue, or of one that it does not name."""
    said: Mapping[str, Mapping[str, Any]] = service.diagnosis
    third, configuration, logs = (said.get(check.key, {}) for check in (Check.THIRD_PARTIES, Check.CONFIGURATION, Check.ERRORS))
    return Inquiry(
        service=service.name,
        measurements={check: _list_measurements(check, said.get(check.key, {})) for check in Check},
        connect=said.get(Check.DATABASE.key, {}).get("connect", ""),
        statuspages=third.get("statuspages", {}),
        probes=third.get("probes", {}),
        environment=tuple(configuration.get("environment", ())),
        environment_file=configuration.get("environment_file", ""),
        logs=_read_logs(service.name, logs),
        error_rate_above=said.get(Check.ERROR_RATE.key, {}).get("above", 0.01),
        traffic_above=said.get(Check.TRAFFIC.key, {}).get("above", 2.0),
        link=service.dashboard,
    )


def _list_measurements(check: Check, said: Mapping[str, Any]) -> tuple[Measurement, ...]:
    own = [_read_measurement(name, given) for name, given in said.get("queries", {}).items()]
    if "query" in said and check is not Check.ERRORS:
        own.insert(0, _read_measurement(said.get("name", check.value), said))
    return tuple(own) or DEFAULTS.get(check, ())


def _read_measurement(name: str, given: Mapping[str, Any]) -> Measurement:
    unit = Unit(given.get("unit", Unit.NUMBER.value))
    return Measurement(name, given["query"], given.get("above"), given.get("below"), unit)


def _read_logs(service: str, said: Mapping[str, Any]) -> Logs | None:
    if not said.get("loki") and not said.get("file"):
        return None
    quoted = service.replace("\\", "\\\\").replace('"', '\\"')
    query = said.get("query") or f'{{service="{quoted}"}} |~ "(?i)error|exception|fatal|panic"'
    return Logs(said.get("loki", ""), query, said.get("file", ""), said.get("pattern", LOG_PATTERN))
