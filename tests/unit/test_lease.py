"""Keeping leases: by which clock, what is let go of when, and what a replica that stood still may send."""

from __future__ import annotations

import asyncio

import pytest

from detector.app.lease import ROUNDS, LeaseKeeper
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.domain.shard import SHARDS, find_shard
from detector.ports.error import NotOursError
from detector.ports.store import Delivery
from tests.kit.clock import VirtualClock
from tests.kit.leaserow import LeaseRows
from tests.kit.observer import RecordingObserver

TTL = 15.0


class World:
    """A keeper with everything about it."""

    def __init__(self) -> None:
        self.rows = LeaseRows()
        self.clock = VirtualClock()
        self.observer = RecordingObserver()
        self.metric: dict[int, bool] = {}
        self.keeper = LeaseKeeper(self.rows, self.clock, self.observer, ttl_seconds=TTL, on_led=self.metric.__setitem__)

    def deliver(self, epoch: int | None) -> Delivery:
        """A page that was claimed in that epoch."""
        now = self.clock.now()
        return Delivery("n", "i", 1, NoticeKind.TRIGGER, "pagerduty", "default", "k", Severity.HIGH, now, {}, epoch=epoch)


@pytest.fixture
def world() -> World:
    """A replica that has not asked yet."""
    return World()


async def test_the_first_leads_all_after_one_round(world: World) -> None:
    """All shards, and the metric says so; before that none."""
    assert not world.keeper.list_led()
    assert await world.keeper.keep()
    assert world.keeper.list_led() == frozenset(range(SHARDS))
    assert world.metric == dict.fromkeys(range(SHARDS), True)


async def test_the_deadline_runs_from_the_question(world: World) -> None:
    """An answer that took six seconds leaves nine; past them nothing is led, whatever the database said."""
    world.rows.on_keep = lambda: world.clock.advance(6)
    await world.keeper.keep()
    world.clock.advance(8.9)
    assert world.keeper.leads(0)
    world.clock.advance(0.2)
    assert not world.keeper.leads(0)
    world.keeper.look()
    assert not any(world.metric.values())


async def test_a_wall_clock_that_jumps_changes_nothing(world: World) -> None:
    """An hour forward or back: leases are reckoned on the monotonic clock."""
    await world.keeper.keep()
    for seconds in (3600, -7200):
        world.clock.jump_wall(seconds)
        assert world.keeper.leads(0)


async def test_what_was_claimed_may_leave_only_under_its_lease(world: World) -> None:
    """Within what is left of it; not past the deadline, not in another epoch, and at once where there are no others."""
    await world.keeper.keep()
    assert 14 < world.keeper.permit(world.deliver(1)) < TTL
    with pytest.raises(NotOursError):
        world.keeper.permit(world.deliver(0))
    world.clock.advance(TTL)
    with pytest.raises(NotOursError):
        world.keeper.permit(world.deliver(1))
    with pytest.raises(NotOursError):
        world.keeper.check()
    world.rows.take(find_shard("i"), "other")
    world.rows.take(find_shard("i"), "me")
    await world.keeper.keep()
    world.keeper.check()
    with pytest.raises(NotOursError):  # another may have sent it in between
        world.keeper.permit(world.deliver(1))
    assert world.keeper.permit(world.deliver(3)) > 0


async def test_one_that_stood_still_is_not_alone_at_once(world: World) -> None:
    """Its question fails as it wakes: that is no outage until it has lasted a while, and an answer ends it."""
    await world.keeper.keep()
    world.clock.advance(60)
    world.rows.failing = True
    assert not await world.keeper.keep()
    assert not world.keeper.away
    world.clock.advance(4.9)
    assert not world.keeper.away
    world.clock.advance(0.2)
    assert world.keeper.away
    world.keeper.check()  # whoever is alone sends what is grave
    world.rows.failing = False
    assert await world.keeper.keep()
    assert not world.keeper.away
    assert world.observer.troubles[0][0] == "leases"


async def test_an_expired_lease_that_nobody_took_keeps_its_epoch(world: World) -> None:
    """So that what waited for the database can be written under it."""
    await world.keeper.keep()
    before = world.keeper.make_fence(5)
    world.clock.advance(600)
    assert not world.keeper.leads(5)
    assert world.keeper.make_fence(5) == before
    await world.keeper.keep()
    assert world.keeper.leads(5)
    assert world.keeper.make_fence(5) == before


async def test_surplus_is_let_go_of_in_two_rounds(world: World) -> None:
    """First nothing is begun for it, then it is given up; what is under way is waited for, but not for ever."""
    settled: list[int] = []

    async def settle() -> None:
        settled.append(world.rows.rounds)

    world.keeper.settle = settle
    await world.keeper.keep()
    world.rows.others = {"zz": False}
    await world.keeper.keep()
    led = world.keeper.list_led()
    assert len(led) == SHARDS // 2
    leaving = frozenset(range(SHARDS)) - led
    assert len(world.rows.held) == SHARDS
    assert all(world.keeper.holds(shard) for shard in leaving)  # states may still be written
    busy = min(leaving)
    world.keeper.busy = lambda: {busy}
    await world.keeper.keep()
    assert world.rows.held.keys() == led | {busy}
    assert settled == [2]
    world.clock.advance(TTL)
    await world.keeper.keep()
    assert world.rows.held.keys() == led


async def test_a_shard_that_another_took_is_gone(world: World) -> None:
    """What was worked out under it is fenced by an epoch that never stands."""
    await world.keeper.keep()
    world.rows.take(7, "other")
    world.rows.others = {"other": False}
    await world.keeper.keep()
    assert not world.keeper.leads(7)
    assert world.keeper.make_fence(7).epoch == 0
    assert not world.metric[7]


async def test_release_ends_everything_even_where_the_database_is_away(world: World) -> None:
    """Nothing is led from then on, no round takes anything back; the rows run out by themselves where nobody answers."""
    await world.keeper.keep()
    world.rows.failing = True
    await world.keeper.release()
    assert not world.keeper.list_led()
    assert "not released" in world.observer.troubles[-1][1]
    world.rows.failing = False
    await world.keeper.keep()
    assert not world.keeper.list_led()


async def test_who_ends_is_counted_no_more_and_gives_up_what_is_idle(world: World) -> None:
    """At once what nothing is under way for, the rest as that ends; it beats no more, so that the others' shares grow."""
    await world.keeper.keep()
    world.keeper.busy = lambda: {3}
    await world.keeper.leave()
    assert not world.rows.counted
    assert not world.keeper.list_led()
    assert world.rows.held == {3: "me"}
    world.keeper.busy = frozenset
    await world.keeper.keep()
    assert not world.rows.held


async def test_a_free_shard_is_taken_before_the_next_round_is_due(world: World) -> None:
    """Somebody left: the next round is now."""
    rounds = asyncio.create_task(world.keeper.run())
    try:
        await world.clock.run(TTL / ROUNDS + 0.1)
        before = world.rows.rounds
        world.keeper.hurry()
        await world.clock.run(0.1)
        assert world.rows.rounds == before + 1
        await world.clock.run(0.1)
        assert world.rows.rounds == before + 1
    finally:
        rounds.cancel()


async def test_a_store_of_ones_own_asks_nothing(world: World) -> None:
    """SQLite: every shard is led always, and no page waits for a lease."""
    world.rows.exclusive = True
    await world.keeper.keep()
    world.clock.advance(1e6)
    assert world.keeper.list_led() == frozenset(range(SHARDS))
    assert world.keeper.permit(world.deliver(None)) == float("inf")
    assert world.rows.rounds == 0


async def test_others_say_whether_they_are_blind(world: World) -> None:
    """One's own word does not count among theirs."""
    world.keeper.is_blind = lambda: True
    await world.keeper.keep()
    assert not world.keeper.others_blind
    world.rows.others = {"other": True}
    await world.keeper.keep()
    assert world.keeper.others_blind
