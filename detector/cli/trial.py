"""What `detector test` does: reads the tests, starts a Prometheus on all their series, runs them, and tells what was missed."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.adapters.binary import find_binary
from detector.adapters.calendar import RuleCalendar
from detector.adapters.program.prometheus import Course, LocalPrometheus
from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.trial import find_trials, read_trials
from detector.adapters.template import TemplateRenderer
from detector.app.stretch import PastError
from detector.app.trial import Failure, add_services, run_trial
from detector.cli.exit import DONE, FAILURE
from detector.cli.table import clean, format_json
from detector.domain.duration import format_duration
from detector.domain.label import format_labels
from detector.domain.ledger import Paging
from detector.domain.quantity import format_count, format_signal
from detector.domain.trial import Trial
from detector.ports.rulefile import Finding, RuleFilesError
from detector.transport.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.app.trial import SignalLine
    from detector.domain.rule import RuleSet

# Tests lie side by side in one past, each beginning on a Thursday midnight, as the epoch that promtool counts from does. Between
# two of them lies more than any query looks back (a week and half an hour), added to the longest test.
FIRST_START = 1_577_923_200.0
DISTANCE_SECONDS = 3 * 604_800.0
_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class _Result:
    trial: Trial
    failures: tuple[Failure, ...]
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.failures and not self.error


def perform(paths: Sequence[Path], *, as_json: bool) -> int:
    """Run all tests below the paths and print; the exit code. Raises BinaryMissingError and ProgramError."""
    began = time.monotonic()
    files, findings = find_trials(paths)
    trials: list[Trial] = []
    for file in files:
        read, faults = read_trials(file)
        trials += read
        findings += faults
    sets, faults = _load_rules(trials)
    findings += faults
    if findings:
        for finding in sorted(set(findings)):
            print(clean(str(finding)), file=sys.stderr)
        print(f"{format_count(len(set(findings)), 'finding')}; no test was run", file=sys.stderr)
        return FAILURE
    prometheus, promtool = find_binary("prometheus"), find_binary("promtool")
    with tempfile.TemporaryDirectory(prefix="detector-test-") as folder:
        results = asyncio.run(_run(trials, sets, prometheus, promtool, Path(folder)))
    failed = sum(not result.passed for result in results)
    if as_json:
        print(format_json([_dump(result) for result in results]))
    else:
        for result in results:
            if not result.passed:
                print("\n".join(_tell(result)))
        seconds = time.monotonic() - began
        print(f"{len(results) - failed} passed, {failed} failed in {format_count(len(files), 'file')}, {seconds:.1f} s")
    return FAILURE if failed else DONE


def _load_rules(trials: Sequence[Trial]) -> tuple[dict[tuple[tuple[str, ...], float], RuleSet], list[Finding]]:
    sets: dict[tuple[tuple[str, ...], float], RuleSet] = {}
    findings: list[Finding] = []
    for trial in trials:
        key = (trial.rules, trial.interval_seconds)
        if key in sets:
            continue
        try:
            sets[key] = RuleDirectory(*trial.rules, every_seconds=trial.interval_seconds).load().rules
        except RuleFilesError as error:
            findings += error.findings
    return sets, findings


async def _run(
    trials: Sequence[Trial],
    sets: dict[tuple[tuple[str, ...], float], RuleSet],
    prometheus: Path,
    promtool: Path,
    folder: Path,
) -> list[_Result]:
    starts = [FIRST_START + number * DISTANCE_SECONDS for number in range(len(trials))]
    courses = [Course(start, trial.interval_seconds, trial.series) for start, trial in zip(starts, trials, strict=True)]
    renderer = TemplateRenderer(lambda _template, _why: None)
    results = []
    async with LocalPrometheus(prometheus, promtool, folder, courses) as server, Exchange() as exchange:
        source = PrometheusSource(exchange, server.url)
        for number, (start, trial) in enumerate(zip(starts, trials, strict=True), 1):
            _show_progress(f"{number} of {len(trials)}  {trial.name}")
            rules = add_services(sets[trial.rules, trial.interval_seconds], trial.services)
            try:
                results.append(_Result(trial, await run_trial(trial, rules, source, start, Paging(), renderer, RuleCalendar())))
            except PastError as error:
                results.append(_Result(trial, (), f"query failed: {error}; query: {error.query}"))
    _show_progress("")
    return results


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{clean(text)[:100]}", end="", file=sys.stderr, flush=True)


def _tell(result: _Result) -> Iterator[str]:
    place = result.trial.source
    yield clean(f"FAIL {place.file}:{place.line}:{place.column}: {result.trial.name}")
    if result.error:
        yield clean(f"  {result.error}")
    for failure in result.failures:
        miss = failure.miss
        yield f"  at {format_duration(miss.at_seconds)} ({miss.source.file}:{miss.source.line}): {miss.what}"
        yield f"    expected: {_show(miss.expected)}"
        yield f"    got:      {_show(miss.got)}"
        yield from _tell_signals(failure.signals)


def _tell_signals(lines: Sequence[SignalLine]) -> Iterator[str]:
    if not lines:
        yield "    no signal has a value around that time"
        return
    yield "    signals:  " + "  ".join(f"{format_duration(at):>9}" for at, _ in lines[0].points)
    for line in lines[:_MOST_LINES]:
        values = "  ".join(f"{'-' if value is None else format_signal(line.signal, value):>9}" for _, value in line.points)
        yield clean(f"              {values}  {line.signal} of {line.rule} {format_labels(line.labels)}")
    if len(lines) > _MOST_LINES:
        yield f"              ... and {len(lines) - _MOST_LINES} more"


def _show(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return clean(json.dumps(value, ensure_ascii=False))


def _dump(result: _Result) -> dict[str, Any]:
    return {
        "file": result.trial.source.file,
        "line": result.trial.source.line,
        "name": result.trial.name,
        "passed": result.passed,
        "error": result.error,
        "failures": [
            {
                "at": failure.miss.at_seconds,
                "line": failure.miss.source.line,
                "what": failure.miss.what,
                "expected": failure.miss.expected,
                "got": failure.miss.got,
                "signals": [_dump_signal(line) for line in failure.signals],
            }
            for failure in result.failures
        ],
    }


def _dump_signal(line: SignalLine) -> dict[str, Any]:
    points = [list(point) for point in line.points]
    return {"rule": line.rule, "labels": dict(line.labels), "signal": line.signal, "points": points}
