"""What a month of backtest costs: 200 services at one minute's step, from a Prometheus on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import psutil

from benchmarks.daemon import MEBIBYTE
from benchmarks.question import RULES, Figure, Question
from detector.adapters.binary import find_binary
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
SLOW_EVERY = 5  # one service in so many is slow once, half a day after it failed
BUCKETS = {"0.1": (0.90, 0.50), "0.5": (0.99, 0.60), "2.5": (1.0, 1.0), "+Inf": (1.0, 1.0)}  # share as usual, and while slow
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


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of the command: wall and CPU seconds, its own and those of Prometheus meanwhile, peak memory, what it found."""

    seconds: float
    own_cpu: float
    prometheus_cpu: float
    mebibytes: float
    incidents: int


async def measure(folder: Path, say: Say) -> list[Figure]:
    """What `detector backtest` costs for one rule and for the shipped ones."""
    prometheus = Prometheus(
        folder / "prometheus", options=["--storage.tsdb.min-block-duration=1d", "--storage.tsdb.max-block-duration=1d"]
    )
    await write_days(folder, prometheus.data, say)
    rule = folder / "rule.yaml"
    rule.write_text(RULE)
    figures = []
    with prometheus:
        server = psutil.Process(prometheus.process.pid)
        for name, path, expected in (
            ("one rule", rule, SERVICES),
            ("rules/http.yaml", RULES / "http.yaml", SERVICES + SERVICES // SLOW_EVERY),
        ):
            cost = await run_backtest(path, prometheus.url, server, say)
            if cost.incidents < expected:
                raise RuntimeError(f"{cost.incidents} incidents found, {expected} were written")
            row = f"{DAYS} d x {SERVICES} services, {name}"
            figures += [
                Figure(row=row, value=cost.seconds, unit="s", budget=SECONDS),
                Figure(row=f"{row}, peak memory", value=cost.mebibytes, unit="MiB", budget=MEBIBYTES),
                Figure(row=f"{row}, CPU of detector", value=cost.own_cpu, unit="s"),
                Figure(row=f"{row}, CPU of Prometheus", value=cost.prometheus_cpu, unit="s"),
            ]
    return figures


async def write_days(folder: Path, data: Path, say: Say) -> None:
    """Blocks of a day each, a sample a minute; a day is written while promtool reads the one before."""
    reader: asyncio.subprocess.Process | None = None
    for day in range(DAYS):
        say(f"writing {SERVICES} services, day {day + 1} of {DAYS}")
        source = folder / f"{day}.om"
        await asyncio.to_thread(_write_day, source, START + day * 86_400)
        await _finish(reader)
        (folder / f"{day - 1}.om").unlink(missing_ok=True)
        words: list[str | Path] = ["tsdb", "create-blocks-from", "--quiet", "openmetrics", "--max-block-duration=24h", source, data]
        reader = await asyncio.create_subprocess_exec(find_binary("promtool"), *words)
    await _finish(reader)
    (folder / f"{DAYS - 1}.om").unlink()


def _write_day(source: Path, start: int) -> None:
    with source.open("w") as file:
        for number in range(SERVICES):
            file.writelines(_list_lines(number, start))
        file.write("# EOF\n")


async def _finish(reader: asyncio.subprocess.Process | None) -> None:
    if reader is not None and await reader.wait():
        raise RuntimeError("promtool could not write the day")


async def run_backtest(rules: Path, url: str, server: psutil.Process, say: Say) -> Cost:
    """One run of the command; `server` is the Prometheus behind `url`."""
    words = ["backtest", str(rules), "--from", str(START + 3600), "--to", str(END), "--prometheus", url, "--json"]
    own, served, began = _own_cpu(), _cpu(server), time.monotonic()
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "detector", *words, stdout=asyncio.subprocess.PIPE, env={**os.environ, "DETECTOR_RULES": str(rules)}
    )
    peak = asyncio.create_task(_watch(psutil.Process(command.pid), began, say))
    output, _ = await command.communicate()
    seconds = time.monotonic() - began
    if command.returncode:
        raise RuntimeError(f"detector backtest ended with {command.returncode}")
    found = len(json.loads(output)["incidents"])
    return Cost(seconds, _own_cpu() - own, _cpu(server) - served, await peak, found)


def _own_cpu() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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
    """A service's counters over a day: 200 requests a minute, one in a thousand failing; for 20 min once a month a tenth fails.

    One service in five is slow once, for as long: p95 rises from a third of a second to more than two.
    """
    breach = START + 7200 + (number * (DAYS * 86_400 - 14_400) // SERVICES)
    slow = START + (breach - START + 43_200) % (DAYS * 86_400 - 14_400) if number % SLOW_EVERY == 0 else 0
    times = range(start, start + 86_400, STEP_SECONDS)
    noise = [(number * 7919 + at // 60 * 104_729) % 5 == 0 for at in times]
    failing = [20 if breach <= at < breach + BREACH_SECONDS else int(odd) for at, odd in zip(times, noise, strict=True)]
    labels = f'service="service-{number:03}",job="shop"'
    for code, rates in (("200", [200 - count for count in failing]), ("500", failing)):
        yield _write_counter(f'http_requests_total{{{labels},code="{code}"}}', rates, times)
    slowed = [slow <= at < slow + BREACH_SECONDS for at in times]
    for bound, (usual, late) in BUCKETS.items():
        rates = [round(200 * (late if delayed else usual)) for delayed in slowed]
        yield _write_counter(f'http_request_duration_seconds_bucket{{{labels},le="{bound}"}}', rates, times)
    yield _write_counter(f"http_request_duration_seconds_count{{{labels}}}", [200] * len(times), times)


def _write_counter(series: str, rates: Sequence[int], times: Sequence[int]) -> str:
    """One that a restart at midnight has reset."""
    return "".join([f"{series} {total} {at}.000\n" for total, at in zip(accumulate(rates), times, strict=True)])


QUESTION = Question(
    name="backtest",
    text=f"What does a backtest of {DAYS} days x {SERVICES} services cost?",
    method=f"`detector backtest --json` at a step of {STEP_SECONDS} s; a real Prometheus on this machine with a sample a minute of "
    "two counters and a histogram of four buckets for each service; every service fails for 20 min once, one in five is slow once. "
    "Seconds are those of a clock on the wall, which others on the machine lengthen; CPU seconds are not lengthened so.",
    minutes=8,
    measure=measure,
)
