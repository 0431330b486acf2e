"""Rule files in YAML: found, read with the place of every value, checked against the table of keys, compiled into a `RuleSet`.

    discover -> node -> reader (key) -> build, group, service -> load
    paths       YAML    typed values    domain values            one set, unique names, digest

All faults of all files come at once, as findings with file:line:column. The reloader swaps the set in; `detector check` prints
the findings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.rulefile.discover import SUFFIXES, read_files
from detector.adapters.rulefile.load import Compilation
from detector.ports.rulefile import Finding, Load, RuleFilesError

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_SECONDS = 5.0


class RuleDirectory:
    """The rule files under one directory, or one file; fulfils `ports.rulefile.RuleFiles`.

    `every_seconds` is the settings' default for rules that do not say how often they are evaluated.
    """

    def __init__(self, root: Path | str, *, every_seconds: float = EVERY_SECONDS) -> None:
        self.root = Path(root)
        self.every_seconds = every_seconds

    def load(self) -> Load:
        """Read and compile everything; raises RuleFilesError with all findings."""
        files, findings = read_files(self.root)
        return self._compile(files, findings)

    def compile(self, files: Mapping[str, str]) -> Load:
        """Compile stored text, as `load` gave it; raises RuleFilesError with all findings."""
        return self._compile(files, [])

    def _compile(self, files: Mapping[str, str], unread: list[Finding]) -> Load:
        compilation = Compilation(self.every_seconds)
        for name, text in sorted(files.items()):
            compilation.add(self._show(name), text)
        rules = compilation.finish()
        findings = [*unread, *compilation.findings]
        if not findings and not rules.rules:
            findings.append(Finding(str(self.root), 1, 1, _explain_empty(len(files))))
        if findings:
            raise RuleFilesError(sorted(findings))
        return Load(rules, dict(files))

    def _show(self, name: str) -> str:
        alone = name == self.root.name and self.root.name.endswith(SUFFIXES)
        return str(self.root if alone else self.root / name)


def _explain_empty(count: int) -> str:
    if count == 0:
        return "no rule files here; *.yaml and *.yml are read, *.test.yaml and hidden ones are not"
    return f"no rules in {count} file(s); at least one must hold `rules:` or `groups:`"
