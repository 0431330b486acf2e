"""kill -9 at random moments, five times; `make soak` does it longer."""

import secrets
from pathlib import Path

import pytest

from tests.kit.killing import play_rounds
from tests.kit.rule import SHORT_RULES

ROUNDS = 5


@pytest.mark.timeout(300)
async def test_five_rounds(prometheus_bin: Path, tmp_path: Path) -> None:
    """Never two alerts, never a lost page, never a false resolve; the seed of a failure is printed."""
    del prometheus_bin  # asked for its skip
    await play_rounds(tmp_path, SHORT_RULES, ROUNDS, seed=secrets.randbits(32))
