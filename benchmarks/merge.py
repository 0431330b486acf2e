"""What 5,000 rules cost that differ in one service's name: the daemon, which asks them as one query, beside the peers' engines.

One Prometheus rule file, as people generate them: one group, a rule for each service. Prometheus evaluates it itself, vmalert asks
Prometheus rule by rule, the daemon loads the same file. Before it: `fleet`. After it: `report`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import yaml

from benchmarks.daemon import Daemon, read_by_rule, read_sum
from benchmarks.fleet import Fleet
from benchmarks.latency import LIMIT, RATIO
from benchmarks.question import Figure, Question
from benchmarks.sidebyside.product import make_vmalert
from tests.kit.port import free_port
from tests.kit.web import request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.question import Say

RULES = 5_000
EVERY, SLOTS = 15.0, 6
SHARE = 0.2  # of the time that Prometheus' own engine takes
FAILING = 5
_WARM_SECONDS = 90.0


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Counters before and after some evaluations of the whole file; each product's seconds for all of it once."""
    fleet, port = Fleet(RULES), free_port()
    rules = folder / "rules"
    await asyncio.to_thread(write_group, rules, fleet)
    async with AsyncExitStack() as stack:
        scraped = fleet.scraped(folder / "prometheus", every=f"{EVERY:g}s", rule_files=[rules / "services.yml"])
        prometheus = await stack.enter_async_context(scraped)
        vmalert = make_vmalert(
            folder / "vmalert", rules / "services.yml", prometheus.url, ["127.0.0.1:9"], port=port, every=f"{EVERY:g}s"
        )
        daemon = Daemon(folder / "daemon", rules, prometheus=prometheus.url, every=f"{EVERY:g}s")
        await stack.enter_async_context(daemon)
        stack.enter_context(vmalert)
        for name in fleet.names[:FAILING]:
            fleet.fail(name, 0.5)
        say(f"{RULES} rules, warming up for {_WARM_SECONDS:g} s")
        await asyncio.sleep(_WARM_SECONDS)
        before, told = await _read(daemon, prometheus.port, port)
        say(f"{SLOTS} evaluations of all of them")
        await asyncio.sleep(SLOTS * EVERY)
        after, tells = await _read(daemon, prometheus.port, port)
    spent = {name: after[name] - value for name, value in before.items()}
    rounds = spent["evaluations"] / RULES
    if rounds < 1:
        raise RuntimeError(f"{spent['evaluations']:.0f} of {RULES} rules were evaluated in {SLOTS * EVERY:g} s")
    queries = spent["query seconds"] / rounds
    theirs = spent["prometheus seconds"] / max(1.0, spent["prometheus rounds"])
    slowest = max(_list_means(told, tells))
    return [
        Figure(row="detector: all rules once", value=slowest, unit="s", budget=SHARE * theirs),
        Figure(row="detector: queries of all rules once", value=spent["queries"] / rounds, unit=""),
        Figure(row="detector: time of these queries", value=queries, unit="s"),
        Figure(row="detector: CPU of its process in that time", value=spent["cpu"] / rounds, unit="s"),
        Figure(row="Prometheus: its own engine, all rules once", value=theirs, unit="s", compared=False),
        Figure(
            row="vmalert: all rules once",
            value=spent["vmalert seconds"] / max(1.0, spent["vmalert rounds"]),
            unit="s",
            compared=False,
        ),
    ]


def write_group(folder: Path, fleet: Fleet) -> None:
    """The rule file: one group, a rule a service."""
    rules = []
    for name in fleet.names:
        own = RATIO.replace("http_requests_total{", f'http_requests_total{{service="{name}",')
        own = own.replace("http_requests_total[", f'http_requests_total{{service="{name}"}}[').replace("sum by (service)", "sum")
        rules.append({"alert": f"Errors-{name}", "expr": f"{own} > {LIMIT}", "for": "30s", "labels": {"service": name}})
    folder.mkdir()
    document = {"groups": [{"name": "services", "interval": f"{EVERY:g}s", "rules": rules}]}
    (folder / "services.yml").write_text(yaml.safe_dump(document))


async def _read(daemon: Daemon, prometheus: int, vmalert: int) -> tuple[Mapping[str, float], bytes]:
    own = await asyncio.to_thread(daemon.get, "/metrics")
    theirs, other = await asyncio.gather(asyncio.to_thread(_fetch, prometheus), asyncio.to_thread(_fetch, vmalert))
    found = {
        "evaluations": read_sum(own, "detector_evaluations_total"),
        "queries": read_sum(own, "detector_query_duration_seconds_count"),
        "query seconds": read_sum(own, "detector_query_duration_seconds_sum"),
        "cpu": daemon.cpu_seconds,
        "prometheus seconds": read_sum(theirs, "prometheus_rule_group_duration_seconds_sum"),
        "prometheus rounds": read_sum(theirs, "prometheus_rule_group_duration_seconds_count"),
        "vmalert seconds": read_sum(other, "vmalert_iteration_duration_seconds_sum"),
        "vmalert rounds": read_sum(other, "vmalert_iteration_duration_seconds_count"),
    }
    return found, own


def _list_means(before: bytes, after: bytes) -> list[float]:
    """Mean seconds of a rule's evaluation, from the beginning of the slot, when all of them begin, to its own end."""
    metric = "detector_evaluation_duration_seconds"
    sums, counts = ((read_by_rule(before, metric + end), read_by_rule(after, metric + end)) for end in ("_sum", "_count"))
    return [(sums[1][rule] - sums[0][rule]) / (counts[1][rule] - counts[0][rule]) for rule in sums[0]]


def _fetch(port: int) -> bytes:
    status, body = request(port, "GET", "/metrics")
    if status != 200:
        raise RuntimeError(f"GET /metrics of port {port}: {status}")
    return body


QUESTION = Question(
    name="merge",
    text="What do 5,000 rules cost that differ in one label's value?",
    method=f"One Prometheus rule file with one group of {RULES:,} error-ratio rules, one a service, every {EVERY:g} s; {FAILING} "
    "services fail. Prometheus' own engine, vmalert and detector run the same file on the same Prometheus at the same time. "
    "Seconds for all rules once: the peers' own measure of an iteration; for detector, whose rules all begin in the same moment, "
    "its own measure of the rule that ends last. The CPU is that of everything its process does in that time.",
    minutes=4.0,
    measure=measure,
)
