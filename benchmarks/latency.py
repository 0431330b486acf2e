"""How long a breach takes to become a page: the daemon beside Prometheus or vmalert with Alertmanager, on the same samples.

One fleet, one Prometheus, scraped every 15 s. Services break one after the other; each daemon tells a receiver of its own; the
peers name themselves in a label, so that one Alertmanager serves them all by routes of their own. Afterwards Prometheus itself is
asked when its samples first fulfilled the condition: nobody who reads them can know earlier.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml
from aiohttp import web

from benchmarks.daemon import ROUTING_KEY, Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question
from benchmarks.sidebyside.product import make_vmalert
from detector.standin.server import Server
from tests.kit.alertmanager import Alertmanager
from tests.kit.standin import PagerDuty
from tests.kit.web import get_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.question import Say
    from tests.kit.prometheus import Prometheus

FLIPS = 24
SPACING_SECONDS = 7.3  # no divisor of the scrape interval: flips fall everywhere between two scrapes
WARM_SECONDS = 60
LAST_SECONDS = 240
TARGETS = 24  # each service is scraped at a moment of its own: the median is over phases, not one phase's luck
SHARES = (0.5, 0.1)  # by turns: HIGH at once, and one whose severity climbs to HIGH with its window
LIMIT = 0.01
MEDIAN_SECONDS = 2.0
_STEP_SECONDS = 0.1
_LONGEST_SECONDS = 90.0
RATIO = 'sum by (service) (increase(http_requests_total{code=~"5.."}[5m])) / sum by (service) (increase(http_requests_total[5m]))'
FASTEST, FAST, DEFAULT = "detector, every: 1s", "detector, every: 2s", "detector, every: 5s (default)"
_PATIENT, _AT_ONCE = "30s (default)", "0s"


@dataclass(frozen=True, slots=True)
class Peer:
    """A rule group's interval and its route's group_wait; `system` is the label that tells them apart."""

    system: str
    evaluator: str
    interval: str
    wait: str

    @property
    def row(self) -> str:
        """Its name in the table."""
        return f"{self.evaluator} every {self.interval} + Alertmanager, group_wait {self.wait}"


PROMETHEUS = (
    Peer("prometheus-default", "Prometheus", "1m", _PATIENT),
    Peer("prometheus-usual", "Prometheus", "15s", _PATIENT),
    Peer("prometheus-fastest", "Prometheus", "1s", _AT_ONCE),
)
VMALERT = (Peer("vmalert-default", "vmalert", "1m", _PATIENT), Peer("vmalert-fastest", "vmalert", "1s", _AT_ONCE))


@dataclass(slots=True)
class Webhook:
    """Receives what Alertmanager sends; `told`: by system, when each service was first told of, unix seconds."""

    told: dict[str, dict[str, float]] = field(default_factory=dict)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its URL."""
        app = web.Application()
        app.router.add_post("/", self._take)
        async with Server(app) as server:
            yield f"{server.url}/"

    async def _take(self, request: web.Request) -> web.Response:
        at = time.time()
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                labels = alert["labels"]
                self.told.setdefault(labels["system"], {}).setdefault(labels["service"], at)
        return web.Response()


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Break every service once, wait for all messages, and compare with the floor."""
    fleet, hook = Fleet(FLIPS, targets=TARGETS), Webhook()
    async with AsyncExitStack() as stack:
        alertmanager = Alertmanager(folder / "alertmanager", config=_route(await stack.enter_async_context(hook.serving())))
        await asyncio.to_thread(alertmanager.start)
        stack.callback(alertmanager.stop)
        rule = folder / "alert.yml"
        rule.write_text(yaml.safe_dump(_write_alerts(PROMETHEUS)))
        scraped = fleet.scraped(folder / "prometheus", every="15s", rule_files=[rule], alertmanagers=[alertmanager.target])
        prometheus = await stack.enter_async_context(scraped)
        other = folder / "vmalert.yml"
        other.write_text(yaml.safe_dump(_write_alerts(VMALERT)))
        stack.enter_context(make_vmalert(folder / "vmalert", other, prometheus.url, [alertmanager.target]))
        rules = write_rules(folder / "rules")
        accounts = {
            name: await stack.enter_async_context(_run_daemon(folder / every, rules, prometheus.url, every))
            for name, every in ((FASTEST, "1s"), (FAST, "2s"), (DEFAULT, "5s"))
        }
        flips = await _flip_all(fleet, say)
        told = await _wait_for_all(accounts, hook, say)
        floors = {name: await asyncio.to_thread(find_floor, prometheus, name, at) for name, at in flips.items()}
    missing = [f"{name}: {FLIPS - len(seen)} of {FLIPS}" for name, seen in told.items() if len(seen) < FLIPS]
    if missing:
        raise RuntimeError(f"never told of: {'; '.join(missing)}")
    return [figure for name, seen in told.items() for figure in _describe(name, flips, floors, seen)]


def find_floor(prometheus: Prometheus, service: str, flip: float) -> float:
    """The first instant, to `_STEP_SECONDS`, at which the samples that Prometheus has fulfil the condition; unix seconds."""
    answer = get_json(
        prometheus.port,
        "/api/v1/query_range",
        query=f'({RATIO}) and on (service) http_requests_total{{service="{service}", code="200"}}',
        start=f"{flip:.3f}",
        end=f"{flip + _LONGEST_SECONDS:.3f}",
        step=f"{_STEP_SECONDS}",
    )
    (series,) = answer["data"]["result"]
    return next(float(at) for at, value in series["values"] if float(value) > LIMIT)


def read_pages(account: PagerDuty) -> dict[str, float]:
    """When each service was first paged for; unix seconds."""
    told: dict[str, float] = {}
    for request in account.requests:
        event = request.event or {}
        payload = event.get("payload")
        if event.get("event_action") == "trigger" and isinstance(payload, dict):
            told.setdefault(payload["component"], request.at)
    return told


@asynccontextmanager
async def _run_daemon(folder: Path, rules: Path, prometheus: str, every: str) -> AsyncIterator[PagerDuty]:
    async with (
        PagerDuty({"default": ROUTING_KEY}) as account,
        Daemon(folder, rules, prometheus=prometheus, pagerduty=account.url, every=every) as daemon,
    ):
        await settle(daemon, 2, 60)
        yield account


async def _flip_all(fleet: Fleet, say: Say) -> dict[str, float]:
    """Break the services one after the other; when each was."""
    for second in range(WARM_SECONDS):
        say(f"traffic flows, {WARM_SECONDS - second} s to go")
        await asyncio.sleep(1)
    flips = {}
    for number, name in enumerate(fleet.names, 1):
        flips[name] = fleet.fail(name, SHARES[(number - 1) % len(SHARES)])
        say(f"flip {number} of {FLIPS}")
        await asyncio.sleep(SPACING_SECONDS)
    return flips


async def _wait_for_all(accounts: Mapping[str, PagerDuty], hook: Webhook, say: Say) -> dict[str, dict[str, float]]:
    deadline = time.monotonic() + LAST_SECONDS
    while True:
        told = {name: read_pages(account) for name, account in accounts.items()}
        told |= {peer.row: dict(hook.told.get(peer.system, {})) for peer in (*PROMETHEUS, *VMALERT)}
        if all(len(seen) == FLIPS for seen in told.values()) or time.monotonic() > deadline:
            return told
        say(f"waiting for the last messages: {', '.join(str(len(seen)) for seen in told.values())} of {FLIPS}")
        await asyncio.sleep(1)


def _route(url: str) -> dict[str, object]:
    """Every default of Alertmanager but the grouping: without `group_by` all services would share one group's delays."""
    at_once = "|".join(peer.system for peer in (*PROMETHEUS, *VMALERT) if peer.wait == _AT_ONCE)
    route = {
        "receiver": "hook",
        "group_by": ["alertname", "service", "system"],
        "routes": [{"matchers": [f'system=~"{at_once}"'], "group_wait": _AT_ONCE}],
    }
    return {"route": route, "receivers": [{"name": "hook", "webhook_configs": [{"url": url}]}]}


def _write_alerts(peers: Sequence[Peer]) -> dict[str, object]:
    """The same condition for the peers, without `for`."""
    rule = {"alert": "Errors", "expr": f"{RATIO} > {LIMIT}"}
    return {
        "groups": [
            {"name": peer.system, "interval": peer.interval, "rules": [rule | {"labels": {"system": peer.system}}]}
            for peer in peers
        ]
    }


def _describe(name: str, flips: Mapping[str, float], floors: Mapping[str, float], told: Mapping[str, float]) -> Sequence[Figure]:
    total = [told[service] - at for service, at in flips.items()]
    columns = {"flip to message, median": statistics.median(total)}
    for place, share in enumerate(SHARES):
        over = sorted(told[service] - floors[service] for service in list(flips)[place :: len(SHARES)])
        columns |= {
            f"{share:.0%} fail: over the floor, median": statistics.median(over),
            f"{share:.0%} fail: over the floor, most": over[-1],
        }
    budget, held = (MEDIAN_SECONDS if name == FAST else None), f"{SHARES[0]:.0%} fail: over the floor, median"
    return [
        Figure(row=name, column=column, value=value, unit="s", budget=budget if column == held else None)
        for column, value in columns.items()
    ]


QUESTION = Question(
    name="latency",
    text="How long does a breach take to become a page?",
    method=(
        f"{FLIPS} services begin to fail {SHARES[0]:.0%} or, by turns, {SHARES[1]:.0%} of their requests, one every "
        f"{SPACING_SECONDS:g} s; scrape interval 15 s, rule http-errors (5 m window, 1%, no `for`). All read the same Prometheus. "
        "1 m is the default of Prometheus and vmalert, 15 s the interval of the configuration that Prometheus ships; alerts are "
        "grouped by service. The floor is the first instant at which the scraped samples fulfil the condition, as Prometheus tells "
        "afterwards: window, threshold and scrape times alone make it. Below HIGH a page of detector waits while its severity "
        "still climbs: at 10% until the next scrape."
    ),
    minutes=8.0,
    measure=measure,
)
