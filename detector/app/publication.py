"""Gathers what the public status page says: open incidents from memory, closed ones and timelines from the store.

Before it: `web.status` asks, once a second at the most. After it: `domain.publication` words it. What did not change is not read
again: a timeline while its incident has the same revision, closed incidents until one leaves the open ones, or for a minute. A
store that fails or hangs leaves what was last read: customers look just then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from detector.domain.incident import Status
from detector.domain.publication import RECENT_SECONDS, choose_current, choose_recent, is_blind, list_told, publish
from detector.ports.error import OutsideError
from detector.ports.store import IncidentFilter

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import Event, Incident
    from detector.domain.publication import Publication
    from detector.ports.clock import Clock
    from detector.ports.store import Store

T = TypeVar("T")

CLOSED_SECONDS = 60.0
STORE_SECONDS = 1.0
SPARED_SECONDS = 5.0
_PAGE, _MAX_PAGES = 200, 5


class PublicDesk:
    """Implements ports.publication.Publisher."""

    def __init__(self, committer: Committer, store: Store, roster: Roster, clock: Clock) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._clock = clock
        self._closed: Sequence[Incident] = ()
        self._closed_read = float("-inf")
        self._spared_until = float("-inf")
        self._open_ids: frozenset[str] = frozenset()
        self._timelines: dict[str, tuple[int, Sequence[Event]]] = {}

    async def publish(self) -> Publication:
        """Everything on the page now."""
        now, catalogue = self._clock.now(), self._roster.catalogue
        opened = [each for each in self._committer.book.incidents.values() if each.status is not Status.CLOSED]
        current = choose_current(opened, catalogue)
        closed = await self._read_closed(frozenset(each.id for each in opened), now)
        recent = choose_recent([*opened, *closed], catalogue, now)
        shown = {each.id: each for each in (*list_told(current), *recent)}
        timelines = {name: await self._read_timeline(each) for name, each in shown.items()}
        self._timelines = {name: self._timelines[name] for name in shown if name in self._timelines}
        return publish(current, recent, timelines, catalogue, blind=is_blind(opened))

    async def _read_closed(self, open_ids: frozenset[str], now: float) -> Sequence[Incident]:
        moment = self._clock.monotonic()
        if not self._open_ids <= open_ids or moment - self._closed_read >= CLOSED_SECONDS:
            found = await self._ask(self._list_closed(now))
            if found is not None:
                self._closed, self._closed_read, self._open_ids = found, moment, open_ids
        else:
            self._open_ids = open_ids
        return [each for each in self._closed if each.id not in open_ids]

    async def _list_closed(self, now: float) -> Sequence[Incident]:
        found: list[Incident] = []
        cursor = None
        for _ in range(_MAX_PAGES):
            page = await self._store.list_incidents(IncidentFilter(status=("closed",), limit=_PAGE, cursor=cursor))
            found += page.incidents
            cursor = page.cursor
            if cursor is None or now - page.incidents[-1].opened > RECENT_SECONDS:
                break
        return found

    async def _read_timeline(self, incident: Incident) -> Sequence[Event]:
        revision, events = self._timelines.get(incident.id, (-1, ()))
        if revision != incident.revision and (found := await self._ask(self._store.timeline(incident.id))) is not None:
            events = found
            self._timelines[incident.id] = (incident.revision, events)
        return events

    async def _ask(self, reading: Coroutine[Any, Any, Sequence[T]]) -> Sequence[T] | None:
        """What the store answers; None where it does not, or did not a moment ago."""
        if self._clock.monotonic() < self._spared_until:
            reading.close()
            return None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await reading
        except (OutsideError, TimeoutError):
            self._spared_until = self._clock.monotonic() + SPARED_SECONDS
            return None
