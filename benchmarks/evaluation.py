"""What one evaluation of one rule over many services costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.question import Say

SERVICES = 2_000
SECONDS = 60
MILLISECONDS = 20.0
_SETTLED = 3


async def measure(folder: Path, say: Say) -> list[Figure]:
    """All CPU of the process between two moments, divided by the evaluations between them."""
    rules = write_rules(folder / "rules")
    async with (
        Fleet(SERVICES).scraped(folder / "prometheus", every="5s") as prometheus,
        Daemon(folder / "daemon", rules, prometheus=prometheus.url, every="1s") as daemon,
    ):
        await settle(daemon, _SETTLED, 60)
        evaluations, cpu = await daemon.count("detector_evaluations_total"), daemon.cpu_seconds
        for second in range(0, SECONDS, 5):
            say(f"{SERVICES} services, {SECONDS - second} s to go")
            await asyncio.sleep(5)
        cpu = daemon.cpu_seconds - cpu
        evaluations = await daemon.count("detector_evaluations_total") - evaluations
        tracked = await daemon.count("detector_alerts")
    if tracked != SERVICES or evaluations < SECONDS / 2:
        raise RuntimeError(f"{tracked:.0f} alerts tracked, {evaluations:.0f} evaluations: nothing to measure")
    return [
        Figure(
            row=f"one evaluation over {SERVICES:,} services, CPU", value=1000 * cpu / evaluations, unit="ms", budget=MILLISECONDS
        )
    ]


QUESTION = Question(
    name="evaluation",
    text=f"What does one evaluation over {SERVICES:,} services cost?",
    method=f"The shipped rule http-errors every second for {SECONDS} s on a real Prometheus: CPU of the process by evaluations.",
    minutes=1.5,
    measure=measure,
)
