"""A process whose files may not grow, then may; `fill_disk` does it to any.

`python -m tests.kit.fulldisk STATE_DIR` prints what the store did.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.store import create_store
from detector.ports.error import TemporaryError
from tests.kit.sample import decide, make_record

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fill_disk(pid: int) -> Iterator[None]:
    """Within the block no file of that process may grow, the log's neither."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


async def run(state_dir: Path) -> None:
    """Commit until the limit is hit, read, lift the limit, commit."""
    store = create_store(state_dir)
    await store.open()
    await store.commit([make_record(1)], decide(), 0.0)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, most))
    many = [make_record(number) for number in range(4000)]
    try:
        await store.commit(many, decide(), 0.0)
    except TemporaryError:
        sys.stdout.write("failed\n")
    assert len((await store.load()).alerts["http-errors"]) == 1
    sys.stdout.write("read\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await store.commit(many, decide(), 0.0)
    assert len((await store.load()).alerts["http-errors"]) == 4000
    sys.stdout.write("recovered\n")
    await store.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
