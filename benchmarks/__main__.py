"""`python -m benchmarks [name ...]`: asks, prints and keeps the answers; exit code 1 when one is over its budget."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import (
    backtest,
    crowd,
    dependency,
    evaluation,
    growth,
    history,
    idle,
    latency,
    listing,
    merge,
    profile,
    replica,
    report,
    start,
)
from benchmarks.petshop import detection, ranking
from benchmarks.sidebyside import comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.question import Figure, Question, Say

_MODULES = (
    start,
    evaluation,
    profile,
    merge,
    idle,
    crowd,
    latency,
    listing,
    replica,
    comparison,
    ranking,
    detection,
    backtest,
    dependency,
)
QUESTIONS = {question.name: question for question in (*(module.QUESTION for module in _MODULES), *growth.QUESTIONS)}
QUICK = {comparison.QUESTION.name: comparison.QUICK_QUESTION}
DONE, OVER, FAILED, USAGE = 0, 1, 1, 2
_PROGRESS_LINE_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    given = _read_arguments(arguments)
    unknown = [name for name in given.names if name not in QUESTIONS]
    if unknown:
        print(f"benchmarks: no benchmark is named {unknown[0]}; there are {', '.join(QUESTIONS)}", file=sys.stderr)
        return USAGE
    if given.list:
        for question in QUESTIONS.values():
            print(f"{question.name:<11} about {question.minutes:g} min  {question.text}")
        return DONE
    if given.markdown:
        page, runs = Path(given.markdown), history.read()
        page.write_text(report.write_markdown(list(QUESTIONS.values()), runs))
        for name, picture in report.draw_plots(list(QUESTIONS.values()), runs).items():
            (page.parent / name).write_text(picture)
        return DONE
    if given.fault:
        return _ask_faults(given.fault, given.json)
    asked = QUESTIONS | QUICK if given.quick else QUESTIONS
    return _ask([asked[name] for name in given.names or asked], given.json, keep=not given.quick)


def _ask_faults(numbers: Sequence[str], json_file: str | None) -> int:
    """Some faults side by side; a part is not kept in the history, where it would stand for the whole."""
    try:
        question = comparison.choose_rows(numbers)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return USAGE
    return _ask([question], json_file, keep=False)


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what detection costs and how long it takes.")
    parser.add_argument("names", nargs="*", metavar="name", help="which benchmarks to run; default all")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and end")
    parser.add_argument("--quick", action="store_true", help="shorter forms where there are any; nothing is kept")
    parser.add_argument(
        "--fault",
        action="append",
        metavar="NUMBER",
        help="sidebyside, this fault alone (repeatable): goes to docs/reliability-peers.json, not into the history",
    )
    parser.add_argument("--json", metavar="FILE", help="also write this run there")
    parser.add_argument("--markdown", metavar="FILE", help="write a page from the history instead of measuring")
    return parser.parse_args(arguments)


def _ask(questions: Sequence[Question], json_file: str | None, *, keep: bool) -> int:
    figures: dict[str, list[Figure]] = {}
    for question in questions:
        try:
            figures[question.name] = asyncio.run(_measure(question))
        except (RuntimeError, AssertionError) as fault:  # what was to be measured did not run
            print(f"benchmarks: {question.name}: {fault}", file=sys.stderr)
            return FAILED
        report.print_answer(question, figures[question.name])
        sys.stdout.flush()
    before, run = history.read(), history.make_run(figures)
    if keep:
        history.append(run)
    if json_file:
        Path(json_file).write_text(json.dumps(history.dump_run(run), indent=2) + "\n")
    print("\n" + "\n".join(history.compare(run, before) or ["nothing clearly worse or better than when last measured"]))
    over = [figure.row for rows in figures.values() for figure in rows if not figure.kept]
    if over:
        print(f"over budget: {'; '.join(over)}")
    return OVER if over else DONE


async def _measure(question: Question) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix=f"benchmark-{question.name}-") as folder:
        if sys.stderr.isatty():
            with Console(stderr=True).status(question.name) as status:
                return await question.measure(Path(folder), lambda line: status.update(f"{question.name}: {line}"))
        print(f"{question.name}: about {question.minutes:g} min", file=sys.stderr)
        return await question.measure(Path(folder), _make_line_progress(question.name))


def _make_line_progress(name: str) -> Say:
    """In a pipe: a line every half minute."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_LINE_SECONDS:
            last = time.monotonic()
            print(f"{name}: {line}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
