"""kill -9 at random moments; `make soak` does it longer."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.killing import play_barrage, play_rounds
from tests.kit.rule import SHORT_RULES

ROUNDS, KILLS = 5, 12


@pytest.mark.timeout(600)
async def test_a_few_rounds(prometheus_bin: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Never two alerts, never a lost page, never a false resolve; the seed of a failure is printed."""
    del prometheus_bin  # asked for its skip
    seed = secrets.randbits(32)
    record_property("seed", seed)
    await play_rounds(tmp_path, SHORT_RULES, ROUNDS, seed)


@pytest.mark.timeout(400)
async def test_a_dozen_kills(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """As fast as it can be started, while services break, are unknown and are mended: the oracle finds nothing."""
    tally = await play_barrage(tmp_path, KILLS, secrets.randbits(32))
    record_property("seed", tally.seed)
    record_property("figures", tally.figures)
    assert tally.incidents > 0
    assert not tally.findings, [*map(str, tally.findings)]
