"""The faults, each played to one product in a world of its own.

Before it: `comparison` makes the world. After it: `verdict` judges what the account shows. Random moments come from a seed, so
that every product has the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.sidebyside.world import World, restart
from tests.kit.standin import End, Reply, Step, fail

Play: TypeAlias = Callable[[World, "Pace"], Awaitable[str]]

_HANG: End = "hang"
_PAGE_SECONDS = 90.0
_SETTLE_SECONDS = 120.0
_EXPIRY_SECONDS = 300.0  # Alertmanager ends by itself what Prometheus has not renewed for four minutes
_STATUSES = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long faults last. `hold`: a frozen source, a failing query, a PagerDuty that fails; `kills`: the rounds of kill -9."""

    hold_seconds: float
    kills: int
    seed: int


FULL = Pace(hold_seconds=360.0, kills=16, seed=7)
QUICK = Pace(hold_seconds=45.0, kills=2, seed=7)


@dataclass(frozen=True, slots=True)
class Row:
    """`number` is the fault's; `play` returns what to add to the verdict."""

    number: str
    text: str
    play: Play
    services: int = 3
    replicas: int = 1


def list_services(row: Row, pace: Pace) -> list[str]:
    """Names of the fleet: for the kills, one service or more a kill."""
    return [f"service-{number:02d}" for number in range(row.services if row.number != "1" else 2 * pace.kills)]


async def _kill(world: World, pace: Pace) -> str:
    """Services break and are mended one after the other while the processes are killed in turn."""
    dice = random.Random(pace.seed)  # noqa: S311 - reproducible, not secret
    lives = [(name, 12.0 * place, dice.uniform(45, 75)) for place, name in enumerate(world.fleet.names)]
    stories = [asyncio.create_task(_live(world, *life)) for life in lives]
    victims = world.product.nodes[0]
    for number in range(pace.kills):
        await asyncio.sleep(dice.uniform(18, 30))
        await restart(victims[number % len(victims)], dice.uniform(0, 2))
    await asyncio.gather(*stories)
    await world.wait_over(_EXPIRY_SECONDS)
    return f"{pace.kills} kills, 24 s apart, of {len(victims)} process{'es in turn' if len(victims) > 1 else ''}"


async def _live(world: World, service: str, start_seconds: float, broken_seconds: float) -> None:
    await asyncio.sleep(start_seconds)
    world.fail(service)
    await asyncio.sleep(broken_seconds)
    await world.wait_paged(service, _PAGE_SECONDS)
    world.mend(service)


async def _freeze_source(world: World, pace: Pace) -> str:
    """The source stands still while one service fails, and a second one begins to."""
    first, second, _ = world.fleet.names
    world.fail(first)
    await world.wait_paged(first, _PAGE_SECONDS)
    (source,) = world.product.sources
    await asyncio.to_thread(source.freeze)
    await asyncio.sleep(pace.hold_seconds - 20)
    world.fail(second, since=time.time() + 20)
    await asyncio.sleep(20)
    source.thaw()
    await world.wait_paged(second, _PAGE_SECONDS)
    return await _end(world, f"frozen for {pace.hold_seconds:g} s")


async def _empty_source(world: World, pace: Pace) -> str:
    """The source loses its database three times while a service fails; the third time it is away for a minute."""
    first, *_ = world.fleet.names
    world.fail(first)
    await world.wait_paged(first, _PAGE_SECONDS)
    (source,) = world.product.sources
    for pause in (0.0, 20.0, 60.0):
        await asyncio.to_thread(source.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(source.restart, empty=True)
        await asyncio.sleep(min(75.0, pace.hold_seconds))
    return await _end(world, "three times, away for 0, 20 and 60 s")


async def _fail_query(world: World, pace: Pace) -> str:
    """The query fails while one service is broken."""
    first, *_ = world.fleet.names
    world.fail(first)
    await world.wait_paged(first, _PAGE_SECONDS)
    world.fail_query(broken=True)
    await asyncio.sleep(pace.hold_seconds)
    world.fail_query(broken=False)
    await asyncio.sleep(60)
    return await _end(world, f"failing for {pace.hold_seconds:g} s")


async def _fail_pagerduty(world: World, pace: Pace) -> str:
    """One alert is open and ends during the outage, another begins in it; then three answers are lost after accepting."""
    first, second, _ = world.fleet.names
    world.fail(first)
    await world.wait_paged(first, _PAGE_SECONDS)
    hold = pace.hold_seconds
    world.account.play(*(fail(status, seconds=hold * part / len(_STATUSES)) for part, status in enumerate(_STATUSES, 1)))
    world.account.play(Step(reply=Reply(end=_HANG, applied=True), requests=3))
    end = time.time() + hold
    await asyncio.sleep(hold / 6)
    world.fail(second, since=end)
    await asyncio.sleep(hold / 6)
    world.mend(first)
    await asyncio.sleep(max(0.0, end - time.time()))
    await world.wait_paged(second, 2 * _PAGE_SECONDS)
    await asyncio.sleep(60)
    return await _end(world, f"5xx for {hold:g} s, then three answers that never came")


async def _lose_replica(world: World, pace: Pace) -> str:
    """Each node in turn: killed while a service fails and another begins; frozen around the page and end of one, continued late."""
    names = iter(world.fleet.names)
    pause = min(75.0, pace.hold_seconds)
    for node in world.product.nodes:
        before, after, during = next(names), next(names), next(names)
        world.fail(before)
        await world.wait_paged(before, _PAGE_SECONDS)
        for process in node:
            await asyncio.to_thread(process.kill)
        world.fail(after)
        await world.wait_paged(after, _PAGE_SECONDS)
        world.mend(before)
        await asyncio.sleep(pause)
        for process in node:
            await asyncio.to_thread(process.start)
        world.mend(after)
        await asyncio.sleep(30)
        world.fail(during)
        await asyncio.sleep(random.Random(pace.seed).uniform(12, 20))  # noqa: S311 - about when the page leaves
        for process in node:
            await asyncio.to_thread(process.freeze)
        await world.wait_paged(during, _PAGE_SECONDS)
        world.mend(during)
        await asyncio.sleep(pause)
        for process in node:
            process.thaw()
        await asyncio.sleep(45)
    return await _end(world, f"each node killed and frozen once, {pause:g} s")


async def _end(world: World, told: str) -> str:
    for truth in world.truths.values():
        if truth.mended > time.time():
            world.mend(truth.service)
    await world.wait_over(_SETTLE_SECONDS)
    await asyncio.sleep(20)  # what comes too late is seen as well
    return told


ROWS = (
    Row("1", "kill -9 at random moments while firing", _kill),
    Row("4", "the source frozen, then continued", _freeze_source),
    Row("5", "the source restarted with an empty database", _empty_source),
    Row("10", "a firing rule's query begins to fail", _fail_query),
    Row("14", "PagerDuty 5xx, then hangs after accepting", _fail_pagerduty),
    Row("29", "two replicas: one killed; one frozen and continued late", _lose_replica, services=6, replicas=2),
)
