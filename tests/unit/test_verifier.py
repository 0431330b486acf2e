"""Probes between recovered metrics and the resolve, on virtual time with an acted probe."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from detector.app.verifier import Verifier
from detector.domain.catalogue import Catalogue, Service
from detector.domain.incident import Incident, Status
from detector.domain.ledger import Paging
from detector.ports.probe import ProbeResult, ProbeTarget
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit.clock import VirtualClock

LIVE, STAGING = "https://shop.example/health", "https://staging.example/health"
CATALOGUE = Catalogue(
    {
        "shop": Service(
            "shop",
            verify=(
                {"name": "health", "url": LIVE, "expect": (200, 204), "environment": "production"},
                {"name": "health", "url": STAGING, "contains": "ok", "environment": "staging"},
                {"name": "support channel quiet"},
            ),
        )
    }
)


class ActedProbe:
    """Passes but for the URLs in `failing`; takes `seconds`. Keeps what was asked."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.failing: set[str] = set()
        self.seconds = 0.1
        self.asked: list[ProbeTarget] = []

    async def check(self, target: ProbeTarget) -> ProbeResult:
        """The acted result."""
        self.asked.append(target)
        await self._clock.sleep(self.seconds)
        ok = target.url not in self.failing
        return ProbeResult(ok=ok, message="answered 200" if ok else "answered 503, expected 200")

    async def close(self) -> None:
        """Nothing to close."""


@asynccontextmanager
async def recovered(*failing: str) -> AsyncIterator[tuple[Stage, ActedProbe]]:
    """A stage whose shop broke and whose metrics are just well again, with the verifier at work."""
    async with Stage([make_rule("errors", policy_watch_seconds=3600.0)], CATALOGUE) as stage:
        probe = ActedProbe(stage.clock)
        probe.failing = set(failing)
        ear: Any = stage.ear
        verifier = Verifier(stage.committer, stage.roster, Paging(), stage.clock, ear, probe)
        task = asyncio.create_task(verifier.run())
        stage.source.default = series(shop=0.2)
        await stage.clock.run(11)
        stage.source.default = series(shop=0.0)
        await stage.clock.run(20)
        yield stage, probe
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def find(stage: Stage) -> Incident:
    """The only incident."""
    (incident,) = stage.store.disk.incidents.values()
    return incident


def say(stage: Stage, kind: str) -> list[str]:
    """Messages of that kind in the timeline."""
    return [event.message for event in stage.store.disk.events if event.kind == kind]


async def test_probes_that_pass_resolve_at_once() -> None:
    """Staging and production are asked with what they expect; the human item blocks nothing and stays open."""
    async with recovered() as (stage, probe):
        assert find(stage).status is Status.RESOLVED
        assert {target.url: (target.expect, target.contains) for target in probe.asked} == {
            LIVE: ((200, 204), ""),
            STAGING: ((200,), "ok"),
        }
        assert {item.name: item.ok for item in find(stage).verifications} == {
            "shop: health (production)": True,
            "shop: health (staging)": True,
            "shop: support channel quiet": None,
        }


async def test_a_failing_probe_holds_the_resolve_until_it_passes() -> None:
    """Asked every 30 s, all of them; resolved in the round in which all pass; PagerDuty's key stays open until then."""
    async with recovered(LIVE) as (stage, probe):
        assert find(stage).status is Status.OPEN
        assert "resolve" not in stage.kinds
        await stage.clock.run(95)
        rounds = sum(target.url == LIVE for target in probe.asked)
        assert rounds in {4, 5}
        assert sum(target.url == STAGING for target in probe.asked) == rounds
        assert say(stage, "not verified") == ["shop: health (production): answered 503, expected 200"]
        probe.failing = set()
        await stage.clock.run(31)
        assert find(stage).status is Status.RESOLVED
        assert stage.kinds[-1] == "resolve"
        assert "shop: health (production): answered 200" in say(stage, "verified")


async def test_an_alert_that_fires_again_ends_the_rounds() -> None:
    """A result that comes late resolves nothing."""
    async with recovered(LIVE) as (stage, probe):
        probe.seconds = 25.0
        await stage.clock.run(31)
        stage.source.default = series(shop=0.2)
        await stage.clock.run(12)
        probe.failing = set()
        asked = len(probe.asked)
        await stage.clock.run(300)
        assert len(probe.asked) == asked
        assert find(stage).status is Status.OPEN


async def test_ten_failing_minutes_are_said_once() -> None:
    """In the thread, by an update that names the probe."""
    async with recovered(STAGING) as (stage, _):
        await stage.clock.run(540)
        assert say(stage, "update") == []
        await stage.clock.run(900)
        (line,) = say(stage, "update")
        assert line == (
            "metrics have recovered, and probes still fail after 10 min, so it stays open: "
            "shop: health (staging): answered 503, expected 200"
        )


async def test_one_slow_probe_delays_no_other_incident() -> None:
    """Two incidents recover together: the one whose probe hangs waits alone."""
    catalogue = Catalogue(
        {name: Service(name, verify=({"name": "up", "url": f"https://{name}.example"},)) for name in ("shop", "cart")}
    )
    async with Stage([make_rule("errors")], catalogue) as stage:
        probe = ActedProbe(stage.clock)
        ear: Any = stage.ear
        plain = probe.check

        async def check(target: ProbeTarget) -> ProbeResult:
            if "shop" in target.url:
                await stage.clock.sleep(1000)
            return await plain(target)

        probe.check = check  # type: ignore[method-assign]  # one target hangs
        task = asyncio.create_task(Verifier(stage.committer, stage.roster, Paging(), stage.clock, ear, probe).run())
        stage.source.default = series(shop=0.2, cart=0.2)
        await stage.clock.run(11)
        stage.source.default = series(shop=0.0, cart=0.0)
        await stage.clock.run(25)
        standing = {incident.service: incident.status for incident in stage.store.disk.incidents.values()}
        assert standing == {"shop": Status.OPEN, "cart": Status.RESOLVED}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
