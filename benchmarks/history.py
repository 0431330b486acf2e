"""Runs kept, one JSON line each, so that a regression is seen: date, commit, machine, and the figures of every question."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.question import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE = Path(__file__).parent / "history.jsonl"
_NEWS = 1.15  # machines that do other things as well measure some percent more or less from run to run


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the history; `figures` by question."""

    at: str
    commit: str
    machine: str
    figures: Mapping[str, Sequence[Figure]] = field(default_factory=dict)


def make_run(figures: Mapping[str, Sequence[Figure]]) -> Run:
    """A run of now, of this commit and machine; a changed source tree shows as a + behind the commit."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Run(now, _name_commit(), _describe_machine(), figures)


def dump_run(run: Run) -> dict[str, Any]:
    """The run as JSON; Figures as objects."""
    return asdict(run)


def append(run: Run, path: Path = FILE) -> None:
    """Add a line."""
    with path.open("a") as file:
        file.write(json.dumps(dump_run(run)) + "\n")


def read(path: Path = FILE) -> list[Run]:
    """All runs, oldest first; ValueError names a line that is none."""
    return list(_read_lines(path)) if path.exists() else []


def find_last(runs: Iterable[Run], question: str) -> Run | None:
    """The newest run that asked the question."""
    return next((run for run in reversed(list(runs)) if question in run.figures), None)


def compare(run: Run, before: Sequence[Run]) -> list[str]:
    """One line for every figure that is clearly worse or better than when it was last measured."""
    lines = []
    for question, figures in run.figures.items():
        last = find_last(before, question)
        known = {(figure.row, figure.column): figure.value for figure in last.figures[question]} if last else {}
        for figure in figures:
            value = known.get((figure.row, figure.column))
            if last and value and figure.compared and not 1 / _NEWS < figure.value / value < _NEWS:
                word = "better" if (figure.value > value) == figure.more else "WORSE"
                name = f"{figure.row}, {figure.column}" if figure.column else figure.row
                lines.append(f"{word}: {name}: {value:.4g} -> {figure.value:.4g} {figure.unit} ({last.at}, {last.commit})")
    return lines


def _read_lines(path: Path) -> Iterator[Run]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            fields = json.loads(line)
            figures = {name: [Figure(**figure) for figure in rows] for name, rows in fields.pop("figures").items()}
            yield Run(**fields, figures=figures)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}:{number}: not a run of the benchmarks ({error}); remove the line") from error


def _name_commit() -> str:
    commit = _ask_git("rev-parse", "--short=12", "HEAD")
    changed = _ask_git("status", "--porcelain", "--untracked-files=no", "--", "detector", "rules")
    return f"{commit or 'unknown'}{'+' if changed else ''}"


def _ask_git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=FILE.parent, capture_output=True, text=True, timeout=30, check=False)  # noqa: S607 - whichever git made the clone
    except OSError:
        return ""
    return done.stdout.strip()


def _describe_machine() -> str:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB, load {os.getloadavg()[1]:.1f}"
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, {memory}, Python {platform.python_version()}"
