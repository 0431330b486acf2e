"""Replicas that come and go every few seconds while services break and heal."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.kit.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.postgres import Postgres

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECONDS = float(os.environ.get("DETECTOR_TEST_CHURN_SECONDS", "240"))
SERVICES = tuple(f"s{number}" for number in range(24))


async def test_replicas_that_come_and_go_lead_every_shard_once(postgres: Postgres, tmp_path: Path) -> None:
    """Killed, stopped and frozen at random, never all at once: every service that broke is paged once and resolved once."""
    seed = int(os.environ.get("DETECTOR_TEST_SEED", str(time.time_ns())))
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    database = postgres.create_database()
    async with Fleet(tmp_path, postgres, database, SERVICES) as fleet:
        await fleet.start()
        until = time.monotonic() + SECONDS
        waiting, broken = list(SERVICES), []
        while time.monotonic() < until and waiting:
            broken.append(waiting.pop())
            fleet.show(**{broken[-1]: 0.5})
            await _shake(fleet, dice)
            assert sum([len(await fleet.leads(number)) for number in range(3) if fleet.daemons[number].process.is_running]) <= 64
        for service in broken:
            await fleet.wait_page(service)
        fleet.show(**dict.fromkeys(SERVICES, 0.0))
        await fleet.wait_shared(0, 1, 2)
        for service in broken:
            await fleet.wait_page(service, is_open=False)
        fleet.check_single()
        print(f"{len(broken)} incidents")  # noqa: T201 - as above
    postgres.drop_database(database)


async def _shake(fleet: Fleet, dice: random.Random) -> None:
    """One of them goes in some way, and is back some seconds later."""
    daemon = dice.choice(fleet.daemons)
    away_seconds = dice.uniform(0.5, 2.5 * fleet.ttl_seconds)
    match dice.choice(("kill", "stop", "freeze")):
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
