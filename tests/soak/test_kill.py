"""kill -9 at random moments, sixty times: by default about twenty minutes."""

import os
import secrets
from pathlib import Path

import pytest

from tests.kit.killing import play_rounds
from tests.kit.rule import SHORT_RULES

ROUNDS = int(os.environ.get("DETECTOR_TEST_ROUNDS", "60"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_rounds(prometheus_bin: Path, tmp_path: Path) -> None:
    """Never two alerts, never a lost page, never a false resolve; DETECTOR_TEST_SEED plays a printed seed again."""
    del prometheus_bin  # asked for its skip
    seed = int(os.environ.get("DETECTOR_TEST_SEED", "0")) or secrets.randbits(32)
    await play_rounds(tmp_path, SHORT_RULES, ROUNDS, seed)
