"""A process that commits without pause until it is killed: `python -m tests.kit.storewriter STATE_DIR [DATABASE_URL]`.

Commit n writes incident n, its event and notice, and sets `flaps` of forty alerts to n. It prints n after the commit returned.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from detector.adapters.store import create_store
from tests.kit.sample import decide, make_event, make_incident, make_notice, make_record

ALERTS = 40


async def write(state_dir: Path, url: str | None) -> None:
    """Commit for ever, going on after the last incident that is there."""
    store = create_store(state_dir, url)
    await store.open()
    number = len((await store.load()).incidents)
    while True:
        number += 1
        alerts = [make_record(series, flaps=number) for series in range(ALERTS)]
        await store.commit(alerts, decide(make_incident(number), make_event(number), make_notice(number)), 1000.0)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
