"""The benchmark of long lists runs: on a history of a few incidents, over the stores that are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import listing
from tests.kit.postgres import find_postgres

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_lists_are_measured_on_every_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes is what the daemon lists, page by page; a figure for each list and store."""
    if find_postgres() is None:
        pytest.skip("needs postgresql: .ci/provide servers")
    for name, value in {"INCIDENTS": 40, "_CHUNK": 20, "REQUESTS": 2}.items():
        monkeypatch.setattr(listing, name, value)
    said: list[str] = []
    figures = await listing.measure(tmp_path, said.append)
    assert {(figure.row, figure.column) for figure in figures} >= {
        (row, store) for row in listing._PATHS for store in ("SQLite", "PostgreSQL")
    }
    assert all(figure.value > 0.0 for figure in figures)
