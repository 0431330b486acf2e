"""Merged queries against the engine itself: for generated expressions the parts of the merged answer are the single answers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from detector.adapters.family import plan_merging
from detector.adapters.prometheus import PrometheusSource
from detector.app.cache import QueryCache
from detector.domain.outcome import NoData, Outcome, QueryFailed, Samples
from detector.transport.exchange import Exchange
from tests.kit.clock import VirtualClock
from tests.kit.history import History
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START, SPAN_SECONDS = 1_790_000_000.0, 1800.0
AT = START + SPAN_SECONDS - 60.0
VALUES = ("a.b", "c|d", "e", "f+g(")
ABSENT = "nobody"


@pytest.fixture(scope="module")
def prometheus(prometheus_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Half an hour of counters, gauges and histograms of four services, unequal in what they have."""
    del prometheus_bin  # asked for its skip
    chance = random.Random(7)  # noqa: S311 - samples, not secrets
    history = History(START, START + SPAN_SECONDS)
    for number, service in enumerate(VALUES):
        for pod in ("p", "q", "r")[: 1 + number % 3]:
            labels = {"service": service, "pod": pod, "env": "prod"}
            rate = chance.uniform(1, 50)
            history.add_counter("requests_total", {**labels, "code": "200"}, rate)
            if number != 1:
                history.add_counter("requests_total", {**labels, "code": "500"}, rate / 20)
            history.add_gauge("load", labels, chance.uniform(0, 2))
            if number != 2:
                history.add_gauge("limit", labels, chance.uniform(0.5, 1.5))
            history.add_histogram("latency", labels, rate, chance.uniform(0.05, 2))
    server = Prometheus(tmp_path_factory.mktemp("merge"))
    server.load_openmetrics(history.render())
    with server:
        yield server


GAUGES = ("load", "limit")
BY = st.sampled_from(["", " by (pod)", " by (service)", " by (pod, service)", " by (env)"])
ON = st.sampled_from(["", " on (pod)", " on (service)", " on (pod, service)", " on ()"])


FUNCTION = st.sampled_from(["rate", "increase", "max_over_time", "avg_over_time", "changes", "count_over_time"])
AGGREGATION = st.sampled_from(["sum", "min", "max", "avg", "count"])
OPERATOR = st.sampled_from(["+", "-", "*", "/", ">", "< bool", "and", "or", "unless"])
COMPARISON = st.sampled_from([">", "<=", "*", "/", "^", "!= bool"])
BUCKETS = 'rate(latency_bucket{service="SERVICE"}[5m])'


@st.composite
def selectors(draw: st.DrawFn) -> str:
    """A selector of one service."""
    name = draw(st.sampled_from([*GAUGES, "requests_total", "requests_total"]))
    more = draw(st.sampled_from(["", ', code=~"5.."', ', pod!="q"', ', env="prod"', ', code!~"2.."']))
    offset = draw(st.sampled_from(["", "", " offset 3m"]))
    return f'{name}{{service="SERVICE"{more}}}WINDOW{offset}'


@st.composite
def vectors(draw: st.DrawFn, depth: int = 3) -> str:
    """An instant vector about one service."""
    plain = draw(selectors()).replace("WINDOW", "")
    if depth == 0:
        return plain
    inner = vectors(depth - 1)
    forms = {
        "function": lambda: f"{draw(FUNCTION)}({draw(selectors()).replace('WINDOW', '[5m]')})",
        "aggregation": lambda: f"{draw(AGGREGATION)}{draw(BY)} ({draw(inner)})",
        "two vectors": lambda: f"({draw(inner)}) {draw(OPERATOR)}{draw(ON)} ({draw(inner)})",
        "a number": lambda: f"{draw(inner)} {draw(COMPARISON)} {draw(st.sampled_from(['0', '1', '0.5', '-2']))}",
        "each sample": lambda: f"{draw(st.sampled_from(['abs', 'ceil', 'sgn', '-', 'sqrt']))}({draw(inner)})",
        "subquery": lambda: f"{draw(st.sampled_from(['max', 'avg', 'last']))}_over_time(({draw(inner)})[4m:1m])",
        "histogram": lambda: f"histogram_quantile(0.9, sum{draw(st.sampled_from([' by (le)', ' by (le, pod)']))} ({BUCKETS}))",
        "brackets": lambda: f"({draw(inner)})",
        "selector": lambda: plain,
    }
    return forms[draw(st.sampled_from(sorted(forms)))]()


def write(expression: str, value: str) -> str:
    """The expression about that service."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return expression.replace("SERVICE", quoted)


def assert_same(single: Outcome, part: Outcome, query: str) -> None:
    """The same series with the same values, to the last digits but rounding."""
    if isinstance(single, NoData):
        assert isinstance(part, NoData), (query, part)
        assert part.undefined == single.undefined, query
        return
    assert isinstance(single, Samples), (query, single)
    assert isinstance(part, Samples), (query, part)
    assert part.series == pytest.approx(dict(single.series), rel=1e-9, abs=1e-12), query
    assert part.undefined == single.undefined, query


async def compare(url: str, queries: list[str]) -> str:
    """Ask them merged, and each by itself; what kind of answer there was."""
    async with Exchange() as exchange:
        source = PrometheusSource(exchange, url)
        alone = [await source.query(query, AT, deadline_seconds=10.0) for query in queries]
        cache = QueryCache(source, VirtualClock(), plan_merging)
        cache._merged = plan_merging([queries])
        assert len({cache.name_query(query) for query in queries}) == 1, queries
        merged = await source.query(cache.name_query(queries[0]), AT, deadline_seconds=10.0)
        together = await cache.ask_all(queries, AT, 10.0)
    for query, single in zip(queries, alone, strict=True):
        if isinstance(single, QueryFailed):
            assert isinstance(merged, QueryFailed), f"the engine refuses {query} alone ({single.detail}) and takes the merged one"
            return "refused by the engine"
        assert_same(single, together[query], query)
    if isinstance(merged, QueryFailed):
        return "merged one refused, asked one by one"
    return "with data" if any(isinstance(each, Samples) for each in alone) else "without data"


@given(expression=vectors())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_parts_of_a_merged_answer_are_the_single_answers(prometheus: Prometheus, expression: str) -> None:
    """Whatever may be merged gives each query what it would have got alone; one of the values has no series at all."""
    queries = [write(expression, value) for value in (*VALUES, ABSENT)]
    if queries[0] not in plan_merging([queries]):
        event("not merged")
        return
    event(asyncio.run(compare(prometheus.url, queries)))


@pytest.mark.parametrize(
    "expression",
    [
        'sum(rate(requests_total{service="SERVICE",code=~"5.."}[5m])) / sum(rate(requests_total{service="SERVICE"}[5m]))',
        'sum by (pod) (load{service="SERVICE"}) > on (pod) sum by (pod) (limit{service="SERVICE"})',
        'histogram_quantile(0.95, sum by (le) (rate(latency_bucket{service="SERVICE"}[5m])))',
        'max_over_time((sum(load{service="SERVICE"}))[5m:1m]) > bool 0.5',
        'load{service="SERVICE"} unless on (pod) limit{service="SERVICE"}',
        '-load{service="SERVICE"} ^ 2',
    ],
)
def test_usual_forms_are_merged_and_the_same(prometheus: Prometheus, expression: str) -> None:
    """Forms of public rule collections: merged, with data, the same."""
    queries = [write(expression, value) for value in (*VALUES, ABSENT)]
    assert asyncio.run(compare(prometheus.url, queries)) == "with data"


def test_over_two_hundred_values_are_asked_for_by_none(prometheus: Prometheus) -> None:
    """The label's matcher names no value then, and what nobody asked for is left out."""
    queries = [write('sum(load{service="SERVICE"})', value) for value in (*VALUES, *(f"s{number}" for number in range(300)))]
    assert 'service!=""' in plan_merging([queries])[queries[0]].query
    assert asyncio.run(compare(prometheus.url, queries)) == "with data"
