"""This process as one of several on a database: its leases, the rules it evaluates, and what the others commit.

Before it: the composition root, which attaches the rest. After it: the book in memory, the mutes and the dispatchers follow what
others committed, within a poll; a resolve is repeated where an opening of its key may still have been on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.app.lease import LeaseKeeper
from detector.app.tenancy import Tenancy
from detector.domain import response
from detector.domain.incident import BLIND_ID
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from detector.app.committer import Committer
    from detector.app.dispatcher import Dispatcher
    from detector.app.muteboard import MuteBoard
    from detector.app.roster import Roster
    from detector.app.sentinel import Sentinel
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.lease import Doubt, Registry
    from detector.ports.observer import Observer

POLL_SECONDS = 0.5
REST = 4.0  # times what a look took: a book of thousands of incidents in a storm of commits is not all that we do
DOUBT_SECONDS = 5.0  # between two looks
EXCHANGE_SECONDS = 10.0  # the longest deadline of a page's exchange
WHY = "another replica may have been sending the page while it was resolved"


class Replica:
    """`attach` once the rest is made; `duties` are run only where there may be others."""

    def __init__(
        self,
        registry: Registry,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        *,
        ttl_seconds: float,
        on_led: Callable[[int, bool], None],
    ) -> None:
        self._registry = registry
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self.keeper = LeaseKeeper(registry, clock, observer, ttl_seconds=ttl_seconds, on_led=on_led)
        self.tenancy = Tenancy(registry, self.keeper, roster, clock, observer)
        self._read_fully = float("-inf")
        self._looked_at_doubts = float("-inf")
        self._failing = False

    def attach(self, committer: Committer, board: MuteBoard, sentinel: Sentinel, dispatchers: Sequence[Dispatcher]) -> None:
        """What follows the others, and what must have ended before a shard is given up."""
        self._committer = committer
        self._board = board
        self._sentinel = sentinel
        self._dispatchers = dispatchers
        self.tenancy.attach(committer)
        self.keeper.busy = lambda: frozenset[int]().union(*(each.busy_shards for each in dispatchers))
        self.keeper.settle = committer.checkpoint
        self.keeper.is_blind = lambda: sentinel.blind

    def duties(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Eternal tasks by name; guard each."""
        if self.keeper.exclusive:
            return {}
        return {
            "leases": self.keeper.run,
            "lease ends": self.keeper.run_look,
            "tenancy": self.tenancy.run,
            "other replicas": self.run,
            "resolves in doubt": self.run_doubts,
        }

    async def run(self) -> None:
        """Follow what others commit, until cancelled. Guard this."""
        while True:
            began = self._clock.monotonic()
            await self.follow()
            await self._clock.sleep(max(POLL_SECONDS, REST * (self._clock.monotonic() - began)))

    async def follow(self) -> None:
        """One look; what fails is seen with the next. All now and then: a version before this one does not count its commits."""
        if self.keeper.away:
            return
        try:
            revision, is_any_free = await self._registry.read_sign()
            if is_any_free:
                self.keeper.hurry()
            fully = self._clock.monotonic() - self._read_fully >= self.keeper.ttl_seconds
            if revision == self._committer.revision and not fully:
                return
            before = self._committer.revision
            revision, incidents = await self._registry.read_book()
        except OutsideError as fault:
            if not self._failing:
                self._observer.trouble("other replicas", describe_fault(fault))
            self._failing = True
            return
        self._failing = False
        if not self._committer.follow(incidents, revision):
            return
        self._read_fully = self._clock.monotonic()
        for dispatcher in self._dispatchers:
            dispatcher.wake()
        self.tenancy.resume()
        if revision != before:
            await self._board.refresh()
        if self.keeper.leads_thing(BLIND_ID):
            await self._sentinel.take_over(incidents, self._clock.now())

    async def run_doubts(self) -> None:
        """Repeat resolves that an opening may have overtaken, until cancelled. Guard this."""
        while True:
            await self._clock.sleep(DOUBT_SECONDS)
            try:
                await self.settle_doubts()
            except OutsideError as fault:
                self._observer.note("resolves in doubt", detail=describe_fault(fault))

    async def settle_doubts(self) -> None:
        """Once the other's lease and its exchange have ended for certain, whatever it sent has arrived."""
        oldest = self._clock.now() - self.keeper.ttl_seconds - EXCHANGE_SECONDS
        doubts = [each for each in await self._registry.list_doubts(oldest) if self.keeper.leads_thing(each.incident)]
        for doubt in doubts:
            await self._repeat(doubt)
        if doubts:
            await self._registry.settle_doubts([each.notice for each in doubts])

    async def _repeat(self, doubt: Doubt) -> None:
        catalogue, now = self._roster.catalogue, self._clock.now()
        await self._committer.submit_action(
            lambda book: response.repeat_resolve(book, catalogue, self._paging, doubt.incident, doubt.key, now, WHY)
        )
