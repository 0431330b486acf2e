"""The resolve guarantee: whatever happens in whatever order, what was triggered is resolved, once and through its own key.

The whole application path on virtual time, a store that survives restarts, and destinations that break in every way. Scripts are
invented by hypothesis; each ends in peace: every fault is mended, every mute is over, every rule is back, every service is well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from detector.domain import response
from detector.domain.catalogue import Catalogue, Service
from detector.domain.incident import PAGERDUTY, Incident
from detector.domain.ledger import Paging
from detector.domain.maintenance import MaintenanceWindow
from detector.domain.response import ResponseError
from detector.domain.silence import MuteRequest
from detector.ports.error import TemporaryError
from detector.ports.rulefile import Finding, RuleFilesError
from tests.kit.clock import VirtualClock
from tests.kit.destination import Destination, Pager, Trouble
from tests.kit.stage import FAILED, Stage, make_rule, series, store_fault

SERVICES = ("shop", "search")
RULES = (make_rule("errors", "errors", every_seconds=10.0), make_rule("latency", "latency", every_seconds=10.0, policy_severity=()))
CATALOGUE = Catalogue({"search": Service("search", pagerduty="other", depends_on=("shop",))})
WELL, ILL = 0.0, 0.2
GRACE_SECONDS = 330.0  # of a removed rule, and the time until somebody looks
REPAGE_SECONDS = 930.0  # after a resolve by hand

STEP = st.one_of(
    st.tuples(
        st.just("show"), st.sampled_from(["errors", "latency"]), st.sampled_from(SERVICES), st.sampled_from([WELL, ILL, 0.02])
    ),
    st.tuples(st.just("show"), st.just("errors"), st.sampled_from(SERVICES), st.sampled_from([WELL, ILL])),
    st.tuples(st.just("fail"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 12.0, 45.0])),
    st.tuples(st.just("silence"), st.sampled_from(SERVICES), st.sampled_from(["30s", "5m"])),
    st.tuples(st.just("expire")),
    st.tuples(st.just("window"), st.booleans()),
    st.tuples(st.just("remove"), st.sampled_from(["errors", "latency"])),
    st.tuples(st.just("return")),
    st.tuples(st.just("break files"), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("rotate"), st.sampled_from(["key-1", "key-2"])),
    st.tuples(st.just("trouble"), st.sampled_from(list(Trouble))),
    st.tuples(st.just("slack"), st.sampled_from(list(Trouble))),
    st.tuples(st.just("break store"), st.booleans()),
    st.tuples(st.just("acknowledge")),
    st.tuples(st.just("resolve")),
)


@dataclass
class World:
    """The stage, the destinations, and what the script has done to them."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    values: dict[str, dict[str, float]] = field(
        default_factory=lambda: {name: dict.fromkeys(SERVICES, WELL) for name in ("errors", "latency")}
    )
    fails: bool = False
    next_key: str = "key-1"
    was_resolved: bool = False

    def __post_init__(self) -> None:
        self.pager = Pager(PAGERDUTY, self.clock)
        self.slack = Destination("slack", self.clock)
        self.stage = Stage(
            RULES,
            CATALOGUE,
            self.clock,
            channels=(self.pager, self.slack),
            paging=Paging(audience=(("slack", ""),), update_every_seconds=0.0),
        )
        self._answer()

    async def play(self, step: tuple[Any, ...]) -> None:
        """Do one thing, and let the next moment come."""
        self._change(step)
        match step:
            case ("wait", seconds):
                await self.clock.run(seconds)
            case ("restart",):
                await self._restart()
            case ("silence" | "expire", *_):
                await self._mute(step)
            case ("acknowledge" | "resolve" as action,):
                await self._act(action)
            case ("window" | "remove" | "return" | "break files", *_):
                await self._reload(step)
        await self.clock.run(1.0)

    async def make_peace(self, *, returning: bool) -> None:
        """All faults end, all mutes end, all rules run if `returning`; the services stay as they are until all is settled."""
        self.stage.store.fault = None
        self.stage.files.fault = None
        self.stage.files.rules = RULES if returning else self.stage.files.rules
        self.stage.files.maintenance = ()
        self.pager.trouble = self.slack.trouble = Trouble.NONE
        self.fails = False
        self._answer()
        await self.clock.run(5.0)
        await self.stage.reloader.reload()
        for identity in [kept.mute.id for kept in self.stage.store.disk.mutes.values() if not kept.ended(self.clock.now())]:
            await self.stage.board.expire(identity, "peace")
        await self.clock.run(REPAGE_SECONDS if self.was_resolved else 180.0)

    async def heal(self) -> None:
        """Every service is well, for as long as recovery may take."""
        for query in self.values:
            self.values[query] = dict.fromkeys(SERVICES, WELL)
        self._answer()
        await self.clock.run(GRACE_SECONDS)

    def incidents(self) -> list[Incident]:
        """As committed."""
        return list(self.stage.store.disk.incidents.values())

    def _change(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("show", query, service, value):
                self.values[query][service] = value
            case ("fail", fails):
                self.fails = fails
            case ("break store", is_broken):
                self.stage.store.fault = store_fault() if is_broken else None
            case ("trouble", trouble):
                self.pager.trouble = trouble
            case ("slack", trouble):
                self.slack.trouble = trouble
            case ("rotate", key):
                self.next_key = key
        self._answer()

    def _answer(self) -> None:
        for query, values in self.values.items():
            self.stage.source.answers[query] = FAILED if self.fails else series(**values)

    async def _restart(self) -> None:
        if self.stage.store.fault is not None:
            return  # the daemon waits with its start until the store answers
        self.pager.routing_key = self.next_key
        if self.stage.files.fault is not None and self.stage.store.disk.rules is None:
            self.stage.files.fault = None
        await self.stage.restart()

    async def _mute(self, step: tuple[Any, ...]) -> None:
        try:
            if step[0] == "silence":
                await self.stage.board.add(MuteRequest((f"service={step[1]}",), "kim", "a deploy", duration=step[2]))
            else:
                kept = [kept for kept in self.stage.store.disk.mutes.values() if not kept.ended(self.clock.now())]
                if kept:
                    await self.stage.board.expire(kept[0].mute.id, "kim")
        except TemporaryError:
            return

    async def _act(self, action: str) -> None:
        """A person acknowledges or resolves the first incident that is active."""
        active = [each.id for each in self.stage.committer.book.incidents.values() if each.status.active]
        if not active:
            return
        decide = response.resolve if action == "resolve" else response.acknowledge
        paging, now = self.stage.paging, self.clock.now()
        try:
            await self.stage.committer.submit_action(lambda book: decide(book, CATALOGUE, paging, active[0], "kim", now))
        except (ResponseError, TemporaryError):
            return
        self.was_resolved = self.was_resolved or action == "resolve"

    async def _reload(self, step: tuple[Any, ...]) -> None:
        files = self.stage.files
        match step:
            case ("window", is_there):
                now = self.clock.now()
                window = MaintenanceWindow({"service": ("shop",)}, start=now, end=now + 240.0, reason="upgrade")
                files.maintenance = (window,) if is_there else ()
            case ("remove", name) if len(files.rules) > 1:
                files.rules = [rule for rule in files.rules if rule.name != name]
            case ("return",):
                files.rules = RULES
            case ("break files", is_broken):
                files.fault = RuleFilesError([Finding("rules.yaml", 1, 1, "not YAML")]) if is_broken else None
        await self.stage.reloader.reload()


async def _play(steps: list[tuple[Any, ...]], *, returning: bool = True) -> None:
    world = World()
    async with world.stage:
        await world.clock.run(12.0)
        for step in steps:
            await world.play(step)
        await world.make_peace(returning=returning)
        _check_pages(world)
        await world.heal()
        _check_end(world)


def _check_pages(world: World) -> None:
    """With every fault mended, who is ill has an open alert, and no alert stands without a cause."""
    running = {rule.name for rule in world.stage.files.rules}
    for service in SERVICES:
        is_ill = any(values[service] > 0.01 for query, values in world.values.items() if query in running)
        holding = [each for each in world.incidents() if each.status.active and service in each.services]
        quiet = any(each.quiet is not None for each in holding)  # flapping: from the third relapse on it pages nobody
        paged = any(key.startswith(each.id) for each in holding for _, key in world.pager.open)
        assert not is_ill or quiet or paged, f"{service} is ill and nobody is paged"
    active = {each.id for each in world.incidents() if each.status.active}
    for _, key in world.pager.open:
        assert key.partition(":")[0] in active, f"{key} stands open without a cause"


def _check_end(world: World) -> None:
    """Nothing is open anywhere, nothing was dropped or came late, and each channel heard each incident in order."""
    assert world.pager.faults == []
    assert world.pager.open == set()
    assert [each.id for each in world.incidents() if each.status.active] == []
    pending = [row.notice for row in world.stage.store.disk.outbox.values() if row.is_pending]
    assert pending == []
    order = {identity: place for place, identity in enumerate(world.stage.store.disk.outbox)}
    for destination in (world.pager, world.slack):
        lanes: dict[tuple[str, str], list[int]] = {}
        for delivery in destination.taken:
            place = order[delivery.id]
            lane = lanes.setdefault((delivery.incident, delivery.route), [])
            assert not lane or place >= lane[-1], f"{delivery.kind} of {delivery.incident} came to {destination.name} out of order"
            lane.append(place)


ROTATED_AFTER_A_LOST_ANSWER = [
    ("trouble", Trouble.LOST),
    ("show", "errors", "shop", ILL),
    ("wait", 12.0),
    ("rotate", "key-2"),
    ("restart",),
    ("trouble", Trouble.NONE),
]
SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@example(steps=ROTATED_AFTER_A_LOST_ANSWER, returning=True)
@example(steps=[("show", "latency", "search", ILL), ("wait", 12.0), ("remove", "latency")], returning=False)
@given(steps=st.lists(STEP, min_size=3, max_size=16), returning=st.booleans())
def test_what_was_triggered_is_resolved_whatever_happens(steps: list[tuple[Any, ...]], *, returning: bool) -> None:
    """No open alert without a cause, no trigger after a resolve, no lost resolve, order on every channel."""
    note(f"{steps}")
    asyncio.run(_play(steps, returning=returning))


@pytest.mark.soak
@settings(SETTINGS, max_examples=400)
@given(steps=st.lists(STEP, min_size=3, max_size=30), returning=st.booleans())
def test_the_same_for_long_scripts(steps: list[tuple[Any, ...]], *, returning: bool) -> None:
    """As above, with more and longer scripts."""
    asyncio.run(_play(steps, returning=returning))
