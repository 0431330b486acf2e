"""The rule files of the demo: the shipped ones with shorter times, and a catalogue of the shop.

Before it: the rules that travel in the wheel (or lie in the source tree). After it: a directory that the daemon loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import detector
from detector.standin.child import StageError

WINDOW_SECONDS = 20
RECOVER_FOR_SECONDS = 10
# of an error ratio rule the demo changes these and nothing else; it says so on the terminal
SHORTENED = {
    "every": "1s",
    "window": f"{WINDOW_SECONDS}s",
    "severity_window": "4s",
    "recover_for": f"{RECOVER_FOR_SECONDS}s",
}
_DEFAULTS = {"every": "5s", "window": "5m", "severity_window": "1m", "recover_for": "5m"}  # of a rule that says nothing

_CATALOGUE = """\
# the shop of `detector demo`: who is behind whom, and where to read on
services:
  frontend: {owner: web, core: true, depends_on: [checkout, search], runbook: https://wiki.example/frontend}
  checkout: {owner: sales, core: true, depends_on: [payments], runbook: https://wiki.example/checkout}
  payments: {owner: sales, depends_on: [database], runbook: https://wiki.example/payments}
  search: {owner: web, runbook: https://wiki.example/search}
  database: {owner: platform, customer_facing: false, runbook: https://wiki.example/database}
"""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The directory as written, where its rules were copied from, and what was changed: key -> (shipped, here)."""

    folder: Path
    shipped: Path
    changes: dict[str, tuple[str, str]]


def find_shipped_rules() -> Path:
    """The directory of the shipped rules. Raises StageError where the installation has none."""
    package = Path(detector.__file__).parent
    for folder in (package / "_rules", package.parent / "rules"):
        if (folder / "http.yaml").is_file():
            return folder
    raise StageError(
        f"the shipped rule http.yaml lies neither in {package / '_rules'} nor in {package.parent / 'rules'}; reinstall detector"
    )


def write_rules(folder: Path) -> Rulebook:
    """Write http.yaml (shortened), host.yaml and the catalogue into `folder`. Raises StageError and OSError."""
    shipped = find_shipped_rules()
    folder.mkdir(parents=True)
    content = yaml.safe_load((shipped / "http.yaml").read_text())
    before: dict[str, str] = {}
    for rule in content["rules"]:
        if _is_ratio(rule):
            before = before or {key: str(rule.get(key, _DEFAULTS[key])) for key in SHORTENED}
            rule.update(SHORTENED)
    changes = {key: (before[key], here) for key, here in SHORTENED.items() if before.get(key) not in {None, here}}
    words = ", ".join(f"{key} {here} (shipped: {there})" for key, (there, here) in changes.items())
    head = f"# written by `detector demo` from {shipped / 'http.yaml'}; changed: {words}\n"
    (folder / "http.yaml").write_text(head + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True))
    if (shipped / "host.yaml").is_file():
        (folder / "host.yaml").write_bytes((shipped / "host.yaml").read_bytes())
    (folder / "services.yaml").write_text(_CATALOGUE)
    return Rulebook(folder, shipped, changes)


def _is_ratio(rule: Any) -> bool:  # noqa: ANN401 - YAML as it came
    signals = rule.get("signals", {})
    return any(isinstance(signal, dict) and "ratio" in signal for signal in signals.values())
