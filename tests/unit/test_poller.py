"""The poller's tasks: guarded, measured, stopped; the cache of answers; what the roster tells."""

from __future__ import annotations

import asyncio

from detector.app.cache import QueryCache
from detector.app.guard import guard
from detector.domain.alert import Phase
from detector.domain.label import make_labels
from tests.kit.clock import VirtualClock, settle
from tests.kit.stage import FAILED, HUNG, Ear, ScriptedSource, Stage, compare, make_rule, series


async def test_a_task_that_ends_by_a_fault_says_so_and_begins_again() -> None:
    """The guard names the task and the fault, waits a second, and runs the work anew until it returns."""
    clock, ear, runs = VirtualClock(), Ear(), 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise LookupError("lost\nit")

    task = asyncio.create_task(guard("batch x", work, clock, ear))
    await clock.run(0.9)
    assert runs == 1
    await clock.run(2)
    assert runs == 3
    assert task.done()
    assert ear.troubles == [("batch x", "LookupError: lost it")] * 2


async def test_the_watchdog_sees_a_batch_that_stands_still() -> None:
    """`last_tick` follows time while every batch ticks, and stops once one is overdue."""
    async with Stage([make_rule("a", "q"), make_rule("b", "r", every_seconds=7.0)]) as stage:
        stage.source.default = series(shop=0.0)
        await stage.clock.run(30)
        assert stage.clock.monotonic() - stage.poller.last_tick <= 1.0
        stuck = next(iter(stage.poller._running.values()))
        stuck.task.cancel()
        await stage.clock.run(30)
        assert stage.clock.monotonic() - stage.poller.last_tick > 15.0


async def test_the_lag_of_the_loop_is_measured() -> None:
    """A pause of four seconds shows as lag, and is gone a second later."""
    async with Stage([make_rule("a", "q")]) as stage:
        await stage.clock.run(5)
        assert stage.poller.lag_seconds < 0.01
        stage.clock.advance(4)
        await settle()
        assert stage.poller.lag_seconds >= 3.0
        await stage.clock.run(1)
        assert stage.poller.lag_seconds < 0.01


async def test_a_stop_waits_for_evaluations_and_cuts_those_that_hang() -> None:
    """Nothing new starts after a stop; what hangs is cut after the patience, and no task is left."""
    async with Stage([make_rule("a", "q", every_seconds=30.0)]) as stage:
        stage.source.answers["q"] = HUNG
        while not stage.source.asked:
            await stage.clock.run(1)
        stopping = asyncio.create_task(stage.poller.stop(patience_seconds=2.0))
        await stage.clock.run(1)
        assert not stopping.done()
        await stage.clock.run(1.5)
        assert stopping.done()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("rule ", "batch "))]
        await stage.clock.run(60)
        assert len(stage.source.asked) == 1


async def test_who_is_cancelled_takes_no_answer_from_the_others() -> None:
    """Two askers share a request; the first goes away, the second gets the answer."""
    clock = VirtualClock()
    source = ScriptedSource(clock)
    source.answers["q"] = HUNG
    cache = QueryCache(source, clock)
    first, second = (asyncio.create_task(cache.ask("q", 100.0, 5.0)) for _ in range(2))
    await settle()
    first.cancel()
    await clock.run(6)
    assert second.done()
    assert source.asked == [("q", 100.0)]
    await cache.close()


async def test_answers_are_forgotten() -> None:
    """A day of slots leaves only the last answers in the cache."""
    clock = VirtualClock()
    source = ScriptedSource(clock)
    cache = QueryCache(source, clock)
    for slot in range(1000):
        await cache.ask("q", 5.0 * slot, 5.0)
        clock.advance(5)
    assert len(cache._asked) == 1
    await cache.close()


async def test_the_roster_tells_how_rules_fare() -> None:
    """Reports follow the set's order with health, error and counts; live alerts hold what is pending or firing."""
    rules = [make_rule("z", "good"), make_rule("a", "bad"), make_rule("late", "x", every_seconds=3600.0)]
    async with Stage(rules) as stage:
        stage.source.answers["good"] = series(shop=0.3, calm=0.0)
        stage.source.answers["bad"] = FAILED
        await stage.clock.run(6)
        reports = stage.roster.rule_reports()
        assert [(report.name, report.health) for report in reports] == [("z", "ok"), ("a", "error"), ("late", "idle")]
        assert reports[0].alerts == {"inactive": 1, "pending": 0, "firing": 1}
        assert reports[1].last_error == "connect: refused"
        assert [(alert.rule, alert.service) for alert in stage.roster.live_alerts()] == [("z", "shop")]
        state = stage.roster.live_state("z", make_labels({"service": "shop"}))
        assert state is not None
        assert state.phase is Phase.FIRING


async def test_history_is_asked_while_an_alert_is_open_over_an_hour() -> None:
    """The day-old and week-old medians are asked about once an hour then, and forgotten when the alert has ended."""
    above = compare("error_rate", ">", 4.0, "error_rate_baseline")
    rule = make_rule("a", "q", baselines=frozenset({"error_rate"}), policy_open=above, every_seconds=30.0)
    async with Stage([rule]) as stage:
        stage.source.default = series(shop=0.01)
        stage.source.answers["q"] = series(shop=0.2)
        await stage.clock.run(3000)
        assert stage.baselines.history(rule) == {}
        texts = {text for text, _ in stage.source.asked}
        await stage.clock.run(5000)
        past = [text for text, _ in stage.source.asked if text not in texts]
        assert stage.baselines.history(rule)["error_rate"] == series(shop=0.01).series
        assert len(past) == 4
        stage.source.answers["q"] = series(shop=0.0)
        await stage.clock.run(200)
        assert stage.baselines.history(rule) == {}


async def test_rules_that_ask_the_same_wait_in_one_task() -> None:
    """Two hundred rules on one query: a few tasks while it hangs, all skip the slots it takes, and all go on after it."""
    names = [f"r{number}" for number in range(200)]
    async with Stage([make_rule(name, "q", every_seconds=5.0) for name in names]) as stage:
        stage.source.answers["q"] = HUNG
        while not stage.source.asked:
            await stage.clock.run(1)
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("rule ")]) == 1
        assert stage.poller._evaluations.keys() == set(names)
        stage.source.answers["q"] = series(shop=0.0)
        await stage.clock.run(20)
        assert all(len(stage.ear.times(name)) >= 2 for name in names)
        assert len({tuple(stage.ear.times(name)) for name in names}) == 1
        assert not stage.poller._evaluations


async def test_a_rule_that_waits_for_more_holds_none_that_asks_the_same() -> None:
    """One of two rules on a query also asks its severity window, which hangs: the other misses nothing."""
    query = "q[$window]"
    pair = [make_rule("plain", query, severity_window_seconds=300.0), make_rule("hot", query, severity_window_seconds=60.0)]
    async with Stage(pair) as stage:
        stage.source.answers |= {"q[5m]": series(shop=0.3), "q[1m]": HUNG}
        await stage.clock.run(60)
        assert len(stage.ear.times("plain")) >= 11
        assert 1 <= len(stage.ear.times("hot")) <= 6
