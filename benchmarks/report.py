"""Figures for people: tables on a terminal, plain lines in a pipe, a page of Markdown from the history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.history import find_last
from benchmarks.plot import draw_growth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.history import Run
    from benchmarks.question import Figure, Question

_HEADING = ("", "measured", "budget", "verdict")
_STYLES = {"ok": "green", "OVER": "bold red"}
_INTRODUCTION = """# What detection costs, and how long it takes

Measured by `make bench` (about {minutes:.0f} minutes in all) on the real process, a real Prometheus, Alertmanager and vmalert.
This page is written by `python -m benchmarks --markdown docs/performance.md` from `benchmarks/history.jsonl`; do not edit it.
"""


def print_answer(question: Question, figures: Sequence[Figure]) -> None:
    """The question and its table, on standard output."""
    heading, rows = lay_out(figures)
    if not sys.stdout.isatty():
        print(f"\n{question.name}: {question.text}")
        widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
        for row in (heading, *rows):
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(*heading, title=question.text, title_justify="left", box=box.SIMPLE, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell, _STYLES.get(cell.rpartition(" ")[2], "")) for cell in row))
    Console().print(table)


def write_markdown(questions: Sequence[Question], runs: Sequence[Run]) -> str:
    """One section for every question that was ever asked, with its newest answer."""
    parts = [_INTRODUCTION.format(minutes=sum(question.minutes for question in questions))]
    for question in questions:
        run = find_last(runs, question.name)
        if run is None:
            continue
        heading, rows = lay_out(run.figures[question.name])
        lines = [f"## {question.text}", "", question.method, "", _join(heading), _join(["---"] * len(heading))]
        lines += [_join(row) for row in rows]
        if question.plot:
            lines += ["", f"![{question.text}](performance-{question.name}.svg)"]
        lines += ["", f"{run.at}, commit {run.commit}, {run.machine}."]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def draw_plots(questions: Sequence[Question], runs: Sequence[Run]) -> dict[str, str]:
    """File names and pictures of the questions that have one."""
    asked = ((question, find_last(runs, question.name)) for question in questions if question.plot)
    return {
        f"performance-{question.name}.svg": draw_growth(question.text, run.figures[question.name], question.plot)
        for question, run in asked
        if run is not None
    }


def lay_out(figures: Sequence[Figure]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heading and rows: one row a figure with its budget, or a matrix where the figures have columns."""
    columns = tuple(dict.fromkeys(figure.column for figure in figures if figure.column))
    if not columns:
        return _HEADING, [(figure.row, _show(figure.value, figure), *_judge(figure)) for figure in figures]
    cells = {(figure.row, figure.column): _show_cell(figure) for figure in figures}
    names = dict.fromkeys(figure.row for figure in figures)
    return ("", *columns), [(name, *(cells.get((name, column), "") for column in columns)) for name in names]


def _judge(figure: Figure) -> tuple[str, str]:
    if figure.budget is None:
        return "", ""
    return _show(figure.budget, figure), "ok" if figure.kept else "OVER"


def _show_cell(figure: Figure) -> str:
    budget, verdict = _judge(figure)
    shown = _show(figure.value, figure)
    return f"{shown}, budget {budget}: {verdict}" if budget else shown


def _show(value: float, figure: Figure) -> str:
    digits = 0 if value >= 100 or figure.unit == "" else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {figure.unit}".strip()


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
