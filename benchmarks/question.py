"""What a benchmark is: a question with its answer in figures, each with the budget it must keep.

Every module of a question holds one `Question`; `__main__` asks them, `history` keeps the answers, `report` shows them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

RULES = Path(__file__).resolve().parents[1] / "rules"

Say: TypeAlias = Callable[[str], None]
"""Takes one line of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number; less is better. With a `column` it is a cell of a matrix, else a row with its budget.

    `more`: more is better, and the budget is the least.
    `compared`: whether a rise since the last run is news; a figure that only describes the run is not compared.
    """

    row: str
    value: float
    unit: str
    column: str = ""
    budget: float | None = None
    compared: bool = True
    more: bool = False

    @property
    def kept(self) -> bool:
        """Whether the budget is kept; true without one."""
        return self.budget is None or (self.value >= self.budget if self.more else self.value <= self.budget)


@dataclass(frozen=True, slots=True)
class Question:
    """`measure` works in an empty folder and tells what it is at, for about `minutes`; columns in the unit `plot` are drawn."""

    name: str
    text: str
    method: str
    minutes: float
    measure: Callable[[Path, Say], Awaitable[list[Figure]]]
    plot: str = ""
