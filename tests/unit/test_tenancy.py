"""Which rules a replica evaluates, and from which slot on when it gets them from another."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from detector.app.lease import LeaseKeeper
from detector.app.poller import LEFT_OUT, Poller
from detector.app.tenancy import Tenancy
from detector.domain.alert import RuleProgress
from detector.domain.shard import SHARDS
from detector.ports.store import Memory
from tests.kit.leaserow import LeaseRows
from tests.kit.observer import RecordingObserver
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVERY_SECONDS = 30.0


@asynccontextmanager
async def stand_by() -> AsyncIterator[tuple[Stage, LeaseRows, LeaseKeeper, Tenancy, Poller]]:
    """A replica that polls one rule, all of whose shards another leads."""
    async with Stage([]) as stage:
        rows, observer = LeaseRows(), RecordingObserver()
        for shard in range(SHARDS):
            rows.take(shard, "other")
        rows.others = {"other": False}
        keeper = LeaseKeeper(rows, stage.clock, observer, ttl_seconds=15.0)
        tenancy = Tenancy(rows, keeper, stage.roster, stage.clock, observer)
        tenancy.attach(stage.committer)
        poller = Poller(stage.evaluator, stage.clock, observer, tenancy=tenancy)
        stage.source.default = series(shop=0.0)
        poller.set_rules([make_rule("a", "q", every_seconds=EVERY_SECONDS)])
        await keeper.keep()
        yield stage, rows, keeper, tenancy, poller
        await poller.stop()


@pytest.mark.parametrize("did", ["nothing", "the slot before", "the last slot"])
async def test_a_rule_that_is_gained_catches_up(did: str) -> None:
    """The slots that went by between two owners are run at once, but for those that the one before got to."""
    async with stand_by() as (stage, rows, keeper, tenancy, poller):
        await tenancy.look()
        await stage.clock.run(2 * EVERY_SECONDS + 1)
        assert not stage.source.asked
        passed = list(poller._passed["a"])
        slot = passed[-1]
        reached = {"nothing": None, "the slot before": slot - EVERY_SECONDS, "the last slot": slot}[did]
        rows.memory = Memory({}, {"a": RuleProgress("a", reached, reached)} if reached else {})
        rows.held, rows.others = {}, {}
        await keeper.keep()
        assert await tenancy.look()
        await stage.clock.run(0.01)
        assert [at for _, at in stage.source.asked] == {"nothing": passed, "the slot before": [slot], "the last slot": []}[did]
        for _ in range(3):
            await keeper.keep()
            await stage.clock.run(EVERY_SECONDS / 3)
        assert stage.source.asked[-1] == ("q", slot + EVERY_SECONDS)


async def test_who_loses_the_store_sees_what_began_where_the_others_see_it() -> None:
    """Slots that it left to others, and those that went by until it knew, are run before the first of its own, in their order."""
    async with stand_by() as (stage, rows, keeper, _, poller):
        await stage.clock.run(9 * EVERY_SECONDS + 1)
        assert not stage.source.asked
        passed = list(poller._passed["a"])
        assert len(passed) == LEFT_OUT
        rows.failing = True
        await keeper.keep()
        await stage.clock.run(EVERY_SECONDS)
        assert [at for _, at in stage.source.asked] == [*passed, passed[-1] + EVERY_SECONDS]
        await stage.clock.run(EVERY_SECONDS)
        assert [at for _, at in stage.source.asked][LEFT_OUT + 1 :] == [passed[-1] + 2 * EVERY_SECONDS]
