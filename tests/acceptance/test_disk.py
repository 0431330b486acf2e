"""The store's file under the running daemon: full, locked by another process, corrupt in a page or in its header."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from tests.kit.fulldisk import fill_disk
from tests.kit.oracle import Truth
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.house import Booth, EnterBooth

OWN = "detector"
PAGE_BYTES = 4096


def _file(booth: Booth) -> Path:
    return booth.daemon.folder / "state" / "detector.db"


async def _wait_own(booth: Booth, words: str) -> None:
    """Until a page of the daemon about itself, with these words, is open."""

    def stands() -> bool:
        return any(alert.source == OWN and words in alert.summary for alert in booth.pagerduty.open_alerts())

    await wait_until(stands, f"a page about itself: {words}", seconds=120)


async def _finish(booth: Booth) -> None:
    booth.show(checkout=0.0, search=0.0)
    await wait_until(lambda: not booth.pagerduty.open_alerts(), "every alert resolved", seconds=120)
    await booth.check_oracle()


async def test_a_disk_that_is_full_for_a_moment(enter_booth: EnterBooth) -> None:
    """No file may grow: a new incident pages from memory, and is written once there is room."""
    booth = await enter_booth()
    daemon = booth.daemon
    booth.show(checkout=0.1)
    await daemon.start()
    await booth.wait_open(1)
    with fill_disk(daemon.process.pid):
        booth.show(search=0.1)
        await booth.wait_open(2)
        assert await daemon.incident("search") is None, "it was paged, and could not be written"
        assert (await daemon.fetch("/-/healthy"))[0] == 200
    assert await daemon.wait_incident("search")
    await _finish(booth)


async def test_a_database_that_another_process_has_locked(enter_booth: EnterBooth) -> None:
    """Eight seconds of another's lock: the page goes out meanwhile, once, and is in the store afterwards."""
    booth = await enter_booth()
    booth.show(checkout=0.1)
    await booth.daemon.start()
    await booth.wait_open(1)
    lock = sqlite3.connect(_file(booth), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        booth.show(search=0.1)
        await booth.wait_open(2)
        await asyncio.sleep(8.0)
        assert len(booth.pagerduty.open_alerts()) == 2
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert await booth.daemon.wait_incident("search")
    await _finish(booth)


def _damage(path: Path, at: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * length)


@pytest.mark.parametrize("where", ["header", "page"])
async def test_a_corrupt_file_is_moved_aside_and_said(enter_booth: EnterBooth, where: str) -> None:
    """Found at the start: the file is kept under another name, one page says so, and paging goes on."""
    booth = await enter_booth()
    daemon = booth.daemon
    # nothing can be read behind a lost header: only then what was open in it is not resolved by the next process
    booth.show(checkout=0.1 if where == "page" else 0.0)
    await daemon.start()
    await booth.wait_open(1 if where == "page" else 0)
    await daemon.wait_metric("detector_evaluations_total", 2, rule="errors")
    assert await daemon.stop() == 0
    pages = _file(booth).stat().st_size // PAGE_BYTES
    _damage(_file(booth), *((0, 100) if where == "header" else ((pages // 2) * PAGE_BYTES, PAGE_BYTES)))
    began = time.time()
    await daemon.start()
    await _wait_own(booth, "store was corrupt")
    (moved,) = (path for path in _file(booth).parent.glob("detector.db.corrupt-*") if path.name[-4:] not in {"-wal", "-shm"})
    assert moved.stat().st_size > 0
    booth.show(search=0.1)
    await wait_until(lambda: any(each.source == "search" for each in booth.pagerduty.open_alerts()), "the new page")
    booth.show(search=0.0, checkout=0.0)
    await booth.wait_open(1)
    await booth.check_oracle(also=(Truth(OWN, began),))


async def test_a_file_that_becomes_corrupt_while_it_runs(enter_booth: EnterBooth) -> None:
    """Overwritten under the daemon: what was open is in the new one and is resolved; one page says so."""
    booth = await enter_booth()
    daemon = booth.daemon
    booth.show(calm=0.0)
    await daemon.start()
    await daemon.wait_metric("detector_evaluations_total", 2, rule="errors")
    began = time.time()
    for path in (_file(booth), _file(booth).with_name("detector.db-wal")):
        if path.exists():
            _damage(path, 0, max(PAGE_BYTES, path.stat().st_size))
    booth.show(search=0.1)
    await wait_until(lambda: any(each.source == "search" for each in booth.pagerduty.alerts()), "the page")
    await _wait_own(booth, "store was corrupt")
    assert list(_file(booth).parent.glob("detector.db.corrupt-*"))
    assert await daemon.wait_incident("search")
    booth.show(search=0.0)
    await booth.wait_open(1)
    await booth.check_oracle(also=(Truth(OWN, began),))
