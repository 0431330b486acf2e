"""Three real daemons on one PostgreSQL: whoever leads is killed, frozen, told to go, or loses its database, during an incident."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.kit.faultproxy import Pass, Refuse
from tests.kit.postgres import Postgres
from tests.kit.replica import TTL_SECONDS, Replicas
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kit.daemon import Daemon

# TTL, the second in which a standby asks, a third of the TTL after an outage, the start of the heir; generous for a slow machine
TAKEOVER_SECONDS = TTL_SECONDS + 12.0


@asynccontextmanager
async def _broken_shop(folder: Path, url: str) -> AsyncIterator[tuple[Replicas, Daemon, list[Daemon]]]:
    """Three replicas, an open and delivered incident; the leader and the others."""
    async with Replicas(folder, url) as replicas:
        leader, *others = replicas.daemons
        for other in others:
            assert (await other.fetch("/-/ready"))[1].startswith(b"standby")
            assert (await other.fetch("/-/healthy"))[0] == 200
            assert await other.metric("detector_leader") == 0.0
            assert (await other.post("/-/reload"))[0] == 503
        replicas.show(checkout=0.1)
        await replicas.wait_open(1)
        await leader.wait_metric("detector_notifications_total", 1, outcome="accepted")
        yield replicas, leader, others


async def _recover(replicas: Replicas, leader: Daemon) -> None:
    """The shop is mended; whoever leads resolves the one alert that there ever was."""
    replicas.show(checkout=0.0)
    await replicas.wait_open(0)
    await leader.wait_incident("checkout", "resolved")
    assert len(replicas.pagerduty.alerts()) == 1
    assert len(await leader.incidents()) == 1


async def test_a_killed_leader_is_replaced(tmp_path: Path, postgres_url: str) -> None:
    """SIGKILL during an incident: no second page, the heir resolves it, evaluation pauses no longer than a takeover may take."""
    async with _broken_shop(tmp_path, postgres_url) as (replicas, leader, others):
        await leader.kill()
        heir = await replicas.wait_leader(*others)
        await _recover(replicas, heir)
        assert replicas.read_gap_seconds() < TAKEOVER_SECONDS
        await leader.start()  # comes back as one that stands by
        assert (await leader.fetch("/-/ready"))[1].startswith(b"standby")
        assert await replicas.is_leading(heir)


async def test_a_frozen_leader_sends_and_writes_nothing_late(tmp_path: Path, postgres_url: str) -> None:
    """SIGSTOP beyond the TTL: another leads; after SIGCONT the stale one begins anew as standby, and there is one alert."""
    async with _broken_shop(tmp_path, postgres_url) as (replicas, leader, others):
        leader.process.freeze()
        heir = await replicas.wait_leader(*others)
        await _recover(replicas, heir)
        resolved = (await heir.incidents())[0]["resolved"]
        sent = len(replicas.pagerduty.requests)
        replicas.show(checkout=0.0)
        leader.process.thaw()
        await leader.wait_line("another replica holds the lease")
        await leader.wait_line("standby", count=2)
        assert leader.process.is_running
        assert (await leader.fetch("/-/ready"))[1].startswith(b"standby")
        assert len(replicas.pagerduty.requests) == sent
        assert [incident["resolved"] for incident in await heir.incidents()] == [resolved]
        assert await replicas.is_leading(heir)
        assert replicas.read_gap_seconds() < TAKEOVER_SECONDS


async def test_a_leader_that_alone_loses_postgresql_is_replaced(tmp_path: Path, postgres_url: str) -> None:
    """It sends no resolve past its lease; the heir does, and the one cut off begins anew when it learns of it."""
    async with _broken_shop(tmp_path, postgres_url) as (replicas, leader, others):
        await replicas.wire.switch(Refuse())
        heir = await replicas.wait_leader(*others)
        await _recover(replicas, heir)
        assert leader.lines("trying again every 1 s")
        assert not await replicas.is_leading(leader)  # though it evaluates still
        await replicas.wire.switch(Pass())
        await leader.wait_line("another replica holds the lease")
        await leader.wait_line("standby", count=2)
        assert not await replicas.is_leading(leader)
        actions = [(request.event or {}).get("event_action") for request in replicas.pagerduty.requests]
        assert actions.count("resolve") == 1
        assert len(replicas.pagerduty.alerts()) == 1
        assert len(await heir.incidents()) == 1
        assert await replicas.is_leading(heir)


async def test_a_leader_that_is_told_to_go_hands_over(tmp_path: Path, postgres_url: str) -> None:
    """SIGTERM: the lease is given back, so that the heir need not wait for its end; one alert through it all."""
    async with _broken_shop(tmp_path, postgres_url) as (replicas, leader, others):
        assert await leader.stop() == 0
        gone = time.monotonic()
        heir = await replicas.wait_leader(*others)
        assert "standby" in heir.read()
        assert time.monotonic() - gone < TAKEOVER_SECONDS
        await _recover(replicas, heir)


async def test_a_restart_of_postgresql_changes_no_hands(tmp_path: Path) -> None:
    """Away for longer than the TTL: the leader goes on evaluating, pages what is new from memory, and leads on afterwards."""
    with Postgres() as postgres:
        async with Replicas(tmp_path, postgres.url(postgres.create_database())) as replicas:
            leader = replicas.daemons[0]
            await asyncio.to_thread(postgres.stop)
            down = time.monotonic()
            await wait_until(lambda: time.monotonic() - down > TTL_SECONDS + 1.0, "an outage beyond the TTL")
            replicas.show(checkout=0.1)
            await replicas.wait_open(1)
            await asyncio.to_thread(postgres.start)
            incident = await leader.wait_incident("checkout")
            assert await replicas.wait_leader(*replicas.daemons) is leader
            await _recover(replicas, leader)
            assert (await leader.incident("checkout") or {})["id"] == incident["id"]
            assert replicas.read_gap_seconds() < TAKEOVER_SECONDS
