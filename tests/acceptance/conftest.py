"""Rule files and households of the acceptance tests.

Where the point is not the window, rules have short ones, so that minutes become seconds; the conditions and the ladder are those of
the shipped rule. The shipped rule itself runs in test_shipped.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.audience import Audience
from tests.kit.house import EnterBooth, Household, open_booths
from tests.kit.mosquitto import find_mosquitto
from tests.kit.rule import SHORT_RULES
from tests.kit.standin import Service

EnterHouse = Callable[..., Awaitable[Household]]


@pytest.fixture
async def enter_house(prometheus_bin: Path, tmp_path: Path) -> AsyncIterator[EnterHouse]:
    """Start any number of households; arguments as of `Household`, `rules` by default the short ones."""
    del prometheus_bin  # asked for its skip
    async with AsyncExitStack() as stack:
        count = 0

        async def enter(*services: Service, rules: dict[str, str] | None = None, **settings: Any) -> Household:
            nonlocal count
            count += 1
            house = Household(tmp_path / f"house-{count}", rules or {"errors": SHORT_RULES}, services, **settings)
            return await stack.enter_async_context(house)

        yield enter


@pytest.fixture
async def enter_booth(tmp_path: Path) -> AsyncIterator[EnterBooth]:
    """Start any number of booths; arguments as of `Booth`."""
    async with open_booths(tmp_path) as enter:
        yield enter


@pytest.fixture
async def audience(tmp_path: Path) -> AsyncIterator[Audience]:
    """Everyone beside PagerDuty."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto not found: sudo apt-get install mosquitto")
    async with Audience(tmp_path / "audience") as everyone:
        yield everyone
