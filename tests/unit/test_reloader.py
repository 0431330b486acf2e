"""Loading and reloading rules: what changes, what goes on, what a start does with findings."""

from __future__ import annotations

import itertools

import pytest

from detector.domain.alert import Phase
from detector.domain.catalogue import Catalogue, Service
from detector.ports.rulefile import Finding, RuleFilesError
from tests.kit.stage import Stage, make_rule, series, store_fault

BAD = series(shop=0.2)
OK = series(shop=0.0)
FINDING = Finding("rules.yaml", 3, 5, "unknown key `opn`: did you mean `open`?")


async def test_a_reload_that_reorders_changes_no_state_and_no_slot() -> None:
    """Same rules in another order: the very same state objects, the same grid, no slot lost, no commit."""
    rules = [make_rule("a", "q"), make_rule("b", "r", policy_for_seconds=300.0), make_rule("c", "s")]
    async with Stage(rules) as stage:
        stage.source.default = BAD
        await stage.clock.run(21)
        states = {name: dict(stage.roster.states(name)) for name in "abc"}
        commits = stage.store.commits
        tasks = {key: running.task for key, running in stage.poller._running.items()}
        stage.files.rules = list(reversed(rules))
        assert await stage.reloader.reload() == ()
        assert all(stage.roster.states(name)[labels] is state for name in "abc" for labels, state in states[name].items())
        assert {key: running.task for key, running in stage.poller._running.items()} == tasks
        await stage.clock.run(20)
        assert stage.store.commits == commits
        for name in "abc":
            times = stage.ear.times(name)
            assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(times)} == {5.0}


async def test_a_reload_with_findings_changes_nothing_and_says_why() -> None:
    """The findings come back, are observed, and the old set goes on."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        stage.files.fault = RuleFilesError([FINDING])
        assert await stage.reloader.reload() == (FINDING,)
        assert stage.ear.refused == [[str(FINDING)]]
        await stage.clock.run(11)
        assert len(stage.ear.times("a")) >= 2
        assert len(stage.ear.loaded) == 1


async def test_a_new_catalogue_and_new_rules_run_from_the_next_slot() -> None:
    """A reload swaps rules and catalogue together."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        stage.files.rules = [make_rule("a", "q"), make_rule("new", "n")]
        stage.files.catalogue = Catalogue({"shop": Service("shop", pagerduty="payments")})
        assert await stage.reloader.reload() == ()
        stage.source.answers["n"] = BAD
        await stage.clock.run(6)
        (notice,) = stage.store.notices.values()
        assert notice.route == "payments"


async def test_a_removed_rule_ends_after_the_grace() -> None:
    """Its incident resolves as `rule removed` five minutes later, not before, and no row stays."""
    rules = [make_rule("a", "q"), make_rule("b", "r")]
    async with Stage(rules) as stage:
        stage.source.default = OK
        stage.source.answers["q"] = BAD
        await stage.clock.run(11)
        stage.files.rules = rules[1:]
        await stage.reloader.reload()
        assert [key.query for key in stage.poller._running] == ["r"]
        await stage.clock.run(290)
        assert stage.kinds == ["trigger"]
        await stage.clock.run(20)
        assert stage.kinds == ["trigger", "resolve"]
        (incident,) = stage.store.disk.incidents.values()
        assert incident.end_reason == "rule removed"
        assert stage.store.disk.alerts == {}
        assert stage.roster.orphans() == []
        assert not stage.roster.states("a")


async def test_a_removed_rule_that_returns_within_the_grace_goes_on() -> None:
    """The alert fires on in the same episode, as if nothing had happened."""
    rules = [make_rule("a", "q"), make_rule("b", "r")]
    async with Stage(rules) as stage:
        stage.source.default = OK
        stage.source.answers["q"] = BAD
        await stage.clock.run(11)
        before = stage.state("a", "shop")
        stage.files.rules = rules[1:]
        await stage.reloader.reload()
        await stage.clock.run(200)
        stage.files.rules = rules
        await stage.reloader.reload()
        after = stage.state("a", "shop")
        assert after is before
        await stage.clock.run(400)
        assert stage.kinds == ["trigger"]
        state = stage.state("a", "shop")
        assert state is not None
        assert state.phase is Phase.FIRING


async def test_a_rule_removed_while_the_daemon_was_down_ends_too() -> None:
    """Its stored alerts are orphans from the start."""
    rules = [make_rule("a", "q"), make_rule("b", "r")]
    async with Stage(rules) as stage:
        stage.source.default = OK
        stage.source.answers["q"] = BAD
        await stage.clock.run(11)
        stage.files.rules = rules[1:]
        await stage.restart()
        await stage.clock.run(310)
        assert stage.kinds == ["trigger", "resolve"]
        assert stage.store.disk.alerts == {}


async def test_a_start_with_findings_runs_the_last_good_set() -> None:
    """The stored set runs and the report says so."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.source.default = OK
        stage.files.fault = RuleFilesError([FINDING])
        await stage.restart()
        assert stage.report.used_last_good
        assert stage.report.findings == (FINDING,)
        assert len(stage.ear.loaded) == 1
        await stage.clock.run(6)
        assert stage.ear.times("a")


@pytest.mark.parametrize("stored", [False, True], ids=["never stored", "store down"])
async def test_a_start_with_findings_and_no_last_good_set_fails(stored: bool) -> None:  # noqa: FBT001 - a parameter
    """Without a set to run the start raises the findings."""
    stage = Stage([make_rule("a", "q")])
    if stored:

        async def refuse() -> None:
            raise store_fault()

        stage.store.load_rules = refuse  # type: ignore[method-assign]
    stage.files.fault = RuleFilesError([FINDING])
    try:
        with pytest.raises(RuleFilesError) as raised:
            await stage.start()
        assert raised.value.findings == (FINDING,)
    finally:
        await stage.kill()


async def test_a_store_that_fails_does_not_stop_a_reload() -> None:
    """The set runs, and it is said that it could not be kept; the next reload keeps it."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.store.fault = store_fault()
        stage.files.rules = [make_rule("b", "r")]
        assert await stage.reloader.reload() == ()
        assert stage.ear.troubles == [("save rules", "TemporaryError: disk full")]
        assert stage.store.disk.rules == {"names": "a"}
        stage.store.fault = None
        await stage.reloader.reload()
        assert stage.store.disk.rules == {"names": "b"}
