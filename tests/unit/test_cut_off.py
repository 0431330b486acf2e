"""What one of several replicas sends that does not reach the database: pages from memory, as long as they are wanted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from detector.app.dispatcher import Dispatcher
from detector.app.lease import LeaseKeeper
from detector.domain.incident import PAGERDUTY, NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import NotOursError
from tests.kit.clock import VirtualClock
from tests.kit.destination import Pager, Trouble
from tests.kit.leaserow import LeaseRows
from tests.kit.memorystore import MemoryStore
from tests.kit.observer import RecordingObserver
from tests.kit.sample import make_notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector.ports.channel import Receipt
    from detector.ports.store import Delivery

TTL_SECONDS = 15.0
LONG_SECONDS = 120.0
PAGE = make_notice(1, severity=Severity.HIGH)
END = make_notice(1, NoticeKind.RESOLVE, severity=Severity.HIGH)


class Island:
    """A dispatcher whose replica lost the database long ago."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pager = Pager(PAGERDUTY, self.clock, Trouble.FAILED)
        self.rows = LeaseRows()
        observer = RecordingObserver()
        self.keeper = LeaseKeeper(self.rows, self.clock, observer, ttl_seconds=TTL_SECONDS)
        self.dispatcher = Dispatcher(self.pager, MemoryStore(), observer, self.clock, keeper=self.keeper)

    async def lose_database(self) -> None:
        """Every lease runs out."""
        await self.keeper.keep()
        self.rows.failing = True
        await self.keeper.keep()
        self.clock.advance(2 * TTL_SECONDS)
        assert self.keeper.away
        assert not self.keeper.list_led()


@pytest.fixture
async def island() -> AsyncIterator[Island]:
    """Cut off, with a pager that fails."""
    island = Island()
    await island.lose_database()
    work = asyncio.create_task(island.dispatcher.run())
    yield island
    work.cancel()


async def test_a_page_leaves_when_the_pager_takes_it(island: Island) -> None:
    """From memory, though no lease is held."""
    island.dispatcher.offer([PAGE])
    await island.clock.run(5)
    island.pager.trouble = Trouble.NONE
    await island.clock.run(LONG_SECONDS)
    assert [each.id for each in island.pager.taken] == [PAGE.id]


async def test_what_ended_before_it_left_leaves_no_more(island: Island) -> None:
    """Others may have paged and resolved it: a trigger now would open an alert that nobody ends. No resolve leaves either."""
    island.dispatcher.offer([PAGE])
    await island.clock.run(5)
    assert island.pager.attempts
    island.dispatcher.offer([END])
    await island.clock.run(1)
    before, island.pager.trouble = island.pager.attempts, Trouble.NONE
    await island.clock.run(LONG_SECONDS)
    assert (island.pager.attempts, island.pager.taken) == (before, [])


async def test_a_page_that_the_deadline_held_back_waits_in_memory(island: Island) -> None:
    """The last look refuses it while it is not certain yet that nobody reaches the database: it leaves once that is so."""
    refused: list[str] = []

    async def refuse(delivery: Delivery, *, now: float) -> Receipt:
        refused.append(delivery.id)
        if len(refused) == 1:
            raise NotOursError("every lease ended")
        return await send(delivery, now=now)

    island.pager.trouble, send = Trouble.NONE, island.pager.send
    island.pager.send = refuse  # type: ignore[method-assign]
    island.dispatcher.offer([PAGE])
    await island.clock.run(LONG_SECONDS)
    assert [each.id for each in island.pager.taken] == [PAGE.id]


async def test_what_has_its_row_is_left_to_the_leader_of_its_shard(island: Island) -> None:
    """The database is back and has the page, whoever wrote it: memory tries no further, also where an attempt is under way."""
    island.pager.trouble = Trouble.HANGS
    island.dispatcher.offer([PAGE])
    await island.clock.run(1)
    island.dispatcher.committed([PAGE])
    await island.clock.run(10)
    before, island.pager.trouble = island.pager.attempts, Trouble.NONE
    await island.clock.run(LONG_SECONDS)
    assert before == 1
    assert (island.pager.attempts, island.pager.taken) == (before, [])
