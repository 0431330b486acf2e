"""The application path on virtual time: slots to committed incidents, with a scripted source and a store that can fail."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.app.evaluation import CHUNK
from detector.domain.alert import Change, Phase
from detector.domain.incident import BLIND_ID, STORE_DOWN_ID, Status
from detector.domain.label import make_labels
from detector.domain.outcome import NoData, Outcome, Samples
from detector.domain.severity import Severity
from tests.kit.stage import FAILED, HUNG, Stage, compare, make_rule, series, store_fault

OK = series(shop=0.0)
BAD = series(shop=0.2)


async def test_a_breach_pages_and_its_recovery_resolves() -> None:
    """From the first bad sample to the resolve with the value at recovery, through every part."""
    rule = make_rule("errors", policy_summary="{service} fails {error_rate:.0%} ({severity}, over {threshold})")
    async with Stage([rule]) as stage:
        stage.source.default = OK
        await stage.clock.run(10)
        assert stage.store.notices == {}
        assert stage.store.disk.alerts == {}
        stage.source.default = BAD
        await stage.clock.run(6)
        (incident,) = stage.store.disk.incidents.values()
        assert (incident.status, incident.severity) == (Status.OPEN, Severity.HIGH)
        assert incident.summary == "shop fails 20% (high, over 0.01)"
        assert stage.kinds == ["trigger"]
        stage.source.default = OK
        await stage.clock.run(20)
        (incident,) = stage.store.disk.incidents.values()
        assert incident.status is Status.RESOLVED
        assert stage.kinds == ["trigger", "resolve"]
        assert stage.ear.counts["errors"] == {"inactive": 1, "pending": 0, "firing": 0}
        assert stage.ear.troubles == []


async def test_one_hung_rule_of_fifty_delays_no_other() -> None:
    """49 rules are evaluated at every slot; the hung one skips those at which it still waits, and says so."""
    rules = [make_rule(f"rule-{number}", f"query-{number}") for number in range(50)]
    async with Stage(rules) as stage:
        stage.source.default = OK
        stage.source.answers["query-7"] = HUNG
        await stage.clock.run(61)
        for rule in rules:
            times = stage.ear.times(rule.name)
            if rule.name != "rule-7":
                assert len(times) >= 12
                assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(times)} == {5.0}
                assert rule.name not in stage.ear.missed
        assert {outcome for name, outcome, _ in stage.ear.evaluated if name == "rule-7"} == {"error"}
        assert stage.ear.missed["rule-7"] >= 5


async def test_an_evaluation_slower_than_its_interval_skips_slots_on_the_grid() -> None:
    """Queries that hang until the deadline twice over never overlap; every slot is run or counted."""
    async with Stage([make_rule("slow", "slow")]) as stage:
        stage.source.answers["slow"] = HUNG
        await stage.clock.run(101)
        times = stage.ear.times("slow")
        assert len({round(at % 5, 3) for at in times}) == 1
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times))
        assert 19 <= len(times) + stage.ear.missed["slow"] <= 21


async def test_rules_that_share_a_query_ask_it_once_a_slot() -> None:
    """Three rules of one batch, and one of a slower batch on the same slot, cost one request."""
    rules = [make_rule(name, "shared") for name in ("a", "b", "c")] + [make_rule("d", "shared", every_seconds=10.0)]
    async with Stage(rules) as stage:
        stage.source.default = OK
        await stage.clock.run(60)
        asked = Counter(stage.source.asked)
        assert set(asked.values()) == {1}
        assert len(asked) in {12, 13}
        assert len(stage.ear.times("a")) == len(stage.ear.times("c")) == len(asked)
        assert set(stage.ear.times("d")) < set(stage.ear.times("a"))


async def test_a_frozen_process_runs_no_burst() -> None:
    """After a minute in which nothing ran, each rule is evaluated once, at its newest slot, and the rest is counted."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        await stage.clock.run(20)
        before = len(stage.ear.times("a"))
        stage.clock.advance(60)
        await stage.clock.run(0)
        times = stage.ear.times("a")
        assert len(times) == before + 1
        assert stage.clock.now() - times[-1] < 5
        assert stage.ear.missed == {"a": 11}


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0])
async def test_a_wall_clock_set_by_an_hour_neither_stalls_nor_fires_early(jump_seconds: float) -> None:
    """A pending alert keeps its progress, no slot is lost for longer than an interval, nothing counts as missed."""
    async with Stage([make_rule("a", "q", policy_for_seconds=60.0)]) as stage:
        stage.source.default = BAD
        await stage.clock.run(20)
        before = len(stage.ear.times("a"))
        stage.clock.jump_wall(jump_seconds)
        await stage.clock.run(20)
        assert len(stage.ear.times("a")) >= before + 3
        state = stage.state("a", "shop")
        assert state is not None
        assert state.phase is Phase.PENDING
        assert 20 <= (state.pending_seconds or 0) <= 45
        assert stage.ear.missed == {}


async def test_twenty_thousand_alerts_are_advanced_in_chunks() -> None:
    """Between two chunks the loop gets its turn, and every alert is known afterwards."""
    async with Stage([make_rule("many", "q")]) as stage:
        many = Samples({make_labels({"service": f"s{number}"}): 0.0 for number in range(20 * CHUNK)})
        stage.source.default = many
        await stage.clock.run(6)
        assert len(stage.roster.states("many")) == 20 * CHUNK
        first = dict(stage.roster.states("many"))
        await stage.clock.run(5)
        assert all(stage.roster.states("many")[labels] is state for labels, state in first.items())
        assert stage.store.disk.alerts == {}
        assert stage.store.commits == 0


async def test_memory_is_swapped_only_after_the_commit() -> None:
    """While the commit is under way the API still shows the alert as it is stored; afterwards it fires."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        await stage.clock.run(6)
        stage.store.hold_seconds = 1.0
        stage.source.default = BAD
        while not stage.committer._lock.locked():
            await stage.clock.run(0.005)
        state = stage.state("a", "shop")
        assert state is not None
        assert state.phase is Phase.INACTIVE
        await stage.clock.run(1)
        state = stage.state("a", "shop")
        assert state is not None
        assert state.phase is Phase.FIRING


async def test_a_store_that_fails_for_half_a_minute_costs_no_page_and_makes_no_second_one() -> None:
    """Notices go out from memory once, under the ids that are committed when the store returns."""
    async with Stage([make_rule("a", "q"), make_rule("b", "r")]) as stage:
        stage.source.default = OK
        await stage.clock.run(6)
        stage.store.fault = store_fault()
        stage.source.answers["q"] = BAD
        await stage.clock.run(10)
        assert stage.committer.failing
        assert [notice.kind.value for notice in stage.offered] == ["trigger"]
        stage.source.answers["r"] = series(other=0.3)
        await stage.clock.run(20)
        assert len(stage.offered) == 2
        assert stage.store.notices == {}
        assert len([what for what, _ in stage.ear.troubles if what == "commit"]) == 1
        assert stage.ear.notes.count("commit failed again") == 1, "the same failure every second is not told every second"
        assert len(stage.ear.times("a")) >= 6
        stage.store.fault = None
        await stage.clock.run(5)
        assert not stage.committer.failing
        assert set(stage.store.notices) == {notice.id for notice in stage.offered}
        assert len(stage.offered) == 2
        assert stage.committer.book.incidents == stage.store.disk.incidents
        stage.source.answers["q"] = OK
        await stage.clock.run(20)
        assert stage.kinds.count("resolve") == 1
        assert len(stage.offered) == 2


async def test_a_store_that_is_begun_anew_gets_what_memory_knows() -> None:
    """What was open in the lost file is written to the new one with the next commit, and resolved; a page says so."""
    async with Stage([make_rule("a", "q"), make_rule("b", "r")]) as stage:
        stage.source.default = OK
        stage.source.answers["q"] = BAD
        await stage.clock.run(6)
        (lost,) = stage.store.disk.incidents.values()
        stage.store.begin_anew()
        await stage.clock.run(8)
        assert stage.store.disk.incidents[lost.id] == lost
        assert {each.service for each in stage.store.disk.incidents.values()} == {"shop", "detector"}
        await stage.clock.run(16)
        assert ("a", lost.alerts[next(iter(lost.alerts))].labels) in stage.store.disk.alerts
        stage.source.answers["q"] = OK
        await stage.clock.run(70)
        assert all(each.status in {Status.RESOLVED, Status.CLOSED} for each in stage.store.disk.incidents.values())
        assert sorted(stage.kinds) == ["resolve", "resolve", "trigger"]
        stage.source.answers["r"] = series(other=0.3)
        await stage.clock.run(6)
        assert lost.id in stage.store.disk.incidents, "merged once only"


async def test_a_store_that_fails_for_over_a_minute_is_a_page_from_memory_and_ends_when_it_answers() -> None:
    """Nothing breaches: the checkpoint alone notices. One page, committed under the same id, resolved; next time it relapses."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        await stage.clock.run(20)
        stage.store.fault = store_fault()
        await stage.clock.run(55)
        assert stage.offered == [], "a restart of the store pages nobody"
        await stage.clock.run(40)
        (page,) = stage.offered
        assert (page.incident, page.kind.value, page.severity) == (STORE_DOWN_ID, "trigger", Severity.MEDIUM)
        stage.store.fault = None
        await stage.clock.run(30)
        assert [notice.kind.value for notice in stage.store.notices.values()] == ["trigger", "resolve"]
        assert page.id in stage.store.notices
        stage.store.fault = store_fault()
        await stage.clock.run(100)
        assert [notice.kind.value for notice in stage.offered] == ["trigger", "relapse"]
        stage.store.fault = None
        await stage.clock.run(3)
        await stage.restart()
        await stage.clock.run(30)
        assert stage.store.disk.incidents[STORE_DOWN_ID].status is not Status.OPEN, "the next process ends it"


async def test_a_commit_that_takes_too_long_pages_from_memory_and_is_not_made_twice() -> None:
    """After two seconds the notices are offered; the commit that ends later holds the same ones."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.store.hold_seconds = 6.0
        stage.source.default = BAD
        await stage.clock.run(8)
        assert len(stage.offered) == 1
        await stage.clock.run(20)
        assert stage.store.commits == 1
        assert set(stage.store.notices) == {stage.offered[0].id}
        assert not stage.committer.failing


async def test_a_restart_keeps_pending_progress_and_pages_once() -> None:
    """Kill -9 in the middle of `for` and while firing: `for` goes on where the checkpoint left it, one trigger in all."""
    async with Stage([make_rule("a", "q", policy_for_seconds=60.0)]) as stage:
        stage.source.default = BAD
        await stage.clock.run(50)
        await stage.restart()
        state = stage.state("a", "shop")
        assert state is not None
        assert state.phase is Phase.PENDING
        assert (state.pending_seconds or 0) >= 25
        await stage.clock.run(40)
        assert stage.kinds == ["trigger"]
        await stage.restart()
        await stage.clock.run(20)
        assert stage.kinds == ["trigger"]
        stage.source.default = OK
        await stage.clock.run(30)
        assert stage.kinds == ["trigger", "resolve"]


async def test_a_failing_query_resolves_nothing() -> None:
    """A firing rule whose query fails, then answers empty, keeps its incident and counts both."""
    async with Stage([make_rule("a", "q"), make_rule("b", "other")]) as stage:
        stage.source.answers["other"] = OK
        stage.source.answers["q"] = BAD
        await stage.clock.run(10)
        for answer in (FAILED, NoData(), Samples({}, dropped=3)):
            stage.source.answers["q"] = answer
            await stage.clock.run(60)
        assert stage.kinds == ["trigger"]
        assert {outcome for name, outcome, _ in stage.ear.evaluated if name == "a"} == {"ok", "error", "no_data"}
        assert stage.roster.progress("a").last_success is not None


async def test_one_sick_rule_hurts_only_itself() -> None:
    """A rule whose condition raises is an error at every slot; the other one pages."""

    class Sick:
        text, names, comparisons = "sick", frozenset({"error_rate"}), ()

        def evaluate(self, bindings: object) -> bool:
            raise ZeroDivisionError(f"over {bindings!r}"[:9])

    async with Stage([make_rule("sick", "q", policy_open=Sick()), make_rule("well", "q")]) as stage:
        stage.source.default = BAD
        await stage.clock.run(12)
        assert {outcome for name, outcome, _ in stage.ear.evaluated if name == "sick"} == {"error"}
        assert "ZeroDivisionError" in stage.roster.progress("sick").failure
        assert stage.kinds == ["trigger"]


async def test_blind_after_two_minutes_and_seeing_again() -> None:
    """Every query fails: one incident under the fixed id, also over a restart; the first answer ends it."""
    async with Stage([make_rule("a", "q"), make_rule("b", "r")]) as stage:
        stage.source.default = OK
        await stage.clock.run(10)
        stage.source.default = FAILED
        await stage.clock.run(110)
        assert stage.store.disk.incidents == {}
        await stage.clock.run(20)
        assert [*stage.store.disk.incidents] == [BLIND_ID]
        assert stage.sentinel.blind
        assert "connect" in stage.store.disk.incidents[BLIND_ID].summary
        await stage.restart()
        await stage.clock.run(300)
        assert stage.kinds == ["trigger"]
        stage.source.default = OK
        await stage.clock.run(6)
        assert stage.kinds == ["trigger", "resolve"]
        assert not stage.sentinel.blind


async def test_baselines_are_asked_once_a_minute_and_outlive_short_failures() -> None:
    """Asked at once at start, then every minute; kept for ten minutes of failures, missing afterwards."""
    above = compare("error_rate", ">", 4.0, "error_rate_baseline")
    rule = make_rule("a", "q", baselines=frozenset({"error_rate"}), policy_open=above)
    async with Stage([rule]) as stage:
        stage.source.answers["q"] = series(shop=0.1)
        stage.source.default = series(shop=0.05)
        await stage.clock.run(0.1)
        assert stage.baselines.baselines(rule)["error_rate"] == series(shop=0.05).series
        await stage.clock.run(299)
        asked = [at for text, at in stage.source.asked if text != "q"]
        assert 4 <= len(asked) <= 6
        assert stage.baselines.baselines(rule)["error_rate"] == series(shop=0.05).series
        stage.source.default = FAILED
        await stage.clock.run(500)
        assert stage.baselines.baselines(rule)
        await stage.clock.run(200)
        assert not stage.baselines.baselines(rule)
        stage.source.default = series(shop=0.01)
        await stage.clock.run(70)
        assert stage.kinds == ["trigger"]


_ANSWERS: st.SearchStrategy[Outcome | str] = st.sampled_from(
    [OK, BAD, series(shop=0.02), NoData(), FAILED, HUNG, series(other=0.0)]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_ANSWERS, st.integers(1, 6), st.booleans(), st.booleans()), min_size=1, max_size=8))
async def test_every_trigger_is_followed_by_its_resolve(script: list[tuple[Outcome | str, int, bool, bool]]) -> None:
    """Whatever the source answers, with kills and store faults between: open keys all close once the series is healthy again."""
    async with Stage([make_rule("a", "q", policy_watch_seconds=60.0), make_rule("witness", "w")]) as stage:
        stage.source.answers["w"] = series(witness=0.0)
        for answer, slots, kill, fault in script:
            stage.source.answers["q"] = answer
            stage.store.fault = store_fault() if fault else None
            await stage.clock.run(5.0 * slots)
            if kill and not fault and not stage.committer.failing:
                await stage.restart()
        stage.store.fault = None
        stage.source.answers["q"] = OK
        await stage.clock.run(400)
        opened = {notice.key for notice in stage.store.notices.values() if notice.kind.value in {"trigger", "relapse", "rise"}}
        closed = [notice.key for notice in stage.store.notices.values() if notice.kind.value == "resolve"]
        assert sorted(closed) == sorted(opened)
        assert {notice.id for notice in stage.offered} <= set(stage.store.notices)
        assert not stage.committer.failing
        ended = [t for t in stage.ear.transitions if t.change is Change.ENDED]
        assert all(t.reason == "recovered" for t in ended)


async def test_blind_twice_pages_twice() -> None:
    """The blind incident has a fixed id; the second time is its next episode, with a key of its own."""
    async with Stage([make_rule("a", "q")]) as stage:
        for _ in range(2):
            stage.source.default = OK
            await stage.clock.run(60)
            stage.source.default = FAILED
            await stage.clock.run(200)
        assert stage.kinds == ["trigger", "resolve", "relapse"]


async def test_blindness_that_ends_with_a_restart_is_resolved() -> None:
    """The daemon comes back seeing at once: the incident of the process before it ends."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        await stage.clock.run(60)
        stage.source.default = FAILED
        await stage.clock.run(200)
        stage.source.default = OK
        await stage.restart()
        await stage.clock.run(10)
        assert stage.kinds == ["trigger", "resolve"]


async def test_the_severity_window_is_asked_only_while_something_breaches() -> None:
    """At the first breach it is asked at the same slot and decides the severity; at rest it costs nothing."""
    async with Stage([make_rule("a", "rate[$window]")]) as stage:
        stage.source.answers["rate[5m]"] = OK
        stage.source.answers["rate[1m]"] = series(shop=0.9)
        await stage.clock.run(16)
        assert {text for text, _ in stage.source.asked} == {"rate[5m]"}
        stage.source.answers["rate[5m]"] = series(shop=0.02)
        await stage.clock.run(5)
        (incident,) = stage.store.disk.incidents.values()
        assert incident.severity is Severity.HIGH
        times = {text: [at for asked, at in stage.source.asked if asked == text] for text in ("rate[5m]", "rate[1m]")}
        assert times["rate[1m]"] == times["rate[5m]"][-1:]
        stage.source.answers["rate[5m]"] = OK
        stage.source.answers["rate[1m]"] = OK
        await stage.clock.run(60)
        before = len(stage.source.asked)
        await stage.clock.run(30)
        assert {text for text, _ in stage.source.asked[before:]} == {"rate[5m]"}
