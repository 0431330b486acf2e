"""Several real daemons on one real PostgreSQL, between one scripted Prometheus and one PagerDuty stand-in.

Each has a folder of its own. They share the rules' text, the database and the key they page through; one of them leads.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from sqlalchemy import make_url

from tests.kit.badprometheus import BadPrometheus, vector
from tests.kit.daemon import Daemon, list_settings
from tests.kit.faultproxy import FaultProxy
from tests.kit.rule import PLAIN_RULES
from tests.kit.standin import PagerDuty
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

KEY = "k" * 32
TTL_SECONDS = 3.0


class Replicas:
    """`count` daemons; entering starts the first, waits until it leads, then starts the others as its standbys.

    `wire` is what stands between the first and PostgreSQL.
    """

    def __init__(self, folder: Path, database_url: str, count: int = 3) -> None:
        address = make_url(database_url)
        self.wire = FaultProxy(address.port or 5432)
        self.source = BadPrometheus()
        self.pagerduty = PagerDuty({"default": KEY})
        self.daemons = [Daemon(folder / f"replica-{number}", {}) for number in range(count)]
        for daemon in self.daemons:
            daemon.settings["DETECTOR_DATABASE_URL"] = database_url
        wired = address.set(port=self.wire.port).render_as_string(hide_password=False)
        self.daemons[0].settings["DETECTOR_DATABASE_URL"] = wired
        self._settings = {"lease_ttl": f"{TTL_SECONDS:g}s", "blind_after": "10m"}
        self._began = 0.0
        self._values: dict[str, float] = {}
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._parts.enter_async_context(self.wire)
        await self._parts.enter_async_context(self.source)
        await self._parts.enter_async_context(self.pagerduty)
        self.show(checkout=0.0)
        for daemon in self.daemons:
            self._parts.push_async_callback(daemon.end)
            daemon.settings |= list_settings(self.pagerduty, prometheus_url=self.source.url, **self._settings)
            daemon.write_rules(errors=PLAIN_RULES)
        self._began = time.time()
        await self.daemons[0].start()
        await self.wait_leader(self.daemons[0])
        for daemon in self.daemons[1:]:
            await daemon.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    def show(self, **values: float) -> None:
        """Set what every query gets for these services; the others keep theirs."""
        self._values |= values
        self.source.answer = vector(*(({"service": name}, repr(value)) for name, value in self._values.items()), at=time.time())

    async def is_leading(self, daemon: Daemon) -> bool:
        """Whether it runs, is not frozen, and says so of all shards."""
        try:
            return await daemon.metric("detector_leader") == 64.0
        except OSError:
            return False

    async def wait_leader(self, *among: Daemon, seconds: float = 30.0) -> Daemon:
        """Until just one of them says that it leads; that one."""
        found: list[Daemon] = []

        async def is_led() -> bool:
            found[:] = [daemon for daemon in among if await self.is_leading(daemon)]
            return len(found) == 1

        await wait_until(is_led, "one replica that leads", seconds=seconds)
        return found[0]

    async def wait_open(self, count: int, *, seconds: float = 30.0) -> None:
        """Until that many alerts are open."""
        await wait_until(lambda: len(self.pagerduty.open_alerts()) == count, f"{count} open alert(s)", seconds=seconds)

    def read_gap_seconds(self) -> float:
        """The longest time between two moments that were evaluated, by whomever."""
        asked = {float(query.parameters["time"]) for query in self.source.queries if "time" in query.parameters}
        slots = sorted(moment for moment in asked if moment >= self._began)  # baselines and evidence look further back
        return max(after - before for before, after in pairwise(slots))
