"""`detector ...` as a process of its own, as somebody in a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def list_foreign() -> list[str]:
    """Names in this environment that are settings of a daemon which whoever runs the tests has."""
    return [name for name in os.environ if name.startswith("DETECTOR_") and name != "DETECTOR_TEST_WHEEL"]


def run_detector(*words: str | Path, cwd: Path, settings: Mapping[str, str], seconds: float = 120.0) -> tuple[int, str, str]:
    """Exit code, output and errors. `settings`, named as in the environment, come in place of those that are there."""
    clean = {name: value for name, value in os.environ.items() if name not in list_foreign()}
    argv = [sys.executable, "-m", "detector", *map(str, words)]
    done = subprocess.run(argv, env={**clean, **settings}, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False)
    return done.returncode, done.stdout, done.stderr
