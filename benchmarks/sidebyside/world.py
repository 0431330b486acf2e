"""One trial's own world: a fleet, a PagerDuty account, a product between them, and what was true meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from benchmarks.daemon import ROUTING_KEY
from benchmarks.fleet import Fleet
from benchmarks.sidebyside.condition import write_weights
from benchmarks.sidebyside.verdict import Truth, Verdict, judge, name_service
from tests.kit.standin import PagerDuty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.sidebyside.product import Product
    from tests.kit.process import Process

    Make = Callable[[Mapping[str, object], str], Product]

_SHARE = 0.5
_WARM_SECONDS = 30.0  # the window is full, and every evaluator has looked
_STEP_SECONDS = 0.25


class World:
    """Use it as an async context manager: entered, everything runs and has looked at a healthy fleet."""

    def __init__(self, make: Make, services: Sequence[str]) -> None:
        self.fleet = Fleet(0)
        self.fleet.names = list(services)
        self.fleet.extra = write_weights(self.fleet.names)
        self.account = PagerDuty({"default": ROUTING_KEY})
        self.truths: dict[str, Truth] = {}
        self._make = make
        self._stack = AsyncExitStack()
        self._product: Product | None = None

    @property
    def product(self) -> Product:
        """What is tried; AssertionError before the entry."""
        assert self._product is not None  # noqa: S101
        return self._product

    async def __aenter__(self) -> Self:
        try:
            job = await self._stack.enter_async_context(self.fleet.serving())
            await self._stack.enter_async_context(self.account)
            self._product = self._make(job, self.account.url)
            self._stack.push_async_callback(self._product.stop)
            await self._product.start()
            for source in self._product.sources:
                await self.fleet.wait_seen(source)
            await asyncio.sleep(_WARM_SECONDS)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def fail(self, service: str, *, since: float = 0.0) -> None:
        """Break it; `since`: no page can leave before that moment, unix seconds."""
        self.truths[service] = Truth(service, self.fleet.fail(service, _SHARE), since=since)

    def mend(self, service: str) -> None:
        """Mend it."""
        self.truths[service].mended = self.fleet.mend(service)

    def fail_query(self, *, broken: bool) -> None:
        """From the next scrape on the rule's query fails, or works again."""
        self.fleet.extra = write_weights(self.fleet.names, twice=broken)

    async def wait_paged(self, service: str, seconds: float) -> bool:
        """Until the account has an alert of it; whether it got one."""
        return await _wait(lambda: any(name_service(alert) == service for alert in self.account.alerts()), seconds)

    async def wait_over(self, seconds: float) -> None:
        """Until no alert of a mended service is open, or so long."""
        await _wait(lambda: not any(name_service(alert) in self.truths for alert in self.account.open_alerts()), seconds)

    def judge(self) -> Verdict:
        """The oracle, now."""
        return judge(list(self.truths.values()), self.account.alerts())


async def restart(process: Process, pause_seconds: float) -> None:
    """Kill -9, and start again after the pause."""
    await asyncio.to_thread(process.kill)
    await asyncio.sleep(pause_seconds)
    await asyncio.to_thread(process.start)


async def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_STEP_SECONDS)
    return True
