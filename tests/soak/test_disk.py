"""A disk that is full for longer than a minute: that is a page of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.kit.fulldisk import fill_disk
from tests.kit.oracle import Truth

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


async def test_a_disk_that_is_full(enter_booth: EnterBooth) -> None:
    """No file may grow: a new incident pages from memory, the fault is a page, and all is written once there is room."""
    booth = await enter_booth()
    daemon = booth.daemon
    booth.show(checkout=0.1)
    await daemon.start()
    await booth.wait_open(1)
    began = time.time()
    with fill_disk(daemon.process.pid):
        booth.show(search=0.1)
        await booth.wait_open(3, seconds=180)
        assert any("cannot write its store" in alert.summary for alert in booth.pagerduty.open_alerts())
        assert (await daemon.fetch("/-/healthy"))[0] == 200
    ended = time.time()
    assert await daemon.wait_incident("search", seconds=40)
    booth.show(checkout=0.0, search=0.0)
    await booth.wait_open(0, seconds=120)
    await booth.check_oracle(also=(Truth("detector", began, ended),))
