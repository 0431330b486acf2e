"""What the daemon weighs with many rules and nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.question import Say

RULES = 100
SECONDS = 180
MEBIBYTES = 110.0
_SAMPLE_SECONDS = 5


async def measure(folder: Path, say: Say) -> list[Figure]:
    """The most resident memory seen in the last minute of three, and CPU per second."""
    rules = write_rules(folder / "rules", copies=RULES)
    async with (
        Fleet(RULES).scraped(folder / "prometheus", every="5s") as prometheus,
        Daemon(folder / "daemon", rules, prometheus=prometheus.url) as daemon,
    ):
        await settle(daemon, RULES, 60)
        began, resident = daemon.cpu_seconds, []
        for second in range(0, SECONDS, _SAMPLE_SECONDS):
            resident.append(daemon.resident_mebibytes)
            say(f"{RULES} rules, {resident[-1]:.0f} MiB, {SECONDS - second} s to go")
            await asyncio.sleep(_SAMPLE_SECONDS)
        spent = daemon.cpu_seconds - began
    return [
        Figure(row=f"{RULES} rules, resident memory", value=max(resident[-12:]), unit="MiB", budget=MEBIBYTES),
        Figure(row=f"{RULES} rules every 5 s, CPU", value=100 * spent / SECONDS, unit="% of a core"),
    ]


QUESTION = Question(
    name="idle",
    text=f"What do {RULES} rules weigh while nothing happens?",
    method=f"{RULES} rules with queries of their own, a real Prometheus, {SECONDS // 60} minutes; PagerDuty is configured.",
    minutes=3.5,
    measure=measure,
)
