"""Rows for people: a table on a terminal, tab-separated lines in a pipe. Values cannot steer the terminal."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

# beside C0 and C1: what turns the direction of text around, line ends of Unicode, and halves of characters, which cannot be encoded
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_GAP, _INDENT = 2, 4
SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print; in a pipe there is no heading, so that every line is a row."""
    rows = [[clean(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.cells import cell_len
    from rich.console import Console

    console = Console()
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    fitting = sum(sum(widths[:count]) + _GAP * (count - 1) <= console.width for count in range(1, len(columns) + 1))
    _print_aligned(console, columns, rows, widths[: max(1, fitting)])


def _print_aligned(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """No value is cut, for ids are there to be copied: columns that do not fit stand below their row, by name."""
    from rich.cells import set_cell_size
    from rich.padding import Padding
    from rich.text import Text

    for number, row in enumerate([columns, *rows]):
        line = Text()
        for value, width in zip(row, widths, strict=False):
            line.append(set_cell_size(value, width) + " " * _GAP, SEVERITY_STYLES.get(value, "") if number else "bold")
        line.rstrip()
        console.print(line, soft_wrap=True)
        below = zip(columns[len(widths) :], row[len(widths) :], strict=True)
        told = ", ".join(f"{name.lower()} {value}" for name, value in below if value not in {"", "-"})
        if number and told:
            console.print(Padding(Text(told), (0, 0, 0, _INDENT)))


def clean(value: str) -> str:
    """The value in one line, without control characters: labels come from outside."""
    return _CONTROL.sub(" ", value)


def format_json(value: object) -> str:
    """JSON to be read by people and programs: what could steer a terminal is written as an escape, which means the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))


def show_time(seconds: float | None) -> str:
    """UTC to the second, `-` for none."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_number(number: float | None) -> str:
    """Up to six digits, `-` for none."""
    return "-" if number is None else f"{number:.6g}"
