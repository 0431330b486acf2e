"""What many tracked alerts weigh."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.question import Say

ALERTS = 20_000
SECONDS = 90
MEBIBYTES = 200.0


async def measure(folder: Path, say: Say) -> list[Figure]:
    """The most resident memory seen while they are tracked, and CPU per evaluation."""
    rules = write_rules(folder / "rules")
    async with (
        Fleet(ALERTS).scraped(folder / "prometheus", every="10s") as prometheus,
        Daemon(folder / "daemon", rules, prometheus=prometheus.url) as daemon,
    ):
        await settle(daemon, 2, 60)
        evaluations, cpu, resident = await daemon.count("detector_evaluations_total"), daemon.cpu_seconds, []
        for second in range(SECONDS):
            resident.append(daemon.resident_mebibytes)
            if second % 5 == 0:
                say(f"{ALERTS} alerts, {resident[-1]:.0f} MiB, {SECONDS - second} s to go")
            await asyncio.sleep(1)
        cpu = daemon.cpu_seconds - cpu
        evaluations = await daemon.count("detector_evaluations_total") - evaluations
        tracked = await daemon.count("detector_alerts")
    if tracked != ALERTS or not evaluations:
        raise RuntimeError(f"{tracked:.0f} alerts tracked, {evaluations:.0f} evaluations: nothing to measure")
    return [
        Figure(row=f"{ALERTS:,} alerts tracked, resident memory", value=max(resident), unit="MiB", budget=MEBIBYTES),
        Figure(row=f"one evaluation over {ALERTS:,} services, CPU", value=1000 * cpu / evaluations, unit="ms"),
    ]


QUESTION = Question(
    name="crowd",
    text=f"What do {ALERTS:,} tracked alerts weigh?",
    method=f"One rule over {ALERTS:,} services on a real Prometheus; the most memory seen in {SECONDS} s.",
    minutes=2.0,
    measure=measure,
)
