"""Rule files: loaded whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detector.domain.quantity import format_count
from detector.domain.rule import RuleSet


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault in a rule file; line and column count from 1. The message says what is wrong and what would be right."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """`file:line:column: message`."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class RuleFilesError(Exception):
    """The files hold no usable set; `findings` has every fault, in reading order."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{format_count(len(findings), 'finding')}; first: {findings[0]}" if findings else "no rules")
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Load:
    """A good load: the set, and the text of every file it came from by path relative to the root."""

    rules: RuleSet
    files: Mapping[str, str]


class RuleFiles(Protocol):
    """The rules directory (or file) of the settings. Both methods block: call them in a thread."""

    def load(self, *, routed: bool = False) -> Load:
        """Read and compile everything; raises RuleFilesError with all findings. A load without rules is an error.

        `routed`: so is a service whose `pagerduty` names no routing key of the settings.
        """

    def compile(self, files: Mapping[str, str]) -> Load:
        """Compile stored text, as `load` gave it."""
