"""Booths of the long tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.house import EnterBooth, open_booths


@pytest.fixture
async def enter_booth(tmp_path: Path) -> AsyncIterator[EnterBooth]:
    """Start any number of booths; arguments as of `Booth`."""
    async with open_booths(tmp_path) as enter:
        yield enter
