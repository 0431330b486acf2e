"""What people do in PagerDuty, brought back on virtual time: by webhook, by asking, in groups; and lost resolves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from detector.app import readback as module
from detector.app.readback import MOST_REPAIRS, Readback
from detector.domain.incident import Status
from detector.domain.ledger import Paging
from detector.ports.error import PermanentError, TemporaryError
from detector.ports.pagerduty import PagerDutyWord, Standing
from detector.ports.store import DeliveryState
from tests.kit.account import MemoryAccount
from tests.kit.stage import Stage, make_rule, series, store_fault

if TYPE_CHECKING:
    from detector.domain.incident import Incident

MINUTE, QUARTER = 60.0, 900.0
ERIN = "Erin (PagerDuty)"


def make(stage: Stage, account: MemoryAccount | None = None) -> Readback:
    """The read back of a stage."""
    ear: Any = stage.ear
    return Readback(stage.committer, stage.store, stage.roster, Paging(), stage.clock, ear, account)


async def breach(stage: Stage, *services: str) -> list[str]:
    """These services break and page; their keys, in the order of the services."""
    stage.source.default = series(**dict.fromkeys(services or ("shop",), 0.2))
    await stage.clock.run(11)
    return [find(stage, service).pages[-1].key for service in services or ("shop",)]


def find(stage: Stage, service: str = "shop") -> Incident:
    """The incident of that service."""
    (incident,) = [one for one in stage.store.disk.incidents.values() if one.service == service]
    return incident


def deliver(stage: Stage) -> None:
    """Everything queued was accepted."""
    for row in stage.store.disk.outbox.values():
        row.state = DeliveryState.ACCEPTED


def count(stage: Stage, kind: str) -> int:
    """Notices of that kind."""
    return stage.kinds.count(kind)


async def test_resolved_in_pagerduty_while_bad_is_flagged_and_pages_again_after_a_quarter_of_an_hour() -> None:
    """Under a new key, since the old one is closed there for ever."""
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        await make(stage).hear(PagerDutyWord("P1", key, ERIN, Standing.RESOLVED))
        incident = find(stage)
        assert (incident.status, incident.end_reason) == (Status.RESOLVED, "resolved by hand")
        last = next(event for event in stage.store.disk.events if event.kind == "resolved")
        assert (last.actor, last.message) == (ERIN, "resolved by hand while metrics are still bad")
        await stage.clock.run(QUARTER - 60)
        assert count(stage, "relapse") == 0
        await stage.clock.run(70)
        assert count(stage, "relapse") == 1
        assert find(stage).pages[-1].key != key


async def test_an_acknowledgement_heard_twice_or_with_our_own_is_one() -> None:
    """No acknowledgement goes out, and the timeline has one."""
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        readback = make(stage)
        for _ in range(3):
            await readback.hear(PagerDutyWord("P1", key, ERIN, Standing.ACKNOWLEDGED))
        assert (find(stage).status, find(stage).acknowledged_by) == (Status.ACKNOWLEDGED, ERIN)
        assert count(stage, "acknowledge") == 0
        assert [event.kind for event in stage.store.disk.events].count("acknowledged") == 1


async def test_a_note_without_a_key_is_known_by_an_earlier_word() -> None:
    """A note names PagerDuty's incident only; written after the close it still belongs to the incident."""
    async with Stage([make_rule("errors", policy_watch_seconds=60.0)]) as stage:
        (key,) = await breach(stage)
        readback = make(stage)
        await readback.hear(PagerDutyWord("P1", key, ERIN, Standing.ACKNOWLEDGED))
        stage.source.default = series(shop=0.0)
        await stage.clock.run(200)
        assert find(stage).status is Status.CLOSED
        for _ in range(2):
            await readback.hear(PagerDutyWord("P1", "", ERIN, text="it was the disk", at=stage.clock.now()))
        notes = [event for event in stage.store.disk.events if event.kind == "note"]
        assert [(note.actor, note.message) for note in notes] == [(ERIN, "it was the disk")]
        assert find(stage).status is Status.CLOSED


async def test_what_is_not_ours_changes_nothing() -> None:
    """Another sender's incident on the same account, with and without a key."""
    async with Stage([make_rule("errors")]) as stage:
        await breach(stage)
        before = stage.store.disk.writes
        for key in ("", "somebody-elses", f"{find(stage).id}:7:default"):
            await make(stage).hear(PagerDutyWord("P9", key, ERIN, Standing.RESOLVED, text="hm"))
        assert stage.store.disk.writes == before
        assert find(stage).status is Status.OPEN


async def test_a_store_that_fails_is_not_heard_as_done() -> None:
    """The word is to be said again."""
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        stage.store.fault = store_fault()
        with pytest.raises(TemporaryError):
            await make(stage).hear(PagerDutyWord("P1", key, ERIN, Standing.ACKNOWLEDGED))


async def test_asking_finds_an_acknowledgement_and_asks_nothing_when_nothing_is_open() -> None:
    """One request for each open key a pass; what is known already changes nothing; a closed incident is not asked for again."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")]) as stage:
        readback = make(stage, account)
        await stage.clock.run(10)
        await readback.poll()
        assert account.asked == []
        (key,) = await breach(stage)
        remote = account.hold(key)
        account.stand(remote, Standing.ACKNOWLEDGED)
        for _ in range(2):
            await run(stage, readback)
        assert (find(stage).status, find(stage).acknowledged_by) == (Status.ACKNOWLEDGED, ERIN)
        assert (count(stage, "acknowledge"), account.asked) == (0, [f"key {key}"] * 2)


async def run(stage: Stage, readback: Readback) -> None:
    """One pass; its pauses are virtual."""
    task = asyncio.create_task(readback.poll())
    await stage.clock.run(MINUTE)
    await task


async def test_grouped_alerts_are_found_by_their_alert_keys() -> None:
    """The incident's own key is that of the first alert; the second is found among the alerts of open incidents."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")]) as stage:
        keys = await breach(stage, "shop", "cart")
        readback = make(stage, account)
        account.hold("somebody-elses")
        remote = account.hold("first-of-the-group", *keys)
        account.stand(remote, Standing.ACKNOWLEDGED)
        await run(stage, readback)
        for service in ("shop", "cart"):
            assert find(stage, service).acknowledged_by == ERIN
        account.stand(remote, Standing.RESOLVED)
        await run(stage, readback)
        assert find(stage, "cart").status is Status.RESOLVED


async def test_a_webhook_of_a_group_is_that_of_every_key_in_it() -> None:
    """The alert keys are read from the account; while it does not answer, the event is to be sent again."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")]) as stage:
        keys = await breach(stage, "shop", "cart")
        readback = make(stage, account)
        remote = account.hold("first-of-the-group", *keys)
        account.fault = TemporaryError("503")
        with pytest.raises(TemporaryError, match="cannot be read"):
            await readback.hear(PagerDutyWord(remote, "", ERIN, Standing.ACKNOWLEDGED))
        await readback.hear(PagerDutyWord(remote, keys[0], ERIN, Standing.ACKNOWLEDGED))
        assert find(stage).status is Status.ACKNOWLEDGED
        assert find(stage, "cart").status is Status.OPEN
        account.fault = None
        await readback.hear(PagerDutyWord(remote, "first-of-the-group", ERIN, Standing.ACKNOWLEDGED))
        assert find(stage, "cart").status is Status.ACKNOWLEDGED


async def test_a_lookup_that_hangs_holds_no_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own key in the word is enough; without one the event is to be sent again."""
    account = MemoryAccount()

    async def hang(_: str) -> dict[str, Standing]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(account, "read_alerts", hang)
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.05)
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        readback = make(stage, account)
        with pytest.raises(TemporaryError, match="cannot be read"):
            await readback.hear(PagerDutyWord("P1", "", ERIN, Standing.ACKNOWLEDGED))
        await readback.hear(PagerDutyWord("P1", key, ERIN, Standing.ACKNOWLEDGED))
        assert find(stage).status is Status.ACKNOWLEDGED


async def test_a_merged_incident_is_not_a_resolve() -> None:
    """PagerDuty resolves what was merged; its alert lives on among those of the other."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        readback = make(stage, account)
        source = account.hold(key)
        account.stand(source, Standing.RESOLVED, merged=True)
        target = account.hold("other", key)
        await run(stage, readback)
        assert find(stage).status is Status.OPEN
        account.stand(target, Standing.RESOLVED)
        await run(stage, readback)
        assert find(stage).status is Status.RESOLVED


async def test_a_resolve_that_was_lost_is_sent_again() -> None:
    """Accepted, and open there a minute later: once more, five times at most, then a human is told; never while it is under way."""
    account = MemoryAccount()
    async with Stage([make_rule("errors", policy_watch_seconds=36000.0)]) as stage:
        (key,) = await breach(stage)
        readback = make(stage, account)
        remote = account.hold(key)
        deliver(stage)
        stage.source.default = series(shop=0.0)
        await stage.clock.run(30)
        assert count(stage, "resolve") == 1
        for _ in range(3):
            await run(stage, readback)  # its resolve still waits in the queue
        assert count(stage, "resolve") == 1
        deliver(stage)
        await run(stage, readback)
        assert count(stage, "resolve") == 1  # it may still be on its way through PagerDuty
        await run(stage, readback)
        assert count(stage, "resolve") == 2
        for _ in range(20):
            deliver(stage)
            await run(stage, readback)
        assert count(stage, "resolve") == 1 + MOST_REPAIRS
        assert "resolve it by hand" in stage.ear.troubles[-1][1]
        account.stand(remote, Standing.RESOLVED)
        await run(stage, readback)
        asked = len(account.asked)
        await run(stage, readback)
        assert len(account.asked) == asked  # settled: not asked for again


async def test_an_account_that_fails_is_told_once_and_asked_again() -> None:
    """A refused token does not fill the log, and ends nothing."""
    account = MemoryAccount(fault=PermanentError("401"))
    async with Stage([make_rule("errors")]) as stage:
        (key,) = await breach(stage)
        readback = make(stage, account)
        for _ in range(3):
            await run(stage, readback)
        assert stage.ear.troubles == [("pagerduty read back", "PermanentError: 401")]
        account.fault = None
        account.stand(account.hold(key), Standing.ACKNOWLEDGED)
        await run(stage, readback)
        assert find(stage).status is Status.ACKNOWLEDGED
