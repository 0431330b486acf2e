"""docs/incident-walkthrough.md tells what a run with every channel tells."""

from pathlib import Path

import pytest

from tests.kit.mosquitto import find_mosquitto
from tests.kit.walkthrough import PAGE, mask, walk, write_page


async def test_the_page_is_what_a_run_tells(prometheus_bin: Path, tmp_path: Path) -> None:
    """Every message of every channel, step by step, is that of the page; numbers, times and ids aside."""
    del prometheus_bin  # asked for its skip
    if find_mosquitto() is None:
        pytest.skip("mosquitto not found: sudo apt-get install mosquitto")
    told = write_page(await walk(tmp_path))
    assert mask(told).splitlines() == mask(PAGE.read_text()).splitlines(), "run `make walkthrough` and look at what changed"
