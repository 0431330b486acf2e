"""Baselines of a backtest are computed only where a real Prometheus answers just that, and then without asking it."""

import asyncio
from collections.abc import Callable, Iterator
from functools import cached_property
from math import sin
from pathlib import Path

import pytest

from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.app.norm import AskedNorm, ComputedNorm
from detector.app.stretch import Stretch
from detector.domain.baseline import plan_baselines
from detector.domain.outcome import MatrixOutcome
from detector.transport.exchange import Exchange
from tests.kit.history import History, switch
from tests.kit.prometheus import Prometheus

START = 1_790_000_040.0
MINUTES = 150
RULES = """
rules:
  - name: level
    by: [service]
    signals: {level: 'sum by (service, instance) (level)'}
    open: level > 2.0 * level_baseline
  - name: p95
    by: [service]
    baseline: {over: 1h, ago: 5m}
    signals: {p95: 'histogram_quantile(0.95, sum by (service, le) (rate(seconds_bucket[$window])))'}
    open: p95 > 2.0 * p95_baseline
  - name: rate
    by: [service]
    offset: 1m
    signals:
      rate:
        min_total: 40
        ratio: ['sum by (service) (increase(bad_total[$window]))', 'sum by (service) (increase(all_total[$window]))']
    open: rate > 2.0 * rate_baseline
"""


class Counting(PrometheusSource):
    """A source that remembers what it was asked; `false` adds to every answer of a subquery, as another server might."""

    false = False

    @cached_property
    def asked(self) -> list[str]:
        """Queries over a range."""
        return []

    async def query_matrix(
        self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float = 10.0
    ) -> MatrixOutcome:
        """As the source."""
        self.asked.append(expr)
        text = f"({expr}) + 0.001" if self.false and "quantile_over_time(0.5" in expr else expr
        return await super().query_matrix(text, start, count, step_seconds, deadline_seconds=deadline_seconds)


def _wave(speed: float) -> Callable[[float], float | None]:
    return lambda at: 1.0 + sin(at * speed)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A past with gaps, births, ends and hours without traffic."""
    history = History(START - 7200, START + MINUTES * 60)
    flip = START + 4000
    for number in range(4):
        labels = {"service": f"s{number}"}
        history.add_gauge("level", {**labels, "instance": "a"}, _wave(number + 1))
        history.add_counter("all_total", labels, switch(0.1 * (number + 1), (flip, 0.15), (flip + 2000, 0.3)))
        history.add_counter("bad_total", labels, switch(None, (START - 3000 + 1500 * number, 0.02)))
        rate = switch(3.0, (flip - 900, None), (flip, 0.0), (flip + 900, 4.0))
        history.add_histogram("seconds", labels, rate, _wave(1 / (700 + 90 * number)))
    history.add_gauge("level", {"service": "moved", "instance": "a"}, switch(3.0, (START - 300, None)))
    history.add_gauge("level", {"service": "moved", "instance": "b"}, switch(None, (START - 300, 5.0)))
    prometheus = Prometheus(tmp_path_factory.mktemp("norm") / "prometheus", options=["--query.lookback-delta=20s"])
    prometheus.load_openmetrics(history.render())
    with prometheus:
        yield prometheus.url


@pytest.mark.parametrize("step_seconds", [15.0, 30.0, 60.0])
def test_computed_is_what_prometheus_answers(url: str, tmp_path: Path, step_seconds: float) -> None:
    """Every baseline of every alert at every step of two stretches, the second of which takes its first hour from the first."""
    asyncio.run(_compare(url, tmp_path, step_seconds))


async def _compare(url: str, folder: Path, step_seconds: float) -> None:
    (folder / "rules.yaml").write_text(RULES)
    rules = RuleDirectory(folder, every_seconds=step_seconds).load().rules.rules
    half = int(MINUTES * 30 / step_seconds)
    compared = 0
    async with Exchange() as exchange:
        source = Counting(exchange, url)
        trust: dict[str, bool] = {}
        before: Stretch | None = None
        for begin in (START, START + half * step_seconds):
            stretch = Stretch(source, begin, half, step_seconds, trust)
            await stretch.load(rules)
            if before is not None:
                stretch.follow(before)
                source.asked.clear()
            for rule in rules:
                norm = await stretch.load_baselines(rule)
                assert isinstance(norm, ComputedNorm)
                assert before is None or not source.asked
                asked = await stretch._ask_norm(rule)
                source.asked.clear()
                (name,) = plan_baselines(rule)
                keys = {*norm.tracks[name].index(rule.by), *next(iter(asked.matrices.values())).index(rule.by)}
                for labels in keys:
                    values = norm.list_values(name, labels)
                    assert values == asked.list_values(name, labels)
                    compared += len(values)
                    if values:
                        limits = norm.find_limits(name, labels)
                        assert min(limits) <= min(values.values()) <= max(values.values()) <= max(limits)
                for step in range(0, half, 7):
                    assert norm.answer(step, keys) == asked.answer(step, keys)
            before = stretch
    assert compared > 20 * half


def test_another_answer_is_believed(url: str, tmp_path: Path) -> None:
    """A server that answers something else than is computed is asked for every baseline."""
    asyncio.run(_distrust(url, tmp_path))


async def _distrust(url: str, folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES)
    rules = RuleDirectory(folder, every_seconds=60.0).load().rules.rules
    async with Exchange() as exchange:
        source = Counting(exchange, url)
        source.false = True
        stretch = Stretch(source, START, MINUTES, 60.0)
        await stretch.load(rules)
        for rule in rules:
            assert isinstance(await stretch.load_baselines(rule), AskedNorm)
