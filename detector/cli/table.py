"""Rows for people: a table on a terminal, tab-separated lines in a pipe. Values cannot steer the terminal."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# beside C0 and C1: what turns the direction of text around, line ends of Unicode, and halves of characters, which cannot be encoded
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print; in a pipe there is no heading, so that every line is a row."""
    rows = [[clean(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE, header_style="bold")
    for row in rows:
        table.add_row(*(Text(value, SEVERITY_STYLES.get(value, "")) for value in row))
    Console().print(table)


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


def format_count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
