"""Rule files in YAML: found, read with the place of every value, checked against the table of keys, compiled into a `RuleSet`.

    discover -> node -> reader (key) -> build, group, service -> load
    paths       YAML    typed values    domain values            one set, unique names, digest

All faults of all files come at once, as findings with file:line:column. The reloader swaps the set in; `detector check` prints
the findings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from detector.adapters.rulefile.discover import SUFFIXES, read_files
from detector.adapters.rulefile.load import Compilation
from detector.adapters.rulefile.reader import Query
from detector.domain.quantity import format_count
from detector.domain.rule import RuleSet
from detector.ports.rulefile import Finding, Load, RuleFilesError

__all__ = ["EVERY_SECONDS", "Examination", "Query", "RuleDirectory"]

EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Examination:
    """What `detector check` wants to know, whether or not the load is good: all findings, notes, and queries with their places."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    queries: tuple[Query, ...]
    files: Mapping[str, str]
    rules: RuleSet


class RuleDirectory:
    """The rule files under one directory, or one file; fulfils `ports.rulefile.RuleFiles`.

    `every_seconds` is the settings' default for rules that do not say how often they are evaluated. With `others` the files of all
    of them make one set; their names are then paths as given. `routes` are the names of the settings' routing keys, where known.
    """

    def __init__(
        self, root: Path | str, *others: Path | str, every_seconds: float = EVERY_SECONDS, routes: Collection[str] = ()
    ) -> None:
        self.roots = (Path(root), *map(Path, others))
        self.every_seconds = every_seconds
        self.routes = routes

    def load(self, *, routed: bool = False) -> Load:
        """Read and compile everything; raises RuleFilesError with all findings. `routed`: a name without a routing key is one."""
        return _accept(self.examine(routed=routed))

    def compile(self, files: Mapping[str, str]) -> Load:
        """Compile stored text, as `load` gave it; raises RuleFilesError with all findings."""
        return _accept(self._examine(files, []))

    def examine(self, *, routed: bool = False) -> Examination:
        """Read and compile everything; faults are in the answer. Blocks, as the others do."""
        files: dict[str, str] = {}
        unread: list[Finding] = []
        for root in self.roots:
            texts, findings = read_files(root)
            unread += findings
            files |= texts if len(self.roots) == 1 else {_show(root, name): text for name, text in texts.items()}
        return self._examine(files, unread, self.routes if routed else ())

    def _examine(self, files: Mapping[str, str], unread: list[Finding], routes: Collection[str] = ()) -> Examination:
        compilation = Compilation(self.every_seconds, routes)
        for name, text in sorted(files.items()):
            compilation.add(_show(self.roots[0], name) if len(self.roots) == 1 else name, text)
        rules = compilation.finish()
        findings = [*unread, *compilation.findings]
        if not findings and not rules.rules:
            findings.append(Finding(str(self.roots[0]), 1, 1, _explain_empty(len(files))))
        return Examination(tuple(sorted(set(findings))), rules.notes, tuple(compilation.queries), dict(files), rules)


def _accept(examination: Examination) -> Load:
    if examination.findings:
        raise RuleFilesError(examination.findings)
    return Load(examination.rules, examination.files)


def _show(root: Path, name: str) -> str:
    alone = name == root.name and root.name.endswith(SUFFIXES)
    return str(root if alone else root / name)


def _explain_empty(count: int) -> str:
    if count == 0:
        return "no rule files here; *.yaml and *.yml are read, *.test.yaml and hidden ones are not"
    return f"no rules in {format_count(count, 'file')}; at least one must hold `rules:` or `groups:`"
