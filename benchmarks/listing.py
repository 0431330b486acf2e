"""What looking at a long history costs: lists of the API and pages of the console over ten thousand incidents."""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon
from benchmarks.question import RULES, Figure, Question
from detector.adapters.store import create_store
from detector.domain.incident import Status
from detector.domain.severity import Severity
from tests.kit.postgres import Postgres, find_postgres
from tests.kit.sample import decide, make_event, make_incident

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from benchmarks.question import Say
    from detector.domain.incident import Event, Incident

INCIDENTS = 10_000
REQUESTS = 40
MILLISECONDS = 100.0
_CHUNK = 1_000
_DAY_SECONDS = 86_400.0
_NOWHERE = "http://127.0.0.1:9"
_FIRST = "/api/v1/incidents"
_PATHS = {
    "API, newest 100": _FIRST,
    "API, by status, severity and service": f"{_FIRST}?status=closed&severity=critical&service=service-7",
    "API, a service that never had one": f"{_FIRST}?service=nothing",
    "console, incidents now": "/",
    "console, history": "/history",
    "console, history of one service": "/history?service=service-7&severity=critical",
}


async def measure(folder: Path, say: Say) -> list[Figure]:
    """The 95th percentile of each list, on SQLite and, where there is one, on PostgreSQL."""
    figures = await _measure_store(folder / "sqlite", "SQLite", None, say)
    if find_postgres() is not None:
        with Postgres() as server:
            figures += await _measure_store(folder / "postgres", "PostgreSQL", server.url(server.create_database()), say)
    return figures


async def _measure_store(folder: Path, name: str, url: str | None, say: Say) -> list[Figure]:
    async with _run(folder, name, url, say) as daemon:
        figures = []
        for row, path in await asyncio.to_thread(_add_deep_pages, daemon.port):
            say(f"{name}: {row}")
            spent = await asyncio.to_thread(_time, daemon.port, path)
            figures.append(Figure(row=row, column=name, value=spent, unit="ms", budget=MILLISECONDS))
        walked = await asyncio.to_thread(_walk, daemon.port)
        if walked != INCIDENTS:
            raise RuntimeError(f"{name}: walking all pages gave {walked} incidents, not {INCIDENTS}")
        return figures


@asynccontextmanager
async def _run(folder: Path, name: str, url: str | None, say: Say) -> AsyncIterator[Daemon]:
    store = create_store(folder / "state", url)
    await store.open()
    for begin in range(0, INCIDENTS, _CHUNK):
        say(f"{name}: writing incident {begin}")
        made: list[Incident | Event] = []
        for number in range(begin, begin + _CHUNK):
            made += [_make_closed(number), make_event(number)]
        await store.commit([], decide(*made), time.time())
    await store.close()
    settings = {"DETECTOR_DATABASE_URL": url} if url else {}
    async with Daemon(folder, RULES, prometheus=_NOWHERE, settings=settings) as daemon:
        yield daemon


def _make_closed(number: int) -> Incident:
    chance = random.Random(number)  # noqa: S311 - the same history in every run
    opened = time.time() - (INCIDENTS - number) * _DAY_SECONDS * 365 / INCIDENTS
    made = make_incident(
        number,
        status=Status.CLOSED,
        service=f"service-{chance.randrange(50)}",
        severity=chance.choice(list(Severity)),
        opened=opened,
        detected=opened + 5.0,
        resolved=opened + 600.0,
        closed=opened + 2400.0,
        due=None,
    )
    return replace(made, alerts={key: replace(alert, ended=opened + 600.0) for key, alert in made.alerts.items()})


def _add_deep_pages(port: int) -> list[tuple[str, str]]:
    """And the pages in the middle of the history, by the cursors that lead there."""
    link = f"{_FIRST}?limit=1000"
    for _ in range(INCIDENTS // 2 // 1000):
        _, headers = _get(port, link)
        found = re.search("<(.+)>", headers.get("link", ""))
        if found is None:
            raise RuntimeError("the history ended before its middle")
        link = found[1]
    return [*_PATHS.items(), ("API, 100 in the middle", link.replace("limit=1000", "limit=100"))]


def _walk(port: int) -> int:
    """How many different incidents all pages give, each once and in order."""
    link: str | None = f"{_FIRST}?limit=1000"
    opened: list[tuple[float, str]] = []
    while link is not None:
        body, headers = _get(port, link)
        opened += [(each["opened"], each["id"]) for each in json.loads(body)]
        found = re.search("<(.+)>", headers.get("link", ""))
        link = found[1] if found else None
    return len(set(opened)) if opened == sorted(opened, reverse=True) else -1


def _time(port: int, path: str) -> float:
    """95th percentile in milliseconds, the first request apart: it may import the console."""
    _get(port, path)
    connection = HTTPConnection("127.0.0.1", port, timeout=30.0)
    spent = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        spent.append(1000 * (time.perf_counter() - began))
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}")
    connection.close()
    return statistics.quantiles(spent, n=20)[-1]


def _get(port: int, path: str) -> tuple[bytes, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


QUESTION = Question(
    name="list",
    text=f"How long does a list take with {INCIDENTS:,} incidents in the history?",
    method=f"A year of {INCIDENTS:,} closed incidents in the store, the real process, {REQUESTS} requests each, 95th percentile; "
    "all pages are walked to the end and must give every incident once and in order.",
    minutes=1.5,
    measure=measure,
)
