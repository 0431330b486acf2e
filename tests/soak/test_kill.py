"""kill -9 at random moments: hundreds of times on a scripted Prometheus, some rounds more on a real one.

DETECTOR_TEST_KILLS, DETECTOR_TEST_DAEMONS (killed at once) and DETECTOR_TEST_ROUNDS say how much, DETECTOR_TEST_SEED plays what a
printed seed chose. `make reliability ARGS="--soak -k test_many_kills"` writes the figures into docs/reliability.md.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.killing import play_barrage, play_rounds
from tests.kit.rule import SHORT_RULES

KILLS = int(os.environ.get("DETECTOR_TEST_KILLS", "1000"))
DAEMONS = int(os.environ.get("DETECTOR_TEST_DAEMONS", "3"))
ROUNDS = int(os.environ.get("DETECTOR_TEST_ROUNDS", "60"))


def _choose_seed() -> int:
    return int(os.environ.get("DETECTOR_TEST_SEED", "0")) or secrets.randbits(32)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_kills(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """As often as asked, of several daemons at once: no page lost, no second alert, no false resolve, nothing left open."""
    tally = await play_barrage(tmp_path, KILLS, _choose_seed(), daemons=DAEMONS)
    record_property("seed", tally.seed)
    record_property("figures", tally.figures)
    assert tally.incidents * 10 >= tally.kills, "more kills than anything happened"
    assert not tally.findings, [*map(str, tally.findings)]


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_rounds(prometheus_bin: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Never two alerts, never a lost page, never a false resolve; DETECTOR_TEST_SEED plays a printed seed again."""
    del prometheus_bin  # asked for its skip
    seed = _choose_seed()
    record_property("seed", seed)
    await play_rounds(tmp_path, SHORT_RULES, ROUNDS, seed)
    record_property("figures", f"{ROUNDS} rounds of breach and repair on a real Prometheus, one or two kills in each")
