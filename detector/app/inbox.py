"""Takes alerts that other Prometheis send here, and notices when a sender falls silent.

Before it: the API. After it: the committer, which opens and ends incidents as for alerts of our own rules. The states lie in the
roster under `received/<alertname>`, so that checkpoint and restart keep them; no reload ends them.

Of several replicas each takes what it is sent, on what the store holds at that moment, and writes it at once: the next word may
come to another. Silence is noticed by the one that leads the name's shard.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from detector.domain.alert import AlertState, Change, EndReason, Phase, Transition
from detector.domain.incident import name_alert
from detector.domain.reception import RECEIVED, doubt, receive, tell
from detector.ports.error import StaleLeaseError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.app.tenancy import Tenancy
    from detector.app.track import Track
    from detector.domain.label import Labels
    from detector.domain.reception import ReceivedAlert
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import Fence

LOOK_SECONDS = 5.0
MOST_ALERTS = 10_000

_Changes = dict[str, dict["Labels", AlertState | None]]


class Inbox:
    """Implements ports.wire.Inbox. It is open once `run` runs, which is after memory was restored."""

    def __init__(
        self, roster: Roster, committer: Committer, clock: Clock, observer: Observer, *, tenancy: Tenancy | None = None
    ) -> None:
        self._tenancy = tenancy if tenancy is not None and tenancy.shared else None  # None: there are no other replicas
        self._roster = roster
        self._committer = committer
        self._clock = clock
        self._observer = observer
        self._lock = asyncio.Lock()
        self._since: float | None = None
        self._full = False

    async def receive(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Take them; returns when they are decided on. Raises TemporaryError during the start and when there are too many."""
        if self._since is None:
            raise TemporaryError("the daemon is starting; send it again", attempted=False)
        async with self._lock:
            if self._tenancy is not None:
                await self._tenancy.follow_received({alert.rule for alert in alerts})
            now = self._clock.now()
            changes: _Changes = {}
            transitions: list[Transition] = []
            free = MOST_ALERTS - sum(len(track.states) for track in self._roster.received())
            refused = 0
            for alert in alerts:
                rule = alert.rule
                states = changes.setdefault(rule, {})
                known = states[alert.labels] if alert.labels in states else self._find(rule, alert.labels)
                state, transition = receive(alert, known, now)
                if known is None and state is not None:
                    if free <= 0:
                        refused += 1
                        continue
                    free -= 1
                if state is not known:
                    states[alert.labels] = state
                transitions += [] if transition is None else [transition]
            await self._settle(changes, transitions)
        self._note_full(refused)

    async def run(self) -> None:
        """Look for senders that fell silent, until cancelled. Guard this."""
        if self._since is None:
            self._since = self._clock.now()
        while True:
            self._count()
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Mark what is known no more; end what a human resolved while its sender was silent."""
        async with self._lock:
            if self._tenancy is not None:
                await self._tenancy.follow_received()
            now = self._clock.now()
            since = now if self._since is None else self._since
            changes: _Changes = {}
            transitions: list[Transition] = []
            active: set[str] | None = None
            for track in self._list_led():
                for labels, state in track.states.items():
                    found = doubt(track.name, state, now, since)
                    if found is not None:
                        changes.setdefault(track.name, {})[labels] = found[0]
                        transitions.append(found[1])
                    elif state.unknown:
                        active = self._list_active() if active is None else active
                        if name_alert(track.name, labels) not in active:
                            changes.setdefault(track.name, {})[labels] = None
                            transitions.append(tell(Change.ENDED, track.name, state, now, EndReason.HUMAN.value))
            if changes:
                await self._settle_silent(changes, transitions)
            for track in self._roster.received():
                if not (track.states or track.stored or track.dirty):
                    self._roster.forget(track.name)

    def _list_led(self) -> list[Track]:
        return [track for track in self._roster.received() if self._tenancy is None or self._tenancy.leads(track.name)]

    async def _settle_silent(self, changes: _Changes, transitions: Sequence[Transition]) -> None:
        """At once; where there are other replicas name by name, each under the lease of its shard."""
        tenancy = self._tenancy
        if tenancy is None:
            await self._settle(changes, transitions)
            return
        for rule, states in changes.items():
            own = [transition for transition in transitions if transition.rule == rule]
            with suppress(StaleLeaseError):  # whoever leads it now will notice
                await self._settle({rule: states}, own, tenancy.make_fence(rule))

    def _find(self, rule: str, labels: Labels) -> AlertState | None:
        found = self._roster.states(rule).get(labels)
        return found if found is not None and found.phase is Phase.FIRING else None

    def _list_active(self) -> set[str]:
        """Keys of the alerts that fire in incidents which are not over."""
        incidents = self._committer.book.incidents.values()
        return {key for one in incidents if one.status.active for key, alert in one.alerts.items() if alert.firing}

    async def _settle(self, changes: _Changes, transitions: Sequence[Transition], fence: Fence | None = None) -> None:
        """Commit where something happened, then make it the present; else the checkpoint writes it, where no other reads it."""
        split = {
            rule: ({labels: state for labels, state in states.items() if state is not None}, _list_dropped(states.items()))
            for rule, states in changes.items()
            if states
        }

        def swap() -> None:
            for rule, (changed, dropped) in split.items():
                self._roster.track(rule).swap(changed, dropped)

        if transitions or (split and self._tenancy is not None):
            records = [
                record
                for rule, (changed, dropped) in split.items()
                for record in self._roster.track(rule).records(changed, dropped)
            ]
            await self._committer.submit(records, transitions, swap, fence)
            self._count()
        else:
            swap()

    def _count(self) -> None:
        firing = sum(track.counts[Phase.FIRING.value] for track in self._roster.received())
        self._observer.alerts_counted(RECEIVED, {Phase.FIRING.value: firing})

    def _note_full(self, refused: int) -> None:
        full = refused > 0
        if full and not self._full:
            self._observer.trouble("inbox", f"{MOST_ALERTS} received alerts are held already; {refused} refused")
        self._full = full
        if full:
            raise TemporaryError(f"{MOST_ALERTS} received alerts are held already; {refused} of these refused", attempted=False)


def _list_dropped(states: Iterable[tuple[Labels, AlertState | None]]) -> list[Labels]:
    return [labels for labels, state in states if state is None]
