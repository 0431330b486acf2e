"""Keeps the lease: who may evaluate, send and write while several processes share one store.

Before it: the store is open. After it: the start goes on, once this process leads. The lease is renewed every third of its TTL; its
end is reckoned on the monotonic clock from the moment a renewal was asked for, so that a process that stood still finds it has
passed, whatever the database said before. Then nothing is sent until the database has answered.

A database that does not answer is no lost lease: the leader cannot know whether anyone else reaches it, and nobody may be paged
otherwise. Past the end it goes on with what must not wait, the opening of HIGH and CRITICAL; PagerDuty folds equal keys.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault, is_set_within, wait_for
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import OutsideError
from detector.ports.lease import NotLeadingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.ports.clock import Clock
    from detector.ports.lease import LeaseRow, Tenure
    from detector.ports.observer import Observer
    from detector.ports.store import Delivery

ASK_SECONDS = 1.0
RENEWALS = 3  # in a TTL
_OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})


class Lease:
    """One process's part of it. `on_lost(why)` is called once, when another process leads: it must not return to work."""

    def __init__(self, row: LeaseRow, clock: Clock, observer: Observer, on_lost: Callable[[str], None]) -> None:
        self._row = row
        self._clock = clock
        self._observer = observer
        self._on_lost = on_lost
        self._tenure: Tenure | None = None
        self._ends = -math.inf  # monotonic seconds
        self._unanswered_until = -math.inf  # while one that was asked for after the end is known to have had no answer
        self._failing = ""

    @property
    def leads(self) -> bool:
        """Whether the lease was taken and not lost, as far as this process knows."""
        return self._tenure is not None

    @property
    def holds(self) -> bool:
        """Whether it is surely held at this moment."""
        return self._tenure is not None and self._clock.monotonic() < self._ends

    async def take(self) -> bool:
        """Ask once. Raises TemporaryError when the database does not answer."""
        asked = self._clock.monotonic()
        self._tenure = await self._row.acquire()
        if self._tenure is None:
            return False
        self._ends = asked + self._tenure.ttl_seconds
        return True

    async def await_turn(self, stop: asyncio.Event, ttl_seconds: float) -> bool:
        """Ask every second until it is free; False when told to stop meanwhile.

        After the database was away the leader before has a third of the TTL to renew: it may hold what it paged from memory.
        """
        not_before = -math.inf
        while not stop.is_set():
            try:
                if self._clock.monotonic() >= not_before and await self.take():
                    self._tell("")
                    return True
                if self._clock.monotonic() < not_before:
                    await self._row.renew()  # asks whether the database answers; what is not held is not renewed
                self._tell("")
            except OutsideError as fault:
                self._tell(describe_fault(fault))
                not_before = self._clock.monotonic() + ttl_seconds / RENEWALS + ASK_SECONDS
            await is_set_within(stop, ASK_SECONDS, self._clock)
        return False

    async def run(self) -> None:
        """Renew until lost. Guard this."""
        tenure = self._tenure
        if tenure is None or math.isinf(tenure.ttl_seconds):
            return
        pause = tenure.ttl_seconds / RENEWALS
        while self._tenure is not None:
            await self._clock.sleep(min(pause, ASK_SECONDS) if self._failing else pause)
            await self._renew(tenure.ttl_seconds)

    async def release(self, *, patience_seconds: float) -> None:
        """Give it back, so that another need not wait for its end."""
        if self._tenure is None:
            return
        self._tenure = None
        giving = asyncio.create_task(self._row.release(), name="release lease")
        if not await wait_for((giving,), patience_seconds, self._clock):
            giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)

    def check(self) -> None:
        """Right before a request is written: raises NotLeadingError when another process may lead."""
        now = self._clock.monotonic()
        if self._tenure is None or now >= max(self._ends, self._unanswered_until):
            raise NotLeadingError("the lease is not surely held at this moment: nothing was sent")

    def check_notice(self, notice: Delivery) -> None:
        """As `check`, for one notice: past the end, while the database does not answer, only what must not wait may go out."""
        self.check()
        must_go = notice.kind in _OPENING and notice.severity >= Severity.HIGH
        if self._clock.monotonic() >= self._ends and not must_go:
            raise NotLeadingError("waits for the database: the lease has run out, and another replica may lead")

    async def _renew(self, ttl_seconds: float) -> None:
        asked = self._clock.monotonic()
        renewal = asyncio.create_task(self._row.renew(), name="renew lease")
        try:
            if not await wait_for((renewal,), ttl_seconds / RENEWALS, self._clock):
                self._note_silence(asked, ttl_seconds, "no answer in time")
                return
        finally:
            renewal.cancel()
        try:
            held = renewal.result()
        except OutsideError as fault:
            self._note_silence(asked, ttl_seconds, describe_fault(fault))
            return
        self._unanswered_until = -math.inf
        self._tell("")
        if held:
            self._ends = asked + ttl_seconds
            return
        self._tenure = None
        self._on_lost("another replica holds the lease")

    def _note_silence(self, asked: float, ttl_seconds: float, why: str) -> None:
        """One that was under way when the process stood still proves nothing: it was asked before the end."""
        if asked >= self._ends:
            self._unanswered_until = self._clock.monotonic() + ttl_seconds / RENEWALS + 2 * ASK_SECONDS
        self._tell(why)

    def _tell(self, why: str) -> None:
        if bool(why) != bool(self._failing):
            if why:
                self._observer.trouble("lease", f"{why}; trying again every {ASK_SECONDS:g} s")
            else:
                self._observer.note("the lease is answered again")
        self._failing = why
