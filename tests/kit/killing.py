"""kill -9 at random moments of breach, page, recovery and resolve, round after round; the oracle decides at the end of each."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from tests.kit.house import Household
from tests.kit.standin import Service

if TYPE_CHECKING:
    from pathlib import Path

CYCLE_SECONDS = 10.0  # from the breach to the delivered resolve, by the short rules
_HOLD_SECONDS = 2.0
_PATIENCE_SECONDS = 40.0


async def play_rounds(folder: Path, rules: str, rounds: int, seed: int) -> None:
    """In each round one service breaks and is mended, and the daemon is killed once or twice somewhere on the way."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    print(f"seed {seed}, {rounds} rounds")  # noqa: T201 - pytest shows it where the test fails
    services = tuple(Service(f"service-{number}", rate=40.0) for number in range(rounds))
    async with Household(folder, {"errors": rules}, services) as house:
        for number in range(rounds):
            await _play_round(house, f"service-{number}", dice)
            await house.check_oracle()


async def _play_round(house: Household, service: str, dice: random.Random) -> None:
    moments = sorted(dice.uniform(0.0, CYCLE_SECONDS) for _ in range(dice.choice((1, 1, 2))))
    pauses = [dice.choice((0.0, 0.0, dice.uniform(0.0, 2.0))) for _ in moments]
    hold = dice.uniform(0.0, _HOLD_SECONDS)
    began = time.monotonic()
    killer = asyncio.create_task(_kill_at(house, began, list(zip(moments, pauses, strict=True))), name="killer")
    try:
        house.flip(service, error_ratio=dice.choice((0.1, 0.5, 1.0)))
        await house.wait_alert(service, seconds=_PATIENCE_SECONDS)  # never a lost page
        await asyncio.sleep(hold)
        house.heal(service)
        await house.wait_alert(service, is_open=False, seconds=_PATIENCE_SECONDS)
        await killer
        # a resolve that the killed daemon sent but did not note is sent again; the incident follows the alert
        await house.daemon.wait_incident(service, "resolved", seconds=_PATIENCE_SECONDS)
    finally:
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)


async def _kill_at(house: Household, began: float, plan: list[tuple[float, float]]) -> None:
    for moment, pause in plan:
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        await house.daemon.kill()
        await asyncio.sleep(pause)
        await house.daemon.start()
