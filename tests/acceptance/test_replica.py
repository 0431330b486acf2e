"""Several replicas on one PostgreSQL: a dead one, a frozen one, one that is cut off, a database that is gone.

The TTL is shortened (DETECTOR_LEASE_TTL), so that what takes half a minute in earnest takes seconds here.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.faultproxy import BlackHole, Pass, Refuse
from tests.kit.fleet import Fleet
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.postgres import Postgres

pytestmark = pytest.mark.timeout(600)  # whoever waits has patience with a slow machine
EnterFleet = Callable[..., Awaitable[Fleet]]
SERVICES = tuple(f"s{number}" for number in range(9))


@pytest.fixture
async def enter_fleet(postgres: Postgres, tmp_path: Path) -> AsyncIterator[EnterFleet]:
    """Start a fleet on a database of its own; arguments as of `Fleet`."""
    database = postgres.create_database()
    async with AsyncExitStack() as stack:

        async def enter(**settings: Any) -> Fleet:
            fleet = await stack.enter_async_context(Fleet(tmp_path, postgres, database, SERVICES, **settings))
            await fleet.start()
            return fleet

        yield enter
    postgres.drop_database(database)


async def test_a_leader_that_dies_is_replaced(enter_fleet: EnterFleet) -> None:
    """By kill -9: the others lead its shards within the TTL, page what breaks then, and resolve what it opened."""
    fleet = await enter_fleet(waits={"s1": "6s"})
    fleet.show(s0=0.5, s1=0.5)
    await fleet.wait_pages("s0")
    for number in range(3):  # every console shows what one of them opened
        await fleet.daemons[number].wait_incident("s0")
    victim, others = await fleet.find_leader("s0")
    began = time.monotonic()
    await fleet.daemons[victim].kill()
    await fleet.wait_shared(*others)
    assert time.monotonic() - began < 60
    fleet.show(**dict.fromkeys(SERVICES, 0.5))
    await fleet.wait_pages(*SERVICES)
    await fleet.end_well(*SERVICES)


async def test_a_frozen_leader_sends_nothing_when_it_wakes(enter_fleet: EnterFleet) -> None:
    """SIGSTOP for longer than the TTL during an incident, then SIGCONT: others lead its shards, one alert each, no word late."""
    fleet = await enter_fleet()
    fleet.show(s0=0.5)
    await fleet.wait_pages("s0")
    victim, others = await fleet.find_leader("s0")
    frozen = fleet.daemons[victim].process
    frozen.signal(signal.SIGSTOP)
    fleet.show(**dict.fromkeys(SERVICES, 0.5))
    await fleet.wait_shared(*others)
    await fleet.wait_pages(*SERVICES)
    frozen.signal(signal.SIGCONT)
    await fleet.wait_shared(0, 1, 2)
    await fleet.end_well(*SERVICES)


async def test_one_that_loses_only_the_database_makes_no_second_alert(enter_fleet: EnterFleet) -> None:
    """Cut off for longer than the TTL while services break and heal: the others go on; it pages under their keys at most."""
    fleet = await enter_fleet()
    fleet.show(s0=0.5)
    await fleet.wait_pages("s0")
    for daemon in fleet.daemons:
        await daemon.wait_metric("detector_incidents", 1, status="open")
    victim, others = await fleet.find_leader("s0")
    await fleet.proxies[victim].switch(BlackHole())
    await fleet.wait_shared(*others)
    fleet.show(s1=0.5, s2=0.5, s3=0.5)
    await fleet.wait_pages("s1", "s2", "s3")
    fleet.show(s0=0.0, s1=0.0)
    await fleet.wait_pages("s0", "s1", is_open=False)
    await fleet.proxies[victim].switch(Pass())
    await fleet.wait_shared(0, 1, 2)
    await fleet.end_well("s2", "s3")


async def test_all_page_while_the_database_is_gone(enter_fleet: EnterFleet) -> None:
    """What breaks is paged once, what was healed is not resolved; once it is back everything is, and one book holds all."""
    fleet = await enter_fleet()
    fleet.show(s0=0.5)
    await fleet.wait_pages("s0")
    for daemon in fleet.daemons:  # what was committed less than a second before is not known to all
        await daemon.wait_metric("detector_incidents", 1, status="open")
    for proxy in fleet.proxies:
        await proxy.switch(Refuse())
    await asyncio.sleep(2 * fleet.ttl_seconds)  # every lease has run out
    fleet.show(s0=0.0, s1=0.5, s2=0.5)
    await fleet.wait_pages("s1", "s2")
    await asyncio.sleep(fleet.ttl_seconds)
    assert sorted(alert.source for alert in fleet.pagerduty.open_alerts()) == ["s0", "s1", "s2"]  # whichever slot came first
    for proxy in fleet.proxies:
        await proxy.switch(Pass())
    await fleet.wait_pages("s0", is_open=False)
    fleet.show(s1=0.0, s2=0.0)
    await fleet.wait_pages("s1", "s2", is_open=False)
    await fleet.wait_shared(0, 1, 2)
    fleet.check_single()
    for number in range(3):
        await wait_until(partial(_is_over, fleet, number), f"replica {number} shows the end of all")


async def _is_over(fleet: Fleet, number: int) -> bool:
    found = await fleet.daemons[number].incidents()
    return {each["service"]: each["status"] for each in found} == dict.fromkeys(("s0", "s1", "s2"), "resolved")


async def test_a_replica_that_ends_gives_its_shards_away_at_once(enter_fleet: EnterFleet) -> None:
    """SIGTERM: the other leads its shards at once: before its own next renewal, let alone the end of the leases."""
    fleet = await enter_fleet(ttl_seconds=24.0, count=2)
    assert len(await fleet.list_holders()) == 2
    told = time.monotonic()
    assert await fleet.daemons[0].stop() == 0
    assert len(await fleet.list_holders() - {""}) == 1  # the other, whatever it has taken by now
    await fleet.wait_shared(1)
    await wait_until(lambda: fleet.find_gap_seconds(told) < time.monotonic() - told, "every rule is evaluated again")
    assert fleet.find_gap_seconds(told) < fleet.ttl_seconds / 3
    fleet.show(s0=0.5)
    await fleet.wait_pages("s0")


async def test_a_restart_of_the_database_is_one_alert_each(enter_fleet: EnterFleet, postgres: Postgres) -> None:
    """PostgreSQL itself stopped and started twice, while one service breaks and another heals: no second alert, none left."""
    fleet = await enter_fleet()
    fleet.show(s0=0.5)
    await fleet.wait_pages("s0")
    await asyncio.to_thread(postgres.restart)
    fleet.show(s0=0.0, s1=0.5)
    await fleet.wait_pages("s1")
    await asyncio.to_thread(postgres.stop)
    fleet.show(s2=0.5)
    await fleet.wait_pages("s2")
    await asyncio.to_thread(postgres.start)
    await fleet.wait_shared(0, 1, 2)
    fleet.show(s1=0.0, s2=0.0)
    await fleet.wait_pages("s0", "s1", "s2", is_open=False)
    fleet.check_single()


async def test_alerts_sent_here_may_go_to_any_replica(enter_fleet: EnterFleet) -> None:
    """One Prometheus sends to all, another through a balancer; who took the beginning may be dead when another hears the end."""
    fleet = await enter_fleet()
    for number in range(3):
        assert await fleet.send_alert(number, "all") == 200
    assert await fleet.send_alert(0, "one") == 200
    await fleet.wait_pages("all", "one")
    await fleet.daemons[0].kill()
    assert await fleet.send_alert(2, "one") == 200
    assert await fleet.send_alert(1, "one", over=True) == 200
    await fleet.wait_shared(1, 2)
    await fleet.wait_pages("one", is_open=False)
    for number in (2, 1):
        assert await fleet.send_alert(number, "all", over=True) == 200
    await fleet.wait_pages("all", is_open=False)
    fleet.check_single()
