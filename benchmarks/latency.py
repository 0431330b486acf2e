"""How long a breach takes to become a page: the daemon beside Prometheus and Alertmanager, on the same samples.

One fleet, one Prometheus, scraped every 15 s. Services break one after the other; each system tells a receiver of its own. Afterwards
Prometheus itself is asked when its samples first fulfilled the condition: nobody who reads them can know earlier.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import yaml
from aiohttp import web

from benchmarks.daemon import ROUTING_KEY, Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question
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
LAST_SECONDS = 120
TARGETS = 8
SHARE = 0.1
LIMIT = 0.01
MEDIAN_SECONDS = 2.0
_STEP_SECONDS = 0.05
_RATIO = 'sum by (service) (increase(http_requests_total{code=~"5.."}[5m])) / sum by (service) (increase(http_requests_total[5m]))'
FAST, DEFAULT, OTHERS = "detector, every: 2s", "detector, every: 5s (default)", "Prometheus + Alertmanager"

_Told = dict[str, float]
"""When each service was first told of; unix seconds."""


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Break every service once, wait for all messages, and compare with the floor."""
    fleet, hook = Fleet(FLIPS, targets=TARGETS), Webhook()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hook.server)
        alertmanager = Alertmanager(folder / "alertmanager", config=_route(f"{hook.server.url}/"))
        await asyncio.to_thread(stack.enter_context, alertmanager)
        rule = folder / "alert.yml"
        rule.write_text(yaml.safe_dump(_write_alert()))
        scraped = fleet.scraped(folder / "prometheus", every="15s", rule_files=[rule], alertmanagers=[alertmanager.target])
        prometheus = await stack.enter_async_context(scraped)
        rules = write_rules(folder / "rules")
        receivers = {
            name: await stack.enter_async_context(_run_daemon(folder / every, rules, prometheus, every))
            for name, every in ((FAST, "2s"), (DEFAULT, "5s"))
        }
        flips = await _flip_all(fleet, say)
        told = await _wait_for_all({name: lambda own=own: read_pages(own) for name, own in receivers.items()} | {OTHERS: hook.told}, say)
        floors = {name: await asyncio.to_thread(find_floor, prometheus, name, at) for name, at in flips.items()}
    return [*_describe("floor", flips, floors, flips), *(f for name, seen in told.items() for f in _describe(name, flips, seen, floors))]
