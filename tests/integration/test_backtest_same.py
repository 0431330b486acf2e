"""A backtest gives exactly what asking at every slot gives: the same transitions, incidents and pages, over the same real past."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.template import TemplateRenderer
from detector.app.backtest import Backtest
from detector.app.replay import Replay, replay_slots
from detector.domain.incident import Incident, Notice
from detector.domain.ledger import Paging
from detector.transport.exchange import Exchange
from tests.integration import test_shipped_rules as shipped
from tests.kit.history import History, switch
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from detector.domain.alert import Transition

RULES = Path(__file__).parents[2] / "rules"
OTHERS = """
rules:
  - name: odd-form                          # its directions are not known: every moment is evaluated
    by: [service]
    signals: {bad: 'sum by (service) (rate(http_requests_total{code=~"5.."}[$window]))'}
    open: bad * bad > 1.0
  - name: without-data
    by: [service]
    no_data: open
    offset: 45s
    signals: {good: 'sum by (service) (rate(http_requests_total{code="200"}[$window]))'}
    open: good < 0.001
    recover_for: 1m
  - name: crowded                           # two series for an alert while both instances live
    by: [service]
    signals: {all: 'sum by (service, instance) (rate(http_requests_total{service=~"restarted|two"}[$window]))'}
    open: all > 15.0
  - name: unusual
    by: [service]
    signals:
      error_rate:
        ratio: ['sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))',
                'sum by (service) (increase(http_requests_total[$window]))']
        confidence: 0.95
        min_total: 5
    open: error_rate > 3.0 * error_rate_baseline || !customer_facing && error_rate > 0.5
    for: 1m
    overrides:
      - {match: {service: ten}, open: error_rate > 0.5}
  - name: between                           # what drives both ways, beside a bound and a part whose form is not known
    by: [service]
    signals:
      sure_rate: &sure
        ratio: ['sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))',
                'sum by (service) (increase(http_requests_total[$window]))']
        confidence: 0.9
        min_total: 100
      errors: 'sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))'
    open: sure_rate > 0.01 && (errors >= 5 && errors < 40) && errors / 4.0 > 1.5
    for: 30s
    recover_for: 1m
  - name: equal
    by: [service]
    signals: {errors: 'sum by (service) (ceil(increase(http_requests_total{code=~"5.."}[1m])))', sure_rate: *sure}
    open: errors != 0 && !(sure_rate > 0.005)
    recover_for: 1m
"""
GROUPS = """
groups:
  - name: plain
    rules:
      - alert: Failing
        expr: sum by (service) (rate(http_requests_total{code=~"5.."}[5m])) > 1
        for: 1m
        labels: {severity: critical}
      - {alert: Down, expr: up == 0, keep_firing_for: 2m}
"""


class Record:
    """What a replay did."""

    def __init__(self, folder: Path, step_seconds: float) -> None:
        self.transitions: list[Transition] = []
        self.notices: list[Notice] = []
        rules = RuleDirectory(folder, every_seconds=step_seconds).load().rules
        told, heard = self.transitions.append, self.notices.append
        self.replay = Replay(rules, Paging(), TemplateRenderer(), step_seconds, listen=told, heed=heard)

    @property
    def incidents(self) -> dict[str, Incident]:
        """As they ended."""
        return self.replay.incidents


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A Prometheus with many stories in it, and rules of every kind."""
    folder = tmp_path_factory.mktemp("past")
    shutil.copytree(RULES, folder / "rules")
    (folder / "rules" / "catalogue.yaml").write_text(shipped.CATALOGUE)
    (folder / "rules" / "others.yaml").write_text(OTHERS)
    (folder / "rules" / "groups.yaml").write_text(GROUPS)
    history = History(shipped.START, shipped.END)
    shipped._write_services(history)
    shipped._write_latency(history)
    shipped._write_hosts(history)
    flapping = [(shipped.FLIP + 90.0 * number, 2.0 * (number % 2)) for number in range(12)]
    shipped._add_requests(history, "flapping", 20.0, switch(0.0, *flapping))
    prometheus = Prometheus(folder / "prometheus", options=["--query.lookback-delta=20s"])
    prometheus.load_openmetrics(history.render())
    prometheus.start()
    try:
        yield prometheus.url, folder / "rules"
    finally:
        prometheus.stop()


async def _judge_twice(url: str, folder: Path, start: float, count: int, step_seconds: float, points: int) -> tuple[Record, Record]:
    plain, quick = Record(folder, step_seconds), Record(folder, step_seconds)
    async with Exchange() as exchange:
        source = PrometheusSource(exchange, url)
        failures = await replay_slots(plain.replay, source, start, count)
        assert not failures
        await Backtest(source, [quick.replay], start, step_seconds, points=points).run(count)
    return plain, quick


@pytest.mark.parametrize(("step_seconds", "points"), [(15.0, 500_000), (15.0, 5_000), (60.0, 20_000), (20.0, 12_000)])
def test_same_as_asking_at_every_slot(past: tuple[str, Path], step_seconds: float, points: int) -> None:
    """Whatever the step, and however the past is cut: transitions, incidents, notices, states, pages and flaps are equal."""
    start = shipped.FLIP - 300.0
    count = int((shipped.END - start) / step_seconds)
    plain, quick = asyncio.run(_judge_twice(*past, start, count, step_seconds, points))
    assert len(plain.incidents) > 20
    assert {transition.rule for transition in plain.transitions} >= {
        "http-errors",
        "odd-form",
        "without-data",
        "unusual",
        "between",
        "equal",
        "Failing",
    }
    assert [(told.at, told.rule, told.labels, told.change) for told in quick.transitions] == [
        (told.at, told.rule, told.labels, told.change) for told in plain.transitions
    ]
    assert quick.transitions == plain.transitions
    assert quick.incidents == plain.incidents
    assert quick.notices == plain.notices
    assert quick.replay.states == plain.replay.states
    assert (quick.replay.pages, quick.replay.flaps) == (plain.replay.pages, plain.replay.flaps)
