"""Booths of the long tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.house import Booth

EnterBooth = Callable[..., Awaitable[Booth]]


@pytest.fixture
async def enter_booth(tmp_path: Path) -> AsyncIterator[EnterBooth]:
    """Start any number of booths; arguments as of `Booth`."""
    async with AsyncExitStack() as stack:
        count = 0

        async def enter(**settings: Any) -> Booth:
            nonlocal count
            count += 1
            return await stack.enter_async_context(Booth(tmp_path / f"booth-{count}", **settings))

        yield enter
