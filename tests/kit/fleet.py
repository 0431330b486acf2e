"""Several real daemons on one real PostgreSQL, each reaching it through a fault proxy of its own.

    scripted Prometheus <- daemon 0..n -> PagerDuty stand-in
                               |
                          fault proxy -> PostgreSQL

One rule a service, so that the rules lie on many shards. Who leads which shard is read from the daemons' own metrics.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from detector.domain.shard import SHARDS, find_shard
from tests.kit.badprometheus import Answer, BadPrometheus, vector
from tests.kit.daemon import Daemon, list_settings
from tests.kit.faultproxy import FaultProxy
from tests.kit.house import KEY
from tests.kit.standin import Alert, PagerDuty
from tests.kit.wait import wait_until
from tests.kit.web import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.postgres import Postgres

RULE = """\
  - name: {service}
    by: [service]
    every: {every}
    signals: {{error_rate: value_{service}}}
    open: error_rate > 0.01
    for: {wait}
    recover_for: 2s
    severity: {{high: "true"}}
"""
PATIENCE_SECONDS = 90.0
TTL_SECONDS = 3.0


class Fleet:
    """`count` daemons and as many services as named; `waits`: `for` of a service's rule, others 0s. Nothing runs before `start`."""

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        database: str,
        services: tuple[str, ...],
        *,
        count: int = 3,
        waits: dict[str, str] | None = None,
        ttl_seconds: float = TTL_SECONDS,
        every: str = "1s",
        **settings: str,
    ) -> None:
        self.ttl_seconds = ttl_seconds
        self.source = BadPrometheus()
        self.pagerduty = PagerDuty({"default": KEY}, calls_per_window=10_000)
        self.services = services
        self._values: dict[str, list[tuple[float, float]]] = {service: [(0.0, 0.0)] for service in services}
        self._asked: dict[str, list[float]] = {service: [] for service in services}
        self._parts = AsyncExitStack()
        self.proxies = [FaultProxy(postgres.port) for _ in range(count)]
        self.daemons = [Daemon(folder / f"replica-{number}", {}) for number in range(count)]
        self._database = database
        self._address = postgres.url(database)
        self._settings = {"lease_ttl": f"{ttl_seconds:g}s", **settings}
        rules = "".join(RULE.format(service=service, wait=(waits or {}).get(service, "0s"), every=every) for service in services)
        for daemon in self.daemons:
            daemon.write_rules(errors=f"rules:\n{rules}")

    async def __aenter__(self) -> Self:
        await self._parts.enter_async_context(self.source)
        await self._parts.enter_async_context(self.pagerduty)
        self.source.answer = self._make_answer()
        for daemon, proxy in zip(self.daemons, self.proxies, strict=True):
            await self._parts.enter_async_context(proxy)
            self._parts.push_async_callback(daemon.end)
            url = f"postgresql://detector@127.0.0.1:{proxy.port}/{self._database}"
            daemon.settings |= list_settings(self.pagerduty, prometheus_url=self.source.url, database_url=url, **self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    async def start(self) -> None:
        """All of them, until every shard is led and each leads its share."""
        await asyncio.gather(*(daemon.start() for daemon in self.daemons))
        await self.wait_shared(*range(len(self.daemons)))

    def show(self, **values: float) -> None:
        """Set the value of these services from now on; the others keep theirs, and who asks for the past gets what was."""
        for service, value in values.items():
            self._values[service].append((time.time(), value))

    async def leads(self, number: int) -> set[int]:
        """Shards that this replica says it leads."""
        status, body = await self.daemons[number].fetch("/metrics")
        assert status == 200
        families = text_string_to_metric_families(body.decode())
        samples = (sample for family in families if family.name == "detector_leader" for sample in family.samples)
        return {int(sample.labels["shard"]) for sample in samples if sample.value == 1}

    async def send_alert(self, number: int, service: str, *, over: bool = False) -> int:
        """Play another Prometheus that sends an alert of the service to this replica, or its end; the status it gets."""
        alert = {
            "labels": {"alertname": "Elsewhere", "service": service, "severity": "critical"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": f"{2026 if over else 2999}-01-01T01:00:00Z",
        }
        body = json.dumps([alert]).encode()
        headers = {"Content-Type": "application/json"}
        port = self.daemons[number].port
        status, _ = await asyncio.to_thread(request, port, "POST", "/api/v2/alerts", body, headers)
        return status

    async def wait_shared(self, *numbers: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Until these replicas lead every shard, each one shard by one of them, none more than its share."""
        most = -(-SHARDS // len(numbers))

        async def is_shared() -> bool:
            led = [await self.leads(number) for number in numbers]
            return sum(map(len, led)) == SHARDS == len(set().union(*led)) and max(map(len, led)) <= most

        await wait_until(is_shared, f"replicas {numbers} share all shards", seconds=seconds)

    async def list_holders(self) -> set[str]:
        """Who holds leases, as the database has it; "" is nobody."""
        async with await psycopg.AsyncConnection.connect(self._address) as connection:
            return {holder for (holder,) in await (await connection.execute("SELECT DISTINCT holder FROM lease")).fetchall()}

    async def find_leader(self, service: str) -> tuple[int, list[int]]:
        """Which replica evaluates the service's rule, and which are the others."""
        shard, numbers = find_rule_shard(service), range(len(self.daemons))
        for number in numbers:
            if shard in await self.leads(number):
                return number, [other for other in numbers if other != number]
        raise AssertionError(f"nobody leads shard {shard} of {service}")

    async def wait_pages(self, *services: str, is_open: bool = True, seconds: float = PATIENCE_SECONDS) -> None:
        """Until the only alert of each of these services stands so."""
        for service in services:
            await wait_until(
                lambda service=service: [alert.is_open for alert in self.alerts_of(service)] == [is_open],  # type: ignore[misc]
                f"one alert of {service}, {'open' if is_open else 'resolved'}",
                seconds=seconds,
            )

    async def end_well(self, *services: str) -> None:
        """All these services recover; their pages are resolved, and none ever had a second one."""
        self.show(**dict.fromkeys(services, 0.0))
        await self.wait_pages(*services, is_open=False)
        self.check_single()

    def alerts_of(self, service: str) -> tuple[Alert, ...]:
        """Its alerts, oldest first."""
        return tuple(alert for alert in self.pagerduty.alerts() if alert.source == service)

    def find_gap_seconds(self, since: float) -> float:
        """The longest time since that monotonic moment in which nobody evaluated some service's rule."""
        gaps = []
        for times in self._asked.values():
            moments = [since, *(at for at in times if at >= since), time.monotonic()]
            gaps += [later - earlier for earlier, later in pairwise(moments)]
        return max(gaps)

    def check_single(self) -> None:
        """No service was ever paged twice, and no key opened twice."""
        paged = [alert.source for alert in self.pagerduty.alerts()]
        assert len(paged) == len(set(paged)), f"paged twice: {sorted(each for each in paged if paged.count(each) > 1)}"
        assert not self.pagerduty.duplicates()

    def _make_answer(self) -> Answer:
        def answer() -> object:
            parameters = self.source.queries[-1].parameters
            query, at = parameters.get("query", ""), float(parameters.get("time", time.time()))
            if query.removeprefix("value_") in self._asked:
                self._asked[query.removeprefix("value_")].append(time.monotonic())
            asked = {name: values for name, values in self._values.items() if f"value_{name}" in query}
            found = {name: [value for since, value in values if since <= at][-1] for name, values in asked.items()}
            return vector(*[({"service": name}, repr(value)) for name, value in found.items()], at=at)()

        return answer  # type: ignore[return-value]


def find_rule_shard(service: str) -> int:
    """The shard of the batch of a service's rule."""
    return find_shard("batch", "1000", "0", f"value_{service}")
