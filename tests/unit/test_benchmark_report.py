"""What the benchmarks make of their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.history import Run, append, compare, find_last, read
from benchmarks.question import Figure
from benchmarks.report import lay_out

if TYPE_CHECKING:
    from pathlib import Path


def make(value: float, *, question: str = "start") -> Run:
    """A run that answered one question with one figure."""
    return Run("2026-01-01T00:00:00Z", "abc", "machine", {question: [Figure(row="ready", value=value, unit="s", budget=1.2)]})


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Two lines, oldest first, figures and budgets included; a file that is not there holds none."""
    path = tmp_path / "history.jsonl"
    assert read(path) == []
    for run in (make(1.0), make(2.0)):
        append(run, path)
    assert read(path) == [make(1.0), make(2.0)]


def test_a_line_that_is_no_run_is_named(tmp_path: Path) -> None:
    """The message has file and line."""
    path = tmp_path / "history.jsonl"
    append(make(1.0), path)
    with path.open("a") as file:
        file.write('{"at": "x"}\n')
    with pytest.raises(ValueError, match=r"history\.jsonl:2: not a run"):
        read(path)


@pytest.mark.parametrize(("value", "word"), [(1.2, "WORSE"), (0.8, "better"), (1.1, None)])
def test_a_clear_change_is_told(value: float, word: str | None) -> None:
    """Against the last run that asked the question, whatever came between; noise is not told."""
    before = [make(5.0), make(1.0), make(9.0, question="idle")]
    told = compare(make(value), before)
    assert [line.split(":")[0] for line in told] == ([word] if word else [])
    assert find_last(before, "latency") is None


def test_a_figure_over_its_budget_says_so() -> None:
    """A row with measured value, budget and verdict; in a matrix the verdict stands in the cell."""
    over, kept = Figure(row="ready", value=1.3, unit="s", budget=1.2), Figure(row="check", value=0.6, unit="s", budget=0.6)
    assert not over.kept
    assert kept.kept
    assert lay_out([over, kept])[1] == [("ready", "1.30 s", "1.20 s", "OVER"), ("check", "0.60 s", "0.60 s", "ok")]
    cells = [Figure(row="a", column="median", value=3.0, unit="s", budget=2.0), Figure(row="b", column="most", value=4.0, unit="s")]
    assert lay_out(cells) == (("", "median", "most"), [("a", "3.00 s, budget 2.00 s: OVER", ""), ("b", "", "4.00 s")])
