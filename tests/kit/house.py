"""The real daemon with everything around it on free ports: a `Household` with a real Prometheus, a `Booth` with a scripted one.

    shop <- Prometheus <- fault proxy <- daemon -> PagerDuty stand-in

Enter it and everything runs; leave it and everything is gone, whatever happened to the parts meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from http.client import OK
from typing import TYPE_CHECKING, Any, Self

from tests.kit.badprometheus import BadPrometheus, vector
from tests.kit.daemon import Daemon, list_settings
from tests.kit.faultproxy import FaultProxy
from tests.kit.oracle import Finding, Truth, check_oracle, judge
from tests.kit.past import write_past
from tests.kit.prometheus import Prometheus, static_job
from tests.kit.rule import PLAIN_RULES
from tests.kit.standin import Alert, Fault, PagerDuty, Service, Shop
from tests.kit.wait import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEY = "k" * 32
JOB = "shop"
SICK, WELL = 0.01, 0.001  # of the scripted rules: broken above the one, recovered below the other


class Household:
    """`rules`: rule files by name; `settings`: of the daemon, names without DETECTOR_ in lower case.

    `past_seconds`: Prometheus begins with that much healthy history of every service, and the live counters continue it.
    """

    def __init__(
        self,
        folder: Path,
        rules: Mapping[str, str],
        services: tuple[Service, ...],
        *,
        past_seconds: float = 0.0,
        routing_keys: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._past_seconds = past_seconds
        self._ahead_seconds = -past_seconds
        self.shop = Shop(services, monotonic=self._read_monotonic)
        self.pagerduty = PagerDuty(routing_keys or {"default": KEY})
        self.prometheus = Prometheus(folder / "prometheus")
        self.proxy = FaultProxy(self.prometheus.port)
        self.daemon = Daemon(folder, {})
        self.daemon.write_rules(**rules)
        self.truths: dict[str, Truth] = {}
        self._settings = settings
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._parts.enter_async_context(self.shop)
            await self._parts.enter_async_context(self.pagerduty)
            await self._parts.enter_async_context(self.proxy)
            self._parts.push_async_callback(asyncio.to_thread, self.prometheus.stop)
            await asyncio.to_thread(self._start_prometheus)
            await self._wait_scraped()
            self.daemon.settings |= list_settings(self.pagerduty, prometheus_url=self.proxy.url) | list_settings(
                None, **self._settings
            )
            self._parts.push_async_callback(self.daemon.end)
            await self.daemon.start()
        except BaseException:
            await self._parts.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    def flip(self, service: str, **fault: Any) -> float:
        """Break a service (fields of `Fault`); the moment, in unix seconds."""
        self.shop.set_fault(Fault(service=service, **fault))
        now = time.time()
        self.truths[service] = Truth(service, now)
        return now

    def heal(self, service: str, *unknown: tuple[float, float]) -> float:
        """Mend it; `unknown` are the times during which nobody could know its state. The moment."""
        self.shop.set_fault(Fault(service=service, error_ratio=0.0, down=False))
        now = time.time()
        truth = self.truths[service]
        self.truths[service] = Truth(service, truth.broken, now, (*truth.unknown, *unknown))
        return now

    def alerts_of(self, service: str) -> tuple[Alert, ...]:
        """The alerts whose source is that service."""
        return tuple(alert for alert in self.pagerduty.alerts() if alert.source == service)

    def alert_of(self, service: str) -> Alert:
        """The only alert of that service."""
        alerts = self.alerts_of(service)
        assert len(alerts) == 1, f"{len(alerts)} alerts of {service}: {[(alert.dedup_key, alert.summary) for alert in alerts]}"
        return alerts[0]

    async def wait_alert(
        self, service: str, *, severity: str = "", is_open: bool = True, seconds: float = PATIENCE_SECONDS
    ) -> Alert:
        """Until an alert of that service stands so; that alert."""

        def find() -> list[Alert]:
            alerts = (alert for alert in self.alerts_of(service) if alert.is_open is is_open)
            return [alert for alert in alerts if not severity or alert.severity == severity]

        state = f"{'open' if is_open else 'resolved'} {severity}".strip()
        await wait_until(lambda: bool(find()), f"an alert of {service}, {state}", seconds=seconds)
        return find()[-1]

    async def check_oracle(self, *, also: tuple[Truth, ...] = ()) -> None:
        """The oracle over everything that `flip` and `heal` did, and over truths that were made otherwise."""
        truths = [*self.truths.values(), *also]
        await _wait_told(self.daemon, self.pagerduty, truths)
        check_oracle(truths, self.pagerduty, *await _read_ledger(self.daemon, self.pagerduty))

    def _read_monotonic(self) -> float:
        return time.monotonic() + self._ahead_seconds

    def _start_prometheus(self) -> None:
        self.prometheus.configure(scrape_configs=[static_job(JOB, self.shop.target)])
        if self._past_seconds:
            self.prometheus.load_openmetrics(self._write_past())
        self.prometheus.start()

    def _write_past(self) -> str:
        end_monotonic, end = time.monotonic(), time.time()

        def pass_time(seconds_before_end: float) -> None:
            self._ahead_seconds = end_monotonic - seconds_before_end - time.monotonic()

        text = write_past(self.shop, pass_time, end, self._past_seconds, {"job": JOB, "instance": self.shop.target})
        self._ahead_seconds = 0.0
        return text

    async def _wait_scraped(self) -> None:
        """Two live scrapes of every service."""
        query = 'count(count_over_time(http_requests_total{code="200"}[10s]) > 1)'

        async def is_scraped() -> bool:
            result = await asyncio.to_thread(self.prometheus.query, query)
            return bool(result) and float(result[0]["value"][1]) >= len(self.shop.traffic.services)

        await wait_until(is_scraped, "every service scraped twice")


class Booth:
    """The real daemon between a scripted Prometheus and the PagerDuty stand-in: for tests that are not about queries.

    Every query gets the values that `show` set last, one sample a service. Nothing runs before `daemon.start`. `truths` is what was
    so by these values.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: Mapping[str, str] | None = None,
        routing_keys: Mapping[str, str] | None = None,
        calls_per_window: int = 120,
        **settings: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.source = BadPrometheus()
        self.pagerduty = PagerDuty(routing_keys or {"default": KEY}, calls_per_window=calls_per_window)
        self.daemon = Daemon(folder, {})
        self.daemon.write_rules(**({"errors": PLAIN_RULES} if rules is None else rules))
        self.truths: list[Truth] = []
        self._settings = settings
        self._values: dict[str, float] = {}
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._parts.enter_async_context(self.source)
        await self._parts.enter_async_context(self.pagerduty)
        self._parts.push_async_callback(self.daemon.end)
        self.daemon.settings |= list_settings(self.pagerduty, prometheus_url=self.source.url, **self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    def show(self, **values: float) -> None:
        """Set the value of these services; the others keep theirs."""
        for name, value in values.items():
            self.note(name, value)
        self._values |= values
        self._answer()

    def hide(self, *services: str) -> None:
        """These have no series any more."""
        for name in services:
            self._values.pop(name, None)
        self._answer()

    def note(self, service: str, value: float) -> None:
        """Take down what a value means for the truth about that service; what is neither sick nor well changes nothing."""
        now = time.time()
        found = next((each for each in self.truths if each.service == service and each.healed == math.inf), None)
        if not math.isfinite(value):
            return
        if found is None and value > SICK:
            self.truths.append(Truth(service, now))
        elif found is not None and value < WELL:
            self.truths[self.truths.index(found)] = replace(found, healed=now)

    async def check_oracle(self, *, also: tuple[Truth, ...] = ()) -> None:
        """The oracle over everything that was shown, once the incidents say what their alerts say, and over other truths."""
        truths = [*self.truths, *also]
        await _wait_told(self.daemon, self.pagerduty, truths)
        check_oracle(truths, self.pagerduty, *await _read_ledger(self.daemon, self.pagerduty))

    async def judge(self) -> list[Finding]:
        """What the oracle finds now."""
        return judge(self.truths, self.pagerduty, *await _read_ledger(self.daemon, self.pagerduty))

    def use_key(self, name: str, key: str) -> None:
        """Change a routing key of the daemon's settings, for its next start."""
        self.daemon.settings["DETECTOR_PAGERDUTY__ROUTING_KEYS"] = json.dumps({name: key})

    async def wait_open(self, count: int, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Until that many alerts are open."""
        await wait_until(lambda: len(self.pagerduty.open_alerts()) == count, f"{count} open alert(s)", seconds=seconds)

    def paged_services(self) -> set[str]:
        """Sources of every alert there ever was."""
        return {alert.source for alert in self.pagerduty.alerts()}

    def count_sent(self, action: str) -> int:
        """Requests with that event_action, whatever they were answered."""
        return sum((request.event or {}).get("event_action") == action for request in self.pagerduty.requests)

    def _answer(self) -> None:
        self.source.answer = vector(*(({"service": name}, repr(value)) for name, value in self._values.items()), at=time.time())


async def _wait_told(daemon: Daemon, pagerduty: PagerDuty, truths: Sequence[Truth]) -> None:
    """Until the incidents say what their alerts say: a page or its end does not wait for a disk that is slow.

    Where they never do, the oracle says what is wrong.
    """
    over = {each.service for each in truths if each.healed < math.inf} - {
        each.service for each in truths if each.healed == math.inf
    }

    async def is_told() -> bool:
        incidents = await daemon.incidents()
        known = {alert.dedup_key.split(":")[0] for alert in pagerduty.alerts()} <= {each["id"] for each in incidents}
        return known and all(each["status"] in {"resolved", "closed"} for each in incidents if each["service"] in over)

    with contextlib.suppress(AssertionError):
        await wait_until(is_told, f"incidents of {sorted(over)} that are over")


async def _read_ledger(daemon: Daemon, pagerduty: PagerDuty) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Incidents as the daemon knows them, the newest and whatever was paged, and by id the timelines of what was paged."""
    incidents = {each["id"]: each for each in await daemon.incidents()}
    timelines: dict[str, list[dict[str, Any]]] = {}
    for identity in {alert.dedup_key.split(":")[0] for alert in pagerduty.alerts()}:
        status, body = await daemon.fetch(f"/api/v1/incidents/{identity}")
        if status == OK:
            incidents[identity] = json.loads(body)
            timelines[identity] = incidents[identity]["timeline"]
    return list(incidents.values()), timelines


EnterBooth = Callable[..., Awaitable[Booth]]


@asynccontextmanager
async def open_booths(folder: Path) -> AsyncIterator[EnterBooth]:
    """Start any number of booths; arguments as of `Booth`."""
    async with AsyncExitStack() as stack:
        count = 0

        async def enter(**settings: Any) -> Booth:
            nonlocal count
            count += 1
            return await stack.enter_async_context(Booth(folder / f"booth-{count}", **settings))

        yield enter
