"""Replicas that come and go every few seconds while services break and heal."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from detector.domain.shard import SHARDS
from tests.kit.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.postgres import Postgres

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECONDS = float(os.environ.get("DETECTOR_TEST_CHURN_SECONDS", "240"))
SERVICES = tuple(f"s{number}" for number in range(24))
EVERY_SECONDS = 10.0  # one of them goes
INTERVAL_SECONDS = 5.0  # between two evaluations of a rule
TTL_SECONDS = 6.0
SLACK_SECONDS = 2.5  # of a slow machine


@pytest.mark.parametrize(
    ("ways", "longest_seconds"),
    [(("stop",), 2 * INTERVAL_SECONDS), (("kill", "stop", "freeze"), TTL_SECONDS + 2 * INTERVAL_SECONDS)],
    ids=["told", "any"],
)
async def test_replicas_that_come_and_go_lead_every_shard_once(
    postgres: Postgres, tmp_path: Path, ways: tuple[str, ...], longest_seconds: float
) -> None:
    """One goes every ten seconds: who broke is paged once and resolved once, and evaluation never stands still for long."""
    seed = int(os.environ.get("DETECTOR_TEST_SEED", str(time.time_ns())))
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    database = postgres.create_database()
    every = f"{INTERVAL_SECONDS:g}s"
    async with Fleet(tmp_path, postgres, database, SERVICES, ttl_seconds=TTL_SECONDS, every=every) as fleet:
        await fleet.start()
        await asyncio.sleep(INTERVAL_SECONDS)  # every rule has run
        began = time.monotonic()
        broken: list[str] = []
        for service in SERVICES[: int(SECONDS / EVERY_SECONDS)]:
            turn = time.monotonic()
            broken.append(service)
            fleet.show(**{service: 0.5})
            await _shake(fleet, dice, dice.choice(ways))
            assert sum([len(await fleet.leads(number)) for number in range(3)]) <= SHARDS
            await asyncio.sleep(max(0.0, turn + EVERY_SECONDS - time.monotonic()))
        for service in broken:
            await fleet.wait_pages(service)
        gap_seconds = fleet.find_gap_seconds(began)
        fleet.show(**dict.fromkeys(SERVICES, 0.0))
        await fleet.wait_shared(0, 1, 2)
        for service in broken:
            await fleet.wait_pages(service, is_open=False)
        fleet.check_single()
        print(f"{len(broken)} incidents, longest time without an evaluation {gap_seconds:.1f} s")  # noqa: T201 - as above
        assert gap_seconds < longest_seconds + SLACK_SECONDS
    postgres.drop_database(database)


async def _shake(fleet: Fleet, dice: random.Random, way: str) -> None:
    """One of them goes in that way, and is back some seconds later."""
    daemon = dice.choice(fleet.daemons)
    away_seconds = dice.uniform(0.5, EVERY_SECONDS)
    match way:
        case "kill":
            await daemon.kill()
            await asyncio.sleep(away_seconds)
            await daemon.start()
        case "stop":
            await daemon.stop()
            await asyncio.sleep(away_seconds)
            await daemon.start()
        case _:
            daemon.process.signal(signal.SIGSTOP)
            await asyncio.sleep(away_seconds)
            daemon.process.signal(signal.SIGCONT)
            await asyncio.sleep(1.0)
