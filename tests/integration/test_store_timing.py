"""What a commit costs; prints a table. Run with `-m bench -s`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from detector.adapters.store import create_store
from tests.kit.sample import decide, make_event, make_incident, make_notice, make_record

if TYPE_CHECKING:
    from pathlib import Path

BUDGET_SECONDS = {1: 0.05, 2_000: 0.5, 20_000: 4.0}


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_commit_is_within_its_budget(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """A commit of 1, 2,000 and 20,000 alert rows with one incident stays below some times what was measured."""
    url = None if kind == "sqlite" else request.getfixturevalue("postgres_url")
    store = create_store(tmp_path / "state", url)
    await store.open()
    try:
        for rows, budget in BUDGET_SECONDS.items():
            records = [make_record(number) for number in range(rows)]
            seconds, cpu = [], []
            for _ in range(3):
                begun, used = time.perf_counter(), time.process_time()
                await store.commit(records, decide(make_incident(rows), make_event(rows), make_notice(rows)), 1.0)
                seconds.append(time.perf_counter() - begun)
                cpu.append(time.process_time() - used)
            assert min(seconds) < budget
    finally:
        await store.close()
