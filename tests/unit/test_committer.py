"""The committer alone: sharing, actions, timers, faults of a decision, checkpoints."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from detector.domain.alert import AlertState, Change, Phase, Transition
from detector.domain.incident import Book, Decision, Event, Status
from detector.domain.label import make_labels
from detector.domain.severity import Severity
from detector.ports.error import TemporaryError
from tests.kit.stage import Stage, make_rule, series, store_fault


def fire(rule: str, service: str, at: float) -> Transition:
    """An alert that fires."""
    labels = make_labels({"service": service})
    state = AlertState(labels, Phase.FIRING, breached=at, fired=at, severity=Severity.HIGH)
    return Transition(Change.FIRED, rule, labels, at, service, state, summary="down", watch_seconds=60.0)


async def test_commits_that_wait_together_share_a_transaction() -> None:
    """Ten rules that fire in the same moment cost one commit, and everybody returns after it."""
    async with Stage([make_rule("a", "q")]) as stage:
        now = stage.clock.now()
        swapped: list[str] = []
        waiting = [
            asyncio.create_task(stage.committer.submit((), (fire("a", f"s{number}", now),), lambda: swapped.append("x")))
            for number in range(10)
        ]
        await stage.clock.run(0.01)
        assert all(task.done() for task in waiting)
        assert len(swapped) == 10
        assert stage.store.commits == 1
        assert len(stage.store.disk.incidents) == 10


async def test_a_timer_that_is_due_is_run_without_a_transition() -> None:
    """A resolved incident is closed when its watch has passed."""
    async with Stage([make_rule("a", "q", policy_watch_seconds=60.0)]) as stage:
        stage.source.default = series(shop=0.2)
        await stage.clock.run(6)
        stage.source.default = series(shop=0.0)
        await stage.clock.run(20)
        assert [incident.status for incident in stage.store.disk.incidents.values()] == [Status.RESOLVED]
        await stage.clock.run(70)
        assert [incident.status for incident in stage.store.disk.incidents.values()] == [Status.CLOSED]
        assert stage.committer.book == Book()


async def test_an_action_is_committed_and_its_fault_is_the_callers() -> None:
    """What a human decides returns as committed; what it raises comes back and stops nothing."""
    async with Stage([make_rule("a", "q")]) as stage:
        note = Event("i", 1.0, "kim", "note", "looking")
        assert (await stage.committer.submit_action(lambda _: Decision(events=(note,)))).events == (note,)
        assert list(stage.store.disk.events) == [note]

        def refuse(book: Book) -> Decision:
            raise LookupError(f"none of {len(book.incidents)}")

        with pytest.raises(LookupError):
            await stage.committer.submit_action(refuse)
        assert stage.committer.idle


async def test_an_action_waits_for_no_store_that_fails() -> None:
    """While pages go out from memory an action is refused at once, so that it cannot overtake them."""
    async with Stage([make_rule("a", "q")]) as stage:
        stage.store.fault = store_fault()
        stage.source.default = series(shop=0.2)
        await stage.clock.run(6)
        with pytest.raises(TemporaryError, match="cannot be written now"):
            await stage.committer.submit_action(lambda _: Decision())


async def test_a_decision_that_raises_refuses_its_submitter_and_the_next_ones_go_alone() -> None:
    """A transition that `correlate` cannot take is refused; after that, commits are not shared, so that others pass."""
    async with Stage([make_rule("a", "q")]) as stage:
        now = stage.clock.now()
        broken = replace(fire("a", "shop", now), labels=7)  # type: ignore[arg-type]
        first = [asyncio.create_task(stage.committer.submit((), (one,))) for one in (broken, fire("b", "other", now))]
        await stage.clock.run(0.01)
        assert [type(task.exception()) for task in first] == [TypeError, TypeError]
        again = [asyncio.create_task(stage.committer.submit((), (one,))) for one in (broken, fire("b", "other", now))]
        await stage.clock.run(5)
        assert [type(task.exception()) for task in again] == [TypeError, type(None)]
        assert [incident.service for incident in stage.store.disk.incidents.values()] == ["other"]


async def test_unchanged_rules_are_checkpointed_together() -> None:
    """Thirty rules that only go on cost no commit and one checkpoint every fifteen seconds."""
    async with Stage([make_rule(f"r{number}", f"q{number}") for number in range(30)]) as stage:
        stage.source.default = series(shop=0.0)
        await stage.clock.run(61)
        assert stage.store.commits == 0
        assert stage.store.checkpoints == 4
        assert len(stage.store.disk.progress) == 30


async def test_a_checkpoint_that_fails_is_said_once_and_made_later() -> None:
    """What was behind stays behind until it is written."""
    async with Stage([make_rule("a", "q", policy_for_seconds=600.0)]) as stage:
        stage.source.default = series(shop=0.2)
        await stage.clock.run(6)
        stage.store.fault = store_fault()
        await stage.clock.run(60)
        assert stage.committer.failing
        assert [trouble for trouble in stage.ear.troubles if trouble[0] == "checkpoint"] == [
            ("checkpoint", "TemporaryError: disk full")
        ]
        stage.store.fault = None
        await stage.clock.run(15)
        assert not stage.committer.failing
        (state,) = stage.store.disk.alerts.values()
        assert (state.pending_seconds or 0) >= 60


async def test_rows_of_alerts_at_rest_are_deleted() -> None:
    """A pending alert that clears leaves no row behind."""
    async with Stage([make_rule("a", "q", policy_for_seconds=600.0)]) as stage:
        stage.source.default = series(shop=0.2)
        await stage.clock.run(20)
        assert len(stage.store.disk.alerts) == 1
        stage.source.default = series(shop=0.0)
        await stage.clock.run(6)
        assert stage.store.disk.alerts == {}


async def test_a_row_written_late_for_an_alert_that_has_cleared_is_deleted() -> None:
    """Pending and cleared while the store fails: once it answers, no row tells of a pending alert."""
    async with Stage([make_rule("a", "q", policy_for_seconds=600.0)]) as stage:
        stage.source.default = series(shop=0.0)
        await stage.clock.run(6)
        stage.store.fault = store_fault()
        stage.source.default = series(shop=0.2)
        await stage.clock.run(10)
        stage.source.default = series(shop=0.0)
        await stage.clock.run(10)
        assert stage.committer.failing
        stage.store.fault = None
        await stage.clock.run(20)
        assert stage.store.disk.alerts == {}
        assert len(stage.ear.transitions) == 2
