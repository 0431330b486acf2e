"""What a start costs: `detector check` on the shipped rules, and `detector run` until it is ready."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon
from benchmarks.question import RULES, Figure, Question

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.question import Say

RUNS = 9
CHECK_SECONDS = 0.6
READY_SECONDS = 1.2
_NOWHERE = "http://127.0.0.1:9"  # ready does not wait for Prometheus


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Median CPU seconds over some runs, after one that is not counted (it may have to compile)."""
    found: dict[str, list[float]] = {"check": [], "first": [], "again": []}
    for run in range(RUNS + 1):
        say(f"start {run + 1} of {RUNS + 1}")
        spent = {"check": await asyncio.to_thread(spend_check)}
        for name in ("first", "again"):
            async with Daemon(folder / str(run), RULES, prometheus=_NOWHERE) as daemon:
                spent[name] = daemon.cpu_seconds
        if run:
            for name, seconds in spent.items():
                found[name].append(seconds)
    return [
        _tell("`detector check rules`, CPU", found["check"], CHECK_SECONDS),
        _tell("`detector run` until ready, new state directory, CPU", found["first"], READY_SECONDS),
        _tell("`detector run` until ready, existing state, CPU", found["again"], READY_SECONDS),
    ]


def spend_check() -> float:
    """CPU seconds, user and system, of one `detector check` on the shipped rules."""
    child = subprocess.Popen(
        [sys.executable, "-m", "detector", "check", RULES],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=RULES,  # not the source tree: `-m` would take the package from there instead of the installed one
    )
    assert child.stderr is not None  # noqa: S101 - PIPE
    told = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    if child.returncode:
        raise RuntimeError(f"detector check {RULES}: exit code {child.returncode}: {told.decode()}")
    return usage.ru_utime + usage.ru_stime


def _tell(row: str, seconds: list[float], budget: float) -> Figure:
    return Figure(row=row, value=statistics.median(seconds), unit="s", budget=budget)


QUESTION = Question(
    name="start",
    text="What does a start cost?",
    method=f"Median CPU time, user and system, of {RUNS} runs of the real process on the shipped rules.",
    minutes=1.0,
    measure=measure,
)
