"""A backtest against asking at every slot, over invented pasts: whatever the rules and however the past is cut, nothing differs."""

from __future__ import annotations

import asyncio
import random
from array import array
from dataclasses import dataclass
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.adapters.rulefile import RuleDirectory
from detector.adapters.template import TemplateRenderer
from detector.app.backtest import Backtest
from detector.app.replay import Replay, replay_slots
from detector.domain.ledger import Paging
from detector.domain.outcome import Matrix, NoData, Outcome, RangeSamples, Row, Samples, Trace
from tests.kit.course import shop

if TYPE_CHECKING:
    from detector.domain.alert import Transition
    from detector.domain.incident import Notice
    from detector.domain.label import Labels
    from detector.domain.rule import RuleSet

STEP = 15.0
BEGIN = 1_700_000_100.0
COUNT = 90  # the first stretch has 60 steps
SERVICES = ("a", "b", "c")
RULES = """
services:
  a: {core: true}
rules:
  - name: equal-windows            # severity is judged by the answers of `open`
    by: [service]
    window: 1m
    severity_window: 1m
    signals: {errors: "rate(errors[$window])"}
    open: errors > 1
    severity: {high: errors > 6, medium: errors > 3, low: "true"}
    for: 15s
    recover_for: 30s
  - name: equal-windows-falling
    by: [service]
    window: 2m
    severity_window: 2m
    signals: {requests: "rate(requests[$window])", errors: "rate(errors[1m])"}
    open: requests < 4
    severity: {high: requests < 1 && core, medium: requests < 3, low: "true"}
    for: 1m
    recover_for: 30s
  - name: short-severity
    by: [service]
    window: 5m
    severity_window: 1m
    signals:
      share: {ratio: ["rate(errors[$window])", "rate(requests[1m])"], min_total: 1}
    open: share > 0.3
    severity: {high: share > 3.0, low: "true"}
    for: 30s
    recover_for: 30s
    no_data: open
  - name: long-severity
    by: [service]
    offset: 30s
    window: 1m
    severity_window: 5m
    signals: {errors: "rate(errors[$window])", requests: "rate(requests[1m])"}
    open: errors >= 2 && errors < 7 && !(requests > 6)
    severity: {high: errors > 6 && requests > 2, medium: errors > 4, low: "true"}
    recover_for: 15s
    keep_open: 30s
  - name: sure
    by: [service]
    window: 1m
    severity_window: 1m
    signals:
      share: {ratio: ["rate(errors[$window])", "rate(requests[$window])"], confidence: 0.9, min_total: 2}
    open: share > 0.2 || customer_facing && share > 0.9
    severity: {high: core && share > 0.8, medium: "true"}
    for: 45s
    overrides:
      - {match: {service: b}, open: share > 0.4}
  - name: unusual
    by: [service]
    window: 1m
    severity_window: 1m
    signals: {errors: "rate(errors[$window])"}
    open: errors > 1.5 * errors_baseline && errors > 2
    severity: {high: errors > 4.0 * errors_baseline, medium: "true"}
    for: 15s
    recover_for: 15s
"""


@dataclass(frozen=True)
class InventedSource:
    """A past made of a seed: every query has numbers of its own for every step, with holes and NaN; a port `PastSource`."""

    seed: int

    def find_value(self, expr: str, service: str, at: float) -> float | None:
        """None where the series is not there. What changes does so for a few steps, so that something lasts."""
        step = round((at - BEGIN) / STEP)
        numbers = random.Random(f"{self.seed} {expr} {service} {(step + 1000) // 3}")  # noqa: S311 - a repeatable past
        kind, calm = numbers.random(), random.Random(f"{self.seed} {service} {(step + 1000) // 20}").random() < 0.4  # noqa: S311
        if kind < 0.04:
            return None
        if kind < 0.08:
            return nan
        if "over_time" in expr:  # a baseline, of which no median of other numbers makes anything
            return numbers.random() / 3
        if calm:
            return 0.0 if "errors" in expr else 8.0
        return float(numbers.randrange(9)) + (step % 3) / 4  # climbs a little meanwhile

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """One moment."""
        del deadline_seconds
        found = {shop(name): value for name in SERVICES if (value := self.find_value(expr, name, at)) is not None}
        values = {labels: value for labels, value in found.items() if isfinite(value)}
        undefined = frozenset(found.keys() - values.keys())
        return Samples(values, len(undefined), undefined) if values else NoData(len(undefined), undefined)

    async def query_matrix(self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float) -> Matrix:
        """The same of many."""
        del deadline_seconds
        series: dict[Labels, Trace] = {}
        for name in SERVICES:
            found = {step: self.find_value(expr, name, start + step * step_seconds) for step in range(count)}
            values = {step: value for step, value in found.items() if value is not None and isfinite(value)}
            undefined = frozenset(step for step, value in found.items() if value is not None and not isfinite(value))
            if len(values) == count:
                series[shop(name)] = Trace(Row(array("d", values.values())))
            elif values or undefined:
                series[shop(name)] = Trace(values, undefined)
        return Matrix(series)

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeSamples:
        """Nothing asks for it."""
        raise NotImplementedError


@cache
def load_rules() -> RuleSet:
    """Read once."""
    return RuleDirectory(Path(), every_seconds=STEP).compile({"rules.yaml": RULES}).rules


class Record:
    """What a replay did."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.notices: list[Notice] = []
        self.replay = Replay(
            load_rules(), Paging(), TemplateRenderer(), STEP, listen=self.transitions.append, heed=self.notices.append
        )


async def _judge_twice(seed: int, points: int) -> tuple[Record, Record]:
    plain, quick, source = Record(), Record(), InventedSource(seed)
    await replay_slots(plain.replay, source, BEGIN, COUNT)
    await Backtest(source, [quick.replay], BEGIN, STEP, points=points).run(COUNT)
    return plain, quick


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000_000), points=st.sampled_from([50, 100, 300, 2_000]))
def test_same_as_asking_at_every_slot(seed: int, points: int) -> None:
    """Transitions with all they hold, incidents, notices, states and counts are equal."""
    plain, quick = asyncio.run(_judge_twice(seed, points))
    assert plain.transitions
    assert quick.transitions == plain.transitions
    assert quick.replay.incidents == plain.replay.incidents
    assert quick.notices == plain.notices
    assert quick.replay.states == plain.replay.states
    assert (quick.replay.pages, quick.replay.flaps) == (plain.replay.pages, plain.replay.flaps)
