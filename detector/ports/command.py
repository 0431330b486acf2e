"""Runs a command that a human asked for: an argument list, never a shell line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How it ended: in words ("exit code 0", "timed out ..."), whether that is good, and what it wrote, cut."""

    words: str
    ok: bool
    output: str = ""


class CommandRunner(Protocol):
    """Never raises for what the command does; cancelling it ends the command."""

    async def run(self, arguments: Sequence[str], facts: Mapping[str, str], *, timeout_seconds: float) -> CommandOutcome:
        """Run to its end or its timeout. `facts` are added to its environment."""

    def find_fault(self, arguments: Sequence[str]) -> str:
        """Why it can't be run at all, such as that the program is not there; empty where it can."""
