"""Keeping the lease on virtual time: taken, renewed, run out, lost; what may still be sent at each moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from detector.app.lease import Lease
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import TemporaryError
from detector.ports.lease import NotLeadingError, Tenure
from detector.ports.store import Delivery
from tests.kit.clock import VirtualClock, settle
from tests.kit.observer import RecordingObserver

TTL = 15.0
PAGE = Delivery("n", "i", 1, NoticeKind.TRIGGER, "pagerduty", "default", "key", Severity.HIGH, 0.0, {})


class Row:
    """The database's side: who holds the lease, and whether anyone reaches it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.holder = ""
        self.away = False
        self.hangs = False
        self.renewed_at: list[float] = []

    async def acquire(self) -> Tenure | None:
        """Free or not."""
        await self._answer()
        if self.holder not in {"", "me"}:
            return None
        self.holder = "me"
        return Tenure(1, TTL)

    async def renew(self) -> bool:
        """Mine or not."""
        await self._answer()
        self.renewed_at.append(self._clock.monotonic())
        return self.holder == "me"

    async def release(self) -> None:
        """Free from now on."""
        await self._answer()
        self.holder = ""

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise TemporaryError("connection refused")


class World:
    """A lease with its clock and row, and what it told."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.row = Row(self.clock)
        self.lost: list[str] = []
        self.lease = Lease(self.row, self.clock, RecordingObserver(), self.lost.append)

    async def lead(self) -> asyncio.Task[None]:
        """Take it and renew from now on."""
        assert await self.lease.take()
        task = asyncio.create_task(self.lease.run())
        await settle()
        return task

    def may_send(self, notice: Delivery = PAGE) -> bool:
        """Whether the notice passes now."""
        try:
            self.lease.check_notice(notice)
        except NotLeadingError:
            return False
        return True


@pytest.fixture
def world() -> World:
    """A lease that nobody holds."""
    return World()


async def test_a_leader_renews_in_thirds_and_sends(world: World) -> None:
    """While the database answers, the end never comes near."""
    task = await world.lead()
    await world.clock.run(60.0)
    assert world.row.renewed_at == [5.0 * turn for turn in range(1, 13)]
    assert world.may_send()
    assert not world.lost
    task.cancel()


async def test_who_does_not_lead_sends_nothing(world: World) -> None:
    """Before the lease was taken nothing passes, not even a request without a notice."""
    world.row.holder = "other"
    assert not await world.lease.take()
    assert not world.may_send()
    with pytest.raises(NotLeadingError):
        world.lease.check()


async def test_a_process_that_stood_still_sends_nothing_until_the_database_answered(world: World) -> None:
    """After the pause the end has passed: nothing passes; the answer that another leads ends it."""
    task = await world.lead()
    world.clock.advance(TTL)  # frozen: nobody ran meanwhile
    world.row.holder = "other"
    assert not world.may_send()
    await settle()
    assert world.lost == ["another replica holds the lease"]
    assert not world.may_send()
    assert task.done()


async def test_a_process_that_stood_still_goes_on_where_nobody_took_over(world: World) -> None:
    """The same pause of the only replica: the renewal makes it good again."""
    task = await world.lead()
    world.clock.advance(TTL)
    assert not world.may_send()
    await settle()
    assert world.may_send()
    assert not world.lost
    task.cancel()


async def test_a_renewal_that_hung_through_the_pause_proves_nothing(world: World) -> None:
    """It was asked for before the end, so its silence is the pause's, not the database's."""
    task = await world.lead()
    world.row.hangs = True
    await world.clock.run(5.0)
    world.clock.advance(TTL)
    await settle()
    assert not world.may_send()
    world.row.hangs, world.row.holder = False, "other"
    await world.clock.run(2.0)
    assert world.lost
    assert task.done()


async def test_while_the_database_is_away_only_grave_openings_go_out(world: World) -> None:
    """Up to the end everything; past it the opening of HIGH and CRITICAL, no resolve; after its return everything."""
    task = await world.lead()
    resolve, mild = replace(PAGE, kind=NoticeKind.RESOLVE), replace(PAGE, severity=Severity.MEDIUM)
    await world.clock.run(6.0)
    world.row.away = True
    await world.clock.run(10.0)
    assert [world.may_send(each) for each in (PAGE, resolve, mild)] == [True, True, True]
    await world.clock.run(120.0)
    assert [world.may_send(each) for each in (PAGE, resolve, mild)] == [True, False, False]
    world.row.away = False
    await world.clock.run(1.0)
    assert [world.may_send(each) for each in (PAGE, resolve, mild)] == [True, True, True]
    assert not world.lost
    task.cancel()


async def test_a_database_that_hangs_is_one_that_is_away(world: World) -> None:
    """Without any answer the renewals are given up one after the other, and grave openings go out past the end."""
    task = await world.lead()
    world.row.hangs = True
    await world.clock.run(60.0)
    assert world.may_send()
    assert not world.may_send(replace(PAGE, kind=NoticeKind.RESOLVE))
    task.cancel()


async def test_a_standby_takes_over_within_a_second(world: World) -> None:
    """It asks every second; told to stop it gives up."""
    world.row.holder = "other"
    stop = asyncio.Event()
    waiting = asyncio.create_task(world.lease.await_turn(stop, TTL))
    await world.clock.run(30.0)
    assert not waiting.done()
    world.row.holder = ""
    await world.clock.run(1.0)
    assert await waiting
    other = asyncio.create_task(Lease(world.row, world.clock, RecordingObserver(), world.lost.append).await_turn(stop, TTL))
    world.row.holder = "other"
    stop.set()
    await world.clock.run(1.0)
    assert not await other


async def test_after_an_outage_the_leader_before_comes_first(world: World) -> None:
    """The lease ran out while the database was away: a standby leaves the one who paged from memory a third of the TTL."""
    world.row.holder = "other"
    waiting = asyncio.create_task(world.lease.await_turn(asyncio.Event(), TTL))
    await world.clock.run(3.0)
    world.row.away = True
    await world.clock.run(60.0)
    world.row.away, world.row.holder = False, ""
    await world.clock.run(4.0)
    assert not waiting.done()
    await world.clock.run(4.0)
    assert await waiting


async def test_release_is_bounded_and_ends_the_lead(world: World) -> None:
    """A database that hangs holds no exit; nothing is sent after."""
    task = await world.lead()
    world.row.hangs = True
    releasing = asyncio.create_task(world.lease.release(patience_seconds=2.0))
    await world.clock.run(2.0)
    await releasing
    assert not world.may_send()
    task.cancel()
