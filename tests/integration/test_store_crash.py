"""kill -9 in the middle of commits, on SQLite and PostgreSQL."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

import pytest

from detector.adapters.store import create_store
from tests.kit.process import Process
from tests.kit.sample import make_incident
from tests.kit.storewriter import ALERTS

if TYPE_CHECKING:
    from pathlib import Path

    from detector.ports.store import Store

ROUNDS = 4


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Address of the database, None for SQLite."""
    found: str | None = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    return found


async def _count_whole_commits(store: Store) -> int:
    memory = await store.load()
    count = len(memory.incidents)
    assert set(memory.incidents) == {make_incident(number).id for number in range(1, count + 1)}
    states = memory.alerts["http-errors"].values()
    assert [state.flaps for state in states] == [count] * ALERTS
    assert [len(await store.timeline(incident)) for incident in memory.incidents] == [1] * count
    assert (await store.backlog())["pagerduty"].depth == count
    return count


async def test_kill_9_loses_nothing_and_leaves_no_half(tmp_path: Path, url: str | None) -> None:
    """After each kill at a random moment: all that was reported is there, and the last transaction is whole or absent."""
    seed = random.randrange(2**32)  # noqa: S311  # when to kill is no secret
    moments = random.Random(seed)  # noqa: S311  # as above
    log = tmp_path / "writer.log"
    for _ in range(ROUNDS):
        log.unlink(missing_ok=True)
        argv: list[str | Path] = [sys.executable, "-m", "tests.kit.storewriter", tmp_path / "state", *([url] if url else [])]
        enough = moments.randint(1, 30)
        writer = Process(argv, log=log)
        with writer:
            await writer.wait_ready(lambda log=log, enough=enough: log.exists() and log.read_text().count("\n") >= enough)  # type: ignore[misc]
            writer.kill()
        reported = int(log.read_text().split("\n")[-2])
        store = create_store(tmp_path / "state", url)
        await store.open()
        try:
            assert await _count_whole_commits(store) in {reported, reported + 1}
        finally:
            await store.close()
