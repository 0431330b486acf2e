"""The signals of a watched incident, on virtual time: said once, in the thread, paging nobody."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from detector.app.watch import SignalWatch
from detector.domain.incident import Status
from detector.domain.label import make_labels
from detector.domain.ledger import Paging
from detector.domain.outcome import FailureReason, QueryFailed, RangeOutcome, RangeSamples
from detector.domain.rule import Instant
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAST = RangeSamples({make_labels({"service": "shop"}): tuple((60.0 * step, 0.2 + 0.001 * (step % 3)) for step in range(60))})


class RangeSource:
    """Answers range queries about the latency; keeps what was asked."""

    def __init__(self) -> None:
        self.answer: RangeOutcome = PAST
        self.asked: list[tuple[str, float, float]] = []

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Any:
        """The watch asks the present through the cache."""
        raise AssertionError(expr, at, deadline_seconds)

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """The scripted past of the latency; errors have none."""
        assert (step_seconds, deadline_seconds) == (60.0, 10.0)
        self.asked.append((expr, start, end))
        return self.answer if expr == "p95" or isinstance(self.answer, QueryFailed) else RangeSamples()


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Stage, RangeSource, SignalWatch]]:
    """A stage whose shop broke and recovered; a second rule measures its latency."""
    latency = replace(make_rule("latency"), signals=(Instant("error_rate", "p95"),))
    quiet = replace(latency, policy=make_rule("x", policy_for_seconds=1e9).policy)
    async with Stage([make_rule("errors", policy_watch_seconds=3600.0), quiet]) as stage:
        source = RangeSource()
        watch = make(stage, source)
        stage.source.answers["p95"] = series(shop=0.2)
        stage.source.answers["errors"] = series(shop=0.2)
        await stage.clock.run(11)
        stage.source.answers["errors"] = series(shop=0.0)
        await watch.look()
        assert source.asked == []  # not while it is open
        await stage.clock.run(30)
        yield stage, source, watch


def make(stage: Stage, source: RangeSource) -> SignalWatch:
    """The watch of a stage."""
    ear: Any = stage.ear
    return SignalWatch(stage.committer, stage.store, stage.roster, Paging(), stage.clock, ear, source, stage.cache)


def say(stage: Stage) -> list[str]:
    """What was said to look odd."""
    return [event.message for event in stage.store.disk.events if event.kind == "odd"]


async def test_a_latency_that_stayed_high_is_said_once_and_pages_nobody() -> None:
    """One line for the signal in this watch, however often it is looked at; the past is the hour before the breach, asked once."""
    async with watched() as (stage, source, watch):
        (incident,) = stage.store.disk.incidents.values()
        assert incident.status is Status.RESOLVED
        await watch.look()
        assert say(stage) == []
        stage.source.answers["p95"] = series(shop=0.9)
        before = list(stage.kinds)
        for _ in range(3):
            await stage.clock.run(60)
            await watch.look()
        assert say(stage) == ["looks odd during the watch: latency error_rate service=shop is 90%, usually 20.1%"]
        assert stage.kinds == before
        assert sorted(query for query, _, _ in source.asked) == ["errors", "p95"]
        assert all(end <= incident.opened and end - start == 3600.0 for _, start, end in source.asked)


async def test_a_restart_says_nothing_twice() -> None:
    """What the last process said stands in the timeline."""
    async with watched() as (stage, source, watch):
        stage.source.answers["p95"] = series(shop=0.9)
        await watch.look()
        await stage.restart()
        stage.source.answers["p95"] = series(shop=0.95)
        await stage.clock.run(10)
        await make(stage, source).look()
        assert len(say(stage)) == 1


async def test_a_past_that_cannot_be_asked_is_asked_again() -> None:
    """A failed query is no finding, and not kept as one."""
    async with watched() as (stage, source, watch):
        stage.source.answers["p95"] = series(shop=0.9)
        source.answer = QueryFailed(FailureReason.TIMEOUT)
        await watch.look()
        assert say(stage) == []
        source.answer = PAST
        await watch.look()
        assert len(say(stage)) == 1


async def test_the_loop_looks_every_minute() -> None:
    """Run as the daemon runs it."""
    async with watched() as (stage, _, watch):
        stage.source.answers["p95"] = series(shop=0.9)
        task = asyncio.create_task(watch.run())
        await stage.clock.run(59)
        assert say(stage) == []
        await stage.clock.run(2)
        assert len(say(stage)) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
