"""Where the CPU of an evaluation goes, step by step of the path from sample to page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, settle
from benchmarks.fleet import Fleet, write_rules
from benchmarks.question import Figure, Question

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.question import Say

SIZES = {2_000: "1s", 20_000: "5s"}
SECONDS = 40
FAILING_SHARE = 100  # one service of so many fails, so that commit and deliver have something to do
_SETTLED = 3


async def measure(folder: Path, say: Say) -> list[Figure]:
    """One daemon after the other under the sampler."""
    figures: list[Figure] = []
    for services, every in SIZES.items():
        for failing in (False, True):
            figures += await _measure_size(folder, say, services, every, failing=failing)
    return figures


async def _measure_size(folder: Path, say: Say, services: int, every: str, *, failing: bool) -> list[Figure]:
    name = f"{services}-{failing}"
    out = folder / f"{name}.json"
    rules = write_rules(folder / f"rules-{name}")
    fleet = Fleet(services)
    async with fleet.scraped(folder / f"prometheus-{name}", every="5s") as prometheus:
        module = ("benchmarks.profiled", str(out.absolute()))
        daemon = Daemon(folder / f"daemon-{name}", rules, prometheus=prometheus.url, every=every, module=module)
        async with daemon:
            await settle(daemon, _SETTLED, 120)
            os.kill(daemon.process.pid, signal.SIGUSR1)
            before = await daemon.count("detector_evaluations_total")
            for broken in fleet.names[::FAILING_SHARE] if failing else ():
                fleet.fail(broken, 0.2)
            for second in range(0, SECONDS, 5):
                say(f"{services} services, {SECONDS - second} s to go")
                await asyncio.sleep(5)
            evaluations = await daemon.count("detector_evaluations_total") - before
    found = json.loads(out.read_text())
    if not evaluations:
        raise RuntimeError("nothing was evaluated")
    steps = sorted(found["steps"].items(), key=lambda item: -item[1])
    total = 1000 * found["cpu_seconds"] / evaluations
    per = total / sum(found["steps"].values())
    column = f"{services:,} services{', 1% begin to fail' if failing else ''}"
    figures = [Figure(row=step, column=column, value=count * per, unit="ms", compared=False) for step, count in steps]
    figures.append(Figure(row="all of it", column=column, value=total, unit="ms"))
    if os.environ.get("BENCHMARK_LINES"):
        print("\n".join(f"{count:>6} {line}" for line, count in found["lines"]))
    return figures


QUESTION = Question(
    name="profile",
    text="Where does the CPU of one evaluation go?",
    method=(
        f"The shipped rule http-errors, every {', '.join(f'{every} over {size:,} services' for size, every in SIZES.items())}, "
        f"{SECONDS} s each: healthy, and while one service in {FAILING_SHARE} begins to fail, so that severity, incident, "
        "diagnosis and page are in it. Samples of the process's CPU time by the step that the innermost frame belongs to, divided "
        "by the evaluations. BENCHMARK_LINES=1 prints the lines that were met most often."
    ),
    minutes=4.5,
    measure=measure,
)
