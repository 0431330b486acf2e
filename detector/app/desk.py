"""Where the API reads and people act: the store's incidents joined with the alerts in memory, and actions through the committer."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from detector.app.shelf import submit_on
from detector.domain import response
from detector.domain.deploy import Deploy, list_concerned, note_deploy
from detector.domain.silence import list_muted
from detector.ports.query import Action, MuteReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from detector.app.committer import Committer
    from detector.app.muteboard import MuteBoard
    from detector.app.poller import Poller
    from detector.app.reloader import Reloader
    from detector.app.roster import Roster
    from detector.domain.alert import AlertState
    from detector.domain.incident import Book, Decision, Event, Incident
    from detector.domain.label import Labels
    from detector.domain.ledger import Paging
    from detector.domain.silence import KeptMute, MuteRequest, MuteStatus
    from detector.ports.clock import Clock
    from detector.ports.query import LiveAlert, RuleReport, RuleTrail
    from detector.ports.rulefile import Finding
    from detector.ports.store import Decide, IncidentFilter, IncidentPage, Store

TICK_LIMIT_SECONDS = 15.0
SAME_MOMENT = 100


class ReadingDesk:
    """Implements ports.query.Query."""

    def __init__(self, store: Store, roster: Roster, board: MuteBoard, committer: Committer, clock: Clock) -> None:
        self._store = store
        self._roster = roster
        self._board = board
        self._committer = committer
        self._clock = clock

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first."""
        return await self._store.list_incidents(wanted)

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""
        return await self._store.find_incident(incident)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""
        return await self._store.timeline(incident)

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Deploys that were told, newest first."""
        return await self._store.list_deploys(service, since, until, limit)

    def live_state(self, rule: str, labels: Labels) -> AlertState | None:
        """State of one alert as the last evaluation left it."""
        return self._roster.live_state(rule, labels)

    def live_alerts(self) -> Sequence[LiveAlert]:
        """Alerts that are pending or firing, in a stable order."""
        return self._roster.live_alerts()

    def rule_reports(self) -> Sequence[RuleReport]:
        """Every rule of the running set, in its order."""
        return self._roster.rule_reports()

    def rule_trail(self, rule: str) -> RuleTrail:
        """The last hour of a rule's signal."""
        return self._roster.track(rule).trail.show(self._clock.now())

    async def list_mutes(self, statuses: Collection[MuteStatus], limit: int) -> Sequence[MuteReport]:
        """Silences, leases and windows that stand so, with what each mutes now."""
        found = await self._board.list_mutes(statuses, limit)
        return [self.report_mute(kept) for kept in found]

    def report_mute(self, kept: KeptMute) -> MuteReport:
        """One of them."""
        now = self._clock.now()
        return MuteReport(kept, kept.status(now), list_muted(kept.held, self._committer.book.incidents.values(), now))


class WritingDesk:
    """Implements ports.query.Desk. `on_deploy` hears of every deploy that was kept."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        reloader: Reloader,
        board: MuteBoard,
        paging: Paging,
        clock: Clock,
        on_deploy: Callable[[Deploy], None],
    ) -> None:
        self._on_deploy = on_deploy
        self._committer = committer
        self._store = store
        self._roster = roster
        self._reloader = reloader
        self._board = board
        self._paging = paging
        self._clock = clock

    async def respond(self, incident: str, action: Action, by: str, text: str) -> Incident:
        """Do it and give the incident as it is now."""
        return await self._submit(incident, self._choose(incident, action, by, text, self._clock.now()))

    async def update(self, incident: str, by: str, *, message: str = "", eta: str = "", state: str = "") -> Incident:
        """Tell everybody who was told."""
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        words = {"message": message, "eta": eta, "state": state}
        return await self._submit(incident, lambda book: response.update(book, catalogue, paging, incident, by, now, **words))

    async def tick(self, incident: str, by: str, item: str) -> Incident:
        """Say that a human has seen one item of the verification."""
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        return await self._submit(incident, lambda book: response.tick(book, catalogue, paging, incident, by, item, now))

    async def reload(self) -> Sequence[Finding]:
        """Load the rule files; no findings: they run from now on."""
        return await self._reloader.reload()

    async def add_mute(self, request: MuteRequest) -> KeptMute:
        """Keep a silence or lease, new, changed or renewed."""
        return await self._board.add(request)

    async def expire_mute(self, mute: str, by: str) -> KeptMute:
        """End one early."""
        return await self._board.expire(mute, by)

    async def add_deploy(self, told: Deploy) -> None:
        """Keep what was told of a deploy, once; what stands of its service gets a line in its timeline."""
        known = await self._store.list_deploys(told.service, told.at, told.at, SAME_MOMENT)
        await self._store.add_deploy(told)
        self._on_deploy(told)
        if all(each.id != told.id for each in known) and list_concerned(self._committer.book, told):
            catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
            await self._committer.submit_action(lambda book: note_deploy(book, catalogue, paging, told, now))

    async def _submit(self, incident: str, decide: Decide) -> Incident:
        """Commit it, on a closed incident too; the incident as it is now."""
        decision = await submit_on(self._committer, self._store, incident, decide)
        found = next((changed for changed in decision.incidents if changed.id == incident), None)
        found = found or self._committer.book.incidents.get(incident) or await self._store.find_incident(incident)
        if found is None:
            raise response.ResponseError(f"no incident {incident}; `detector incidents list` shows them")
        return found

    def _choose(self, incident: str, action: Action, by: str, text: str, now: float) -> Callable[[Book], Decision]:
        catalogue, paging = self._roster.catalogue, self._paging
        match action:
            case Action.ACKNOWLEDGE:
                return lambda book: response.acknowledge(book, catalogue, paging, incident, by, now, text=text)
            case Action.RESOLVE:
                return lambda book: response.resolve(book, catalogue, paging, incident, by, now, text=text)
            case Action.NOTE:
                return lambda book: response.add_note(book, catalogue, paging, incident, by, text, now)
            case Action.CAUSE:
                return lambda book: response.set_cause(book, catalogue, paging, incident, by, text, now)
            case _:
                assert_never(action)


class DaemonPulse:
    """Implements ports.query.Pulse; the watchdog asks it too."""

    def __init__(self, poller: Poller, clock: Clock) -> None:
        self._poller = poller
        self._clock = clock
        self.store_open = False
        self.rules_loaded = False

    def sickness(self) -> str:
        """Not healthy: the loop or the scheduler stands still."""
        if not self.rules_loaded:
            return ""
        still = self._clock.monotonic() - self._poller.last_tick
        return "" if still < TICK_LIMIT_SECONDS else f"the scheduler has not ticked for {still:.0f} s"

    def unreadiness(self) -> str:
        """Not ready: rules are not loaded or the store is not open."""
        if not self.store_open:
            return "the store is not open"
        return "" if self.rules_loaded else "rules are not loaded"
