"""What the libraries cost that were chosen, beside those that were not: the figures that README and docs/decisions.md name."""

from __future__ import annotations

import asyncio
import importlib
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks.fleet import Fleet
from benchmarks.question import Figure, Question
from detector.adapters.condition import Scope
from detector.adapters.prometheus.answer import AnswerReader
from detector.domain.outcome import Samples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from benchmarks.question import Say

QUERIES, SERVICES, SERIES, EVALUATIONS, RUNS = 300, 500, 20_000, 100_000, 5
_QUERY = "sum by (service) (increase(http_requests_total{%s}[5m]))"
_SMALL = 'sum(up{job="fleet"})'
_CONDITION = "core && error_rate > 0.05 || error_rate > 4.0 * error_rate_baseline"


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Queries of a real Prometheus by each client; decoding, conditions and imports in this process or a child of it."""
    figures: list[Figure] = []
    async with Fleet(SERVICES).scraped(folder / "prometheus", every="5s") as prometheus:
        say("small queries")
        figures += await _ask_small(prometheus.url)
        say(f"{SERVICES} services")
        figures += await _ask_many(prometheus.url)
    say("decoding, conditions, imports")
    return [*figures, *_decode(), _judge(), _import("fastapi")]


async def _ask_small(url: str) -> list[Figure]:
    """CPU of this process, the client's threads included, by query; one after the other."""
    httpx2, client = importlib.import_module("httpx2"), importlib.import_module("prometheus_api_client")
    connected = await asyncio.to_thread(client.PrometheusConnect, url)
    async with aiohttp.ClientSession() as session, httpx2.AsyncClient() as other:

        async def by_aiohttp() -> None:
            await _ask(session, url, _SMALL)

        async def by_httpx2() -> None:
            (await other.get(f"{url}/api/v1/query", params={"query": _SMALL})).raise_for_status()

        async def by_thread() -> None:
            await asyncio.to_thread(connected.custom_query, _SMALL)

        asked = {"aiohttp": by_aiohttp, "httpx2": by_httpx2, "prometheus-api-client in threads": by_thread}
        return [
            Figure(row=f"a small query by {name}, CPU", value=1000 * await _spend(ask), unit="ms", compared=name == "aiohttp")
            for name, ask in asked.items()
        ]


async def _spend(ask: Callable[[], Awaitable[None]]) -> float:
    for _ in range(10):
        await ask()
    before = time.process_time()
    for _ in range(QUERIES):
        await ask()
    return (time.process_time() - before) / QUERIES


async def _ask(session: aiohttp.ClientSession, url: str, query: str) -> bytes:
    async with session.get(f"{url}/api/v1/query", params={"query": query}) as answer:
        answer.raise_for_status()
        return await answer.read()


async def _ask_many(url: str) -> list[Figure]:
    """Wall time until the values of all services are there: one query for all, and one for each, twenty at a time."""
    each = [_QUERY % f'service="service-{number:05d}"' for number in range(SERVICES)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:
        figures = []
        for row, queries in {
            f"{SERVICES} services in one query": [_QUERY % ""],
            f"{SERVICES} services, a query each": each,
        }.items():
            seconds = []
            for _ in range(RUNS):
                began = time.perf_counter()
                await asyncio.gather(*(_ask(session, url, query) for query in queries))
                seconds.append(time.perf_counter() - began)
            figures.append(Figure(row=f"{row}, wall", value=1000 * statistics.median(seconds), unit="ms", compared=False))
    return figures


def _decode() -> list[Figure]:
    """Labels and values of many series from one answer."""
    rows = [{"metric": {"service": f"service-{number:05d}"}, "value": [1e9, str(number / 7)]} for number in range(SERIES)]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
    reader = AnswerReader()
    if not isinstance(reader.read_instant(body)[0], Samples):
        raise RuntimeError("the answer was not read")  # noqa: TRY004 - a fault of the measurement, not of a type
    ways: dict[str, Callable[[], Any]] = {
        "msgspec, label sets known": partial(reader.read_instant, body),
        "msgspec, label sets new": lambda: AnswerReader().read_instant(body),
        "json": partial(_decode_plainly, body),
    }
    return [
        Figure(row=f"{SERIES:,} series by {name}, CPU", value=1000 * _time(way), unit="ms", compared=name != "json")
        for name, way in ways.items()
    ]


def _decode_plainly(body: bytes) -> dict[tuple[tuple[str, str], ...], float]:
    result = json.loads(body)["data"]["result"]
    return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in result}


def _time(way: Callable[[], Any]) -> float:
    """CPU seconds, median of some runs."""
    seconds = []
    for _ in range(RUNS):
        began = time.process_time()
        way()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def _judge() -> Figure:
    condition = Scope(("error_rate",)).compile(_CONDITION)
    flags = {"core": True, "customer_facing": True, "workaround": False}
    # two by turns: the answer for the values that came last is kept
    pair = tuple({"error_rate": value, "error_rate_baseline": 0.01, **flags} for value in (0.02, 0.03))
    if any(condition.evaluate(bindings) is not False for bindings in pair):
        raise RuntimeError("the condition was not judged")

    def judge_often() -> None:
        for number in range(EVALUATIONS):
            condition.evaluate(pair[number % 2])

    return Figure(row="one condition by cel-expr-python, CPU", value=1e6 * _time(judge_often) / EVALUATIONS, unit="µs")


def _import(name: str) -> Figure:
    """Median CPU time of an import that a child process makes."""
    code = f"import time; began = time.process_time(); import {name}; print(time.process_time() - began)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(RUNS)]
    return Figure(row=f"import of {name}, CPU", value=1000 * statistics.median(runs), unit="ms", compared=False)


QUESTION = Question(
    name="dependency",
    text="What do the libraries cost that were chosen, and those that were not?",
    method=f"{QUERIES} small queries of a real Prometheus by each client, one after the other; an answer with {SERIES:,} series; "
    f"`{_CONDITION}` {EVALUATIONS:,} times. Median of {RUNS} runs but for the small queries.",
    minutes=1.0,
    measure=measure,
)
