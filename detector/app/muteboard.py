"""Which mutes hold: silences and leases that the store keeps, maintenance windows of the rules that run.

Before it: the API, which adds and ends them, and other processes on the same database, whose changes are seen within five seconds.
After it: the committer, which hands them to every decision. While the store does not answer, the last known ones go on; each ends
at its own end whatever happens, since an end is a moment and not a message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from detector.app.guard import describe_fault
from detector.domain.mute import Mute, MuteKind
from detector.domain.response import ResponseError
from detector.domain.silence import KeptMute, MuteStatus, UnknownMuteError, grant
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from detector.app.roster import Roster
    from detector.domain.silence import MuteRequest
    from detector.ports.calendar import Calendar
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Store

REFRESH_SECONDS = 5.0
TOLD_SECONDS = 60.0
MOST_MUTES = 1000  # every alert is held against every mute in each decision


class MuteBoard:
    """The only one who changes what the store keeps of mutes. `listen`: somebody decides anew when they change."""

    def __init__(self, store: Store, calendar: Calendar, roster: Roster, clock: Clock, observer: Observer) -> None:
        self._store = store
        self._calendar = calendar
        self._roster = roster
        self._clock = clock
        self._observer = observer
        self._kept: Mapping[str, KeptMute] = {}
        self._lock = asyncio.Lock()
        self._ended: tuple[Mute, ...] = ()
        self._told: tuple[Mute, ...] = ()
        self._failing = False
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have it called after every change."""
        self._listeners.append(listener)

    def current(self, now: float) -> tuple[Mute, ...]:
        """Mutes that have not ended at `now`, some of which may not have begun, and those ended by hand a moment ago: by whom."""
        kept = (kept.held for kept in self._kept.values() if not kept.ended(now))
        ended = (mute for mute in self._ended if now < mute.ends + TOLD_SECONDS)
        return (*kept, *self._list_windows(now), *ended)

    def next_change(self, after: float) -> float | None:
        """The next moment after `after` at which a mute begins or ends."""
        mutes = self.current(self._clock.now())
        return min((moment for mute in mutes for moment in (mute.starts, mute.ends) if moment > after), default=None)

    async def refresh(self) -> bool:
        """Read what the store keeps; False, and nothing changed, where it cannot be read."""
        async with self._lock:
            try:
                found = await self._store.list_mutes(self._clock.now(), ended=False, limit=2 * MOST_MUTES)
            except OutsideError as fault:
                if not self._failing:
                    self._observer.trouble("silences", f"{describe_fault(fault)}; the last known ones go on")
                self._failing = True
                return False
            self._failing = False
            self._kept = {kept.mute.id: kept for kept in found}
        self._tell()
        return True

    async def run(self) -> None:
        """See what others changed, and which windows begin. Guard this."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            if not await self.refresh():
                self._tell()

    async def add(self, request: MuteRequest) -> KeptMute:
        """Keep what was asked for; it holds from now on. Raises what `domain.silence.grant` raises, TemporaryError."""
        async with self._lock:
            now = self._clock.now()
            known = await self._store.find_mute(request.id) if request.id else None
            kept = grant(request, now, known)
            if kept.mute.id not in self._kept and len(self._kept) >= MOST_MUTES:
                raise ResponseError(f"{MOST_MUTES} silences hold already; `detector silence expire` those that are not needed")
            await self._store.save_mute(kept)
            self._kept = {**self._kept, kept.mute.id: kept}
        held = kept.held
        self._observer.note(
            "silence kept",
            kind=held.kind.value,
            id=held.id,
            matchers=" ".join(map(str, held.matchers)),
            starts=held.starts,
            ends=held.ends,
            by=held.author,
            reason=held.reason,
        )
        self._tell()
        return kept

    async def expire(self, identity: str, by: str) -> KeptMute:
        """End it now. Raises UnknownMuteError, ResponseError where it has ended or is a window, TemporaryError."""
        async with self._lock:
            now = self._clock.now()
            kept = await self._store.expire_mute(identity, by, now)
            if kept is None:
                self._raise_unknown(identity, now)
            if (kept.expired, kept.expired_by) != (now, by):
                how = f"was ended by {kept.expired_by}" if kept.expired is not None else "has ended by itself"
                raise ResponseError(f"{kept.mute.kind.value} {identity} {how}; nothing to do")
            self._kept = {name: known for name, known in self._kept.items() if name != identity}
            self._ended = (*(mute for mute in self._ended if now < mute.ends + TOLD_SECONDS), kept.held)
        self._observer.note("silence ended", kind=kept.mute.kind.value, id=identity, by=by)
        self._tell()
        return kept

    async def list_mutes(self, statuses: Collection[MuteStatus], limit: int) -> Sequence[KeptMute]:
        """At most `limit` that stand so, those that hold or will before those that have ended; only the latter ask the store.

        Raises TemporaryError.
        """
        now = self._clock.now()
        windows = [KeptMute(window, window.starts) for window in self._list_windows(now)]
        newest = sorted(self._kept.values(), key=lambda kept: (-kept.created, kept.mute.id))
        found = [kept for kept in (*newest, *windows) if kept.status(now) is not MuteStatus.ENDED and kept.status(now) in statuses]
        if MuteStatus.ENDED in statuses and len(found) < limit:
            found += await self._store.list_mutes(now, ended=True, limit=limit - len(found))
        return found[:limit]

    def _list_windows(self, now: float) -> tuple[Mute, ...]:
        return self._calendar.find_mutes(self._roster.rule_set.maintenance, now)

    def _raise_unknown(self, identity: str, now: float) -> NoReturn:
        if any(window.id == identity for window in self._list_windows(now)):
            raise ResponseError(f"{identity} is a maintenance {MuteKind.WINDOW.value} of the rule files; change it there")
        raise UnknownMuteError(f"no silence {identity}; `detector silence list` shows them")

    def _tell(self) -> None:
        current = self.current(self._clock.now())
        if current == self._told:
            return
        self._told = current
        for listener in self._listeners:
            listener()
