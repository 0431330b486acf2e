"""kill -9 at random moments of start, breach, page, recovery and resolve, round after round; the oracle decides at the end.

`play_rounds`: the real Prometheus and the shipped error rule; one service breaks and is mended in each round of ten seconds.
`play_barrage`: a scripted Prometheus and a rule that opens and ends within a second; several services break and are mended all the
time, and the daemon is killed as often as it can be started, before or after it was ready.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.kit.house import Booth, Household
from tests.kit.oracle import Finding, Harm
from tests.kit.standin import Service
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

CYCLE_SECONDS = 10.0  # from the breach to the delivered resolve, by the short rules
_HOLD_SECONDS = 2.0
_PATIENCE_SECONDS = 120.0
_BATCH = 50  # kills of one daemon with one store
_AT_ONCE = 4
_LIFE_SECONDS = 1.2
_SOON_SHARE = 0.3  # of the kills come while it starts

QUICK_RULES = """\
rules:
  - name: errors
    by: [service]
    every: 250ms
    signals: {error_rate: errors}
    open: error_rate > 0.01
    for: 250ms
    severity: {high: "true"}
    recover_for: 500ms
"""


@dataclass
class Tally:
    """What a barrage came to. `figures` is one line of it."""

    seed: int
    kills: int = 0
    incidents: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def count(self, harm: Harm) -> int:
        """How often that was found."""
        return Counter(finding.harm for finding in self.findings)[harm]

    @property
    def figures(self) -> str:
        """Kills, incidents and every harm with its count."""
        harms = ", ".join(f"{harm} {self.count(harm)}" for harm in Harm)
        return f"kill -9: {self.kills}, incidents: {self.incidents}; {harms}; seed {self.seed}, {self.seconds:.0f} s"


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


async def play_barrage(folder: Path, kills: int, seed: int) -> Tally:
    """So many kill -9, in batches with a store each; nothing is asserted but the start, the tally says what was found."""
    tally, began = Tally(seed), time.monotonic()
    print(f"seed {seed}, {kills} times kill -9", flush=True)  # noqa: T201 - pytest shows it where the test fails
    for number, done in enumerate(range(0, kills, _BATCH)):
        dice = random.Random(f"{seed}:{number}")  # noqa: S311 - reproducible, not secret
        async with Booth(folder / str(number), rules={"errors": QUICK_RULES}, storm_threshold="1000") as booth:
            await _play_batch(booth, min(_BATCH, kills - done), dice)
            tally.findings += await booth.judge()
        tally.kills += min(_BATCH, kills - done)
        tally.incidents += len(booth.truths)
        tally.seconds = time.monotonic() - began
        print(tally.figures, flush=True)  # noqa: T201 - as above
    return tally


async def _play_batch(booth: Booth, kills: int, dice: random.Random) -> None:
    over = asyncio.Event()
    booth.show(calm=0.0)
    stories = [asyncio.create_task(_tell(booth, f"s{number}", dice, over), name=f"story {number}") for number in range(_AT_ONCE)]
    try:
        for _ in range(kills):
            begin = booth.daemon.launch if dice.random() < _SOON_SHARE else booth.daemon.start
            await begin()
            await asyncio.sleep(dice.uniform(0.0, _LIFE_SECONDS))
            await booth.daemon.kill()
        over.set()
        await booth.daemon.start()
        await asyncio.gather(*stories)
        await _settle(booth)
    finally:
        for story in stories:
            story.cancel()
        await asyncio.gather(*stories, return_exceptions=True)


async def _tell(booth: Booth, name: str, dice: random.Random, over: asyncio.Event) -> None:
    """One service after the other breaks, is unknown for a while now and then, and is well again."""
    number = 0
    while not over.is_set():
        number += 1
        service = f"{name}-{number}"
        booth.show(**{service: 0.0})
        await asyncio.sleep(dice.uniform(0.0, 1.0))
        booth.show(**{service: dice.choice((0.02, 0.2, 1.0))})
        if not await _wait(booth, service, is_open=True):
            return
        for _ in range(dice.choice((0, 0, 1, 2))):
            booth.show(**{service: float("nan")})
            await asyncio.sleep(dice.uniform(0.0, 1.0))
            booth.show(**{service: 0.5})
        await asyncio.sleep(dice.uniform(0.0, 1.0))
        booth.show(**{service: 0.0})
        if not await _wait(booth, service, is_open=False):
            return


async def _wait(booth: Booth, service: str, *, is_open: bool) -> bool:
    """Until its alert stands so; False after the patience: the oracle will say what that is."""

    def stands() -> bool:
        return any(alert.source == service and alert.is_open is is_open for alert in booth.pagerduty.alerts())

    try:
        await wait_until(stands, f"{service} {'open' if is_open else 'resolved'}", seconds=_PATIENCE_SECONDS)
    except AssertionError:
        return False
    return True


async def _settle(booth: Booth) -> None:
    """The last daemon has caught up: its incidents say what their alerts say, or will never."""

    async def is_over() -> bool:
        incidents = await booth.daemon.incidents()
        return all(each["status"] in {"resolved", "closed"} for each in incidents)

    try:
        await wait_until(is_over, "every incident is over", seconds=_PATIENCE_SECONDS)
    except AssertionError:
        return
