"""Everything that is read from others, broken in some hundred ways: findings and refusals, never an exception, never a 500.

The same targets run far longer in tests/soak/test_fuzz.py.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kit.fuzz import TARGETS, run
from tests.kit.fuzzweb import run_site

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = 150
MEMORY_BYTES = 1024 * 1024 * 1024  # of address space; the program itself maps a third of it
BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
    "merges": "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)),
    "brackets": "rules: " + "[" * 200_000,
    "braces": "{a: " * 200_000,
    "indentation": "".join(" " * n + "a:\n" for n in range(1500)),
    "dashes": "- " * 100_000,
    "keys": "? " * 100_000,
    "one line": "rules: '" + "x" * 4_000_000,
    "conditions": "rules: [{name: a, signals: {e: x}, open: '" + "(" * 4000 + "'}]",
    "queries": "rules: [{name: a, open: e > 1, signals: {e: '" + "sum(" * 20_000 + "'}}]",
    "templates": "rules: [{name: a, open: e > 1, signals: {e: x}, summary: '{{ " + "(" * 1900 + "1 }}'}]",
    "durations": "rules: [{name: a, open: e > 1, signals: {e: x}, for: " + "9" * 100_000 + "h}]",
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_is_read_raises(name: str) -> None:
    """Good inputs with faults put in, and plain noise: each is taken or refused in words, within its time."""
    run(TARGETS[name], EXAMPLES)


def test_no_request_is_answered_500() -> None:
    """Broken bodies on every write route, signed webhooks among them: every answer is below 500, and is JSON."""
    run_site(EXAMPLES)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_findings(name: str, tmp_path: Path) -> None:
    """`detector check` on a file made to eat time or memory: exit 1 with a place, inside a bound on memory."""
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMBS[name])
    done = subprocess.run(
        [sys.executable, "-m", "detector", "check", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"{path}:")
    assert "Traceback" not in done.stderr
    assert len(done.stdout) < 20_000
