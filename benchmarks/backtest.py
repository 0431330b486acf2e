"""What a month of backtest costs: 200 services at one minute's step, from a Prometheus on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from itertools import accumulate
from typing import TYPE_CHECKING

import psutil

from benchmarks.daemon import MEBIBYTE
from benchmarks.question import RULES, Figure, Question
from detector.adapters.binary import find_binary
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.question import Say

SERVICES = 200
DAYS = 30
STEP_SECONDS = 60
END = 1_790_035_200  # a midnight
START = END - DAYS * 86_400
SECONDS = 60.0
MEBIBYTES = 300.0
BREACH_SECONDS = 1200
_LOOK_SECONDS = 0.2
RULE = """
rules:
  - name: http-errors
    summary: "{{ service }} fails {{ error_rate | percent }} of its requests"
    by: [service]
    signals:
      error_rate:
        ratio: ['sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))',
                'sum by (service) (increase(http_requests_total[$window]))']
        min_total: 20
    open: error_rate > 0.01
"""


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Wall time and peak memory of `detector backtest`, for one rule and for the shipped ones."""
    prometheus = Prometheus(
        folder / "prometheus", options=["--storage.tsdb.min-block-duration=1d", "--storage.tsdb.max-block-duration=1d"]
    )
    for day in range(DAYS):
        say(f"writing {SERVICES} services, day {day + 1} of {DAYS}")
        await write_day(folder, prometheus.data, START + day * 86_400)
    rule = folder / "rule.yaml"
    rule.write_text(RULE)
    figures = []
    with prometheus:
        for name, path, budgets in (
            ("one rule", rule, (SECONDS, MEBIBYTES)),
            ("rules/http.yaml", RULES / "http.yaml", (SECONDS, MEBIBYTES)),
        ):
            seconds, mebibytes, incidents = await run_backtest(path, prometheus.url, say)
            if incidents < SERVICES:
                raise RuntimeError(f"{incidents} incidents found, {SERVICES} were written")
            figures += [
                Figure(row=f"{DAYS} d x {SERVICES} services, {name}", value=seconds, unit="s", budget=budgets[0]),
                Figure(row=f"{DAYS} d x {SERVICES} services, {name}, peak memory", value=mebibytes, unit="MiB", budget=budgets[1]),
            ]
    return figures


async def write_day(folder: Path, data: Path, start: int) -> None:
    """Blocks of one day, a sample a minute."""
    source = folder / "day.om"
    with source.open("w") as file:
        for number in range(SERVICES):
            file.writelines(_list_lines(number, start))
        file.write("# EOF\n")
    argv: list[str | Path] = [
        find_binary("promtool"),
        "tsdb",
        "create-blocks-from",
        "--quiet",
        "openmetrics",
        "--max-block-duration=24h",
        source,
        data,
    ]
    writer = await asyncio.create_subprocess_exec(*argv)
    if await writer.wait():
        raise RuntimeError("promtool could not write the day")
    source.unlink()


async def run_backtest(rules: Path, url: str, say: Say) -> tuple[float, float, int]:
    """Seconds, peak resident mebibytes and incidents of one run of the command."""
    words = ["backtest", str(rules), "--from", str(START + 3600), "--to", str(END), "--prometheus", url, "--json"]
    began = time.monotonic()
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "detector", *words, stdout=asyncio.subprocess.PIPE, env={**os.environ, "DETECTOR_RULES": str(rules)}
    )
    peak = asyncio.create_task(_watch(psutil.Process(command.pid), began, say))
    output, _ = await command.communicate()
    seconds = time.monotonic() - began
    if command.returncode:
        raise RuntimeError(f"detector backtest ended with {command.returncode}")
    return seconds, await peak, len(json.loads(output)["incidents"])


async def _watch(process: psutil.Process, began: float, say: Say) -> float:
    most = 0.0
    try:
        while True:
            most = max(most, process.memory_info().rss / MEBIBYTE)
            say(f"backtest: {time.monotonic() - began:.0f} s, {most:.0f} MiB")
            await asyncio.sleep(_LOOK_SECONDS)
    except psutil.Error:
        return most


def _list_lines(number: int, start: int) -> Iterator[str]:
    """A service's counters over a day: 200 requests a minute, one in a thousand failing, a tenth for 20 min once a month."""
    breach = START + 7200 + (number * (DAYS * 86_400 - 14_400) // SERVICES)
    times = range(start, start + 86_400, 60)
    noise = [(number * 7919 + at // 60 * 104_729) % 5 == 0 for at in times]
    failing = [20 if breach <= at < breach + BREACH_SECONDS else int(odd) for at, odd in zip(times, noise, strict=True)]
    for code, rates in (("200", [200 - count for count in failing]), ("500", failing)):
        prefix = f'http_requests_total{{service="service-{number:03}",job="shop",code="{code}"}} '
        totals = accumulate(rates)  # a restart at midnight
        yield "".join([f"{prefix}{total} {at}.000\n" for total, at in zip(totals, times, strict=False)])


QUESTION = Question(
    name="backtest",
    text=f"What does a backtest of {DAYS} days x {SERVICES} services cost?",
    method=f"`detector backtest --json` at a step of {STEP_SECONDS} s; a real Prometheus with a sample a minute on this machine.",
    minutes=4,
    measure=measure,
)
