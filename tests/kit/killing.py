"""kill -9 at random moments of start, breach, page, recovery and resolve, round after round; the oracle decides at the end.

`play_rounds`: the real Prometheus and the shipped error rule; one service breaks and is mended in each round of ten seconds.
`play_barrage`: a scripted Prometheus and a rule that opens and ends within a second; several services break and are mended all the
time, and the daemon is killed as often as it can be started: soon after its start, milliseconds behind what it tells PagerDuty, or
at any other moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
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
_AROUND_SECONDS = 0.02  # from the request's effect: before the answer is read, before it is noted, after both
_WITHIN_SECONDS = 10.0  # something is told to PagerDuty, on a slow machine too; else the moment is any

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


class Moment(StrEnum):
    """When a life ends."""

    START = f"within {_LIFE_SECONDS} s of the start"
    PAGE = "right behind a page or a resolve"
    ANY = "at any other moment"


_MOMENTS = (Moment.START, Moment.PAGE, Moment.PAGE, Moment.ANY)


@dataclass
class Tally:
    """What a barrage came to. `figures` is one line of it."""

    seed: int
    moments: Counter[Moment] = field(default_factory=Counter)
    incidents: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How often it was killed."""
        return self.moments.total()

    def count(self, harm: Harm) -> int:
        """How often that was found."""
        return Counter(finding.harm for finding in self.findings)[harm]

    @property
    def figures(self) -> str:
        """Kills by their moment, incidents, and every harm with its count."""
        moments = ", ".join(f"{self.moments[moment]} {moment}" for moment in Moment)
        harms = ", ".join(f"{harm} {self.count(harm)}" for harm in Harm)
        return f"kill -9: {self.kills} ({moments}), incidents: {self.incidents}; {harms}; seed {self.seed}, {self.seconds:.0f} s"


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


async def play_barrage(folder: Path, kills: int, seed: int, *, daemons: int = 1) -> Tally:
    """So many kill -9, in batches with a store each, `daemons` batches at once; the tally says what was found."""
    tally, began, free = Tally(seed), time.monotonic(), asyncio.Semaphore(daemons)
    print(f"seed {seed}, {kills} times kill -9", flush=True)  # noqa: T201 - pytest shows it where the test fails

    async def play(number: int, count: int) -> None:
        dice = random.Random(f"{seed}:{number}")  # noqa: S311 - reproducible, not secret
        async with free, Booth(folder / str(number), rules={"errors": QUICK_RULES}, storm_threshold="1000") as booth:
            tally.moments += await _play_batch(booth, count, dice)
            tally.findings += await booth.judge()
        tally.incidents += len(booth.truths)
        tally.seconds = time.monotonic() - began
        print(tally.figures, flush=True)  # noqa: T201 - as above

    async with asyncio.TaskGroup() as group:
        for number, done in enumerate(range(0, kills, _BATCH)):
            group.create_task(play(number, min(_BATCH, kills - done)), name=f"batch {number}")
    return tally


async def _play_batch(booth: Booth, kills: int, dice: random.Random) -> Counter[Moment]:
    over = asyncio.Event()
    moments: Counter[Moment] = Counter()
    booth.show(calm=0.0)
    stories = [asyncio.create_task(_tell(booth, f"s{number}", dice, over), name=f"story {number}") for number in range(_AT_ONCE)]
    try:
        for _ in range(kills):
            moments[await _live(booth, dice.choice(_MOMENTS), dice)] += 1
            await booth.daemon.kill()
        over.set()
        await booth.daemon.start()
        await asyncio.gather(*stories)
        await _settle(booth)
    finally:
        for story in stories:
            story.cancel()
        await asyncio.gather(*stories, return_exceptions=True)
    return moments


async def _live(booth: Booth, end: Moment, dice: random.Random) -> Moment:
    """From a start to the moment of the kill; which it became."""
    begin = booth.daemon.launch if end is Moment.START else booth.daemon.start
    await begin()
    if end is not Moment.PAGE:
        await asyncio.sleep(dice.uniform(0.0, _LIFE_SECONDS))
        return end
    told = len(booth.pagerduty.requests)
    try:
        await booth.pagerduty.wait_for(lambda pagerduty: len(pagerduty.requests) > told, _WITHIN_SECONDS)
    except TimeoutError:
        return Moment.ANY
    await asyncio.sleep(dice.choice((0.0, dice.uniform(0.0, _AROUND_SECONDS))))
    return end


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
