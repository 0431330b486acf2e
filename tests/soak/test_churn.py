"""Replicas that come and go without pause, some by kill -9, some frozen, some told to: every breach is one alert, and ends."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.kit.replica import TTL_SECONDS, Replicas

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.daemon import Daemon

pytestmark = pytest.mark.soak
ROUNDS = int(os.environ.get("DETECTOR_TEST_ROUNDS", "20"))
PATIENCE_SECONDS = 60.0


async def _shake(leader: Daemon, dice: random.Random) -> None:
    """End its lead in one of three ways, and have it back."""
    await asyncio.sleep(dice.uniform(0.0, 3.0))
    match dice.choice(("kill", "stop", "freeze")):
        case "kill":
            await leader.kill()
        case "stop":
            await leader.stop()
        case _:
            leader.process.freeze()
            await asyncio.sleep(dice.uniform(0.5, 2.0) * TTL_SECONDS)
            leader.process.thaw()
            return
    await asyncio.sleep(dice.uniform(0.0, 2.0))
    await leader.start()


async def test_replicas_that_come_and_go(tmp_path: Path, postgres_url: str) -> None:
    """In each round one service breaks and is mended while whoever leads is shaken off: one alert a service, none left open."""
    seed = int(os.environ.get("DETECTOR_TEST_SEED", "0")) or secrets.randbits(32)
    print(f"seed {seed}, {ROUNDS} rounds")  # noqa: T201 - pytest shows it where the test fails
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    async with Replicas(tmp_path, postgres_url) as replicas:
        for number in range(ROUNDS):
            leader = await replicas.wait_leader(*replicas.daemons, seconds=PATIENCE_SECONDS)
            shaking = asyncio.create_task(_shake(leader, dice))
            try:
                replicas.show(**{f"service{number}": 0.1})
                await replicas.wait_open(1, seconds=PATIENCE_SECONDS)
                replicas.show(**{f"service{number}": 0.0})
                await replicas.wait_open(0, seconds=PATIENCE_SECONDS)
                await shaking
            finally:
                shaking.cancel()
                await asyncio.gather(shaking, return_exceptions=True)
            assert len(replicas.pagerduty.alerts()) == number + 1
