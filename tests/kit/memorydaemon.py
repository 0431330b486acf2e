"""What the daemon gives the web side, in memory, so that the web side and the command line are tested without the rest."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from detector.domain.alert import AlertState, Phase, SignalTrack
from detector.domain.deploy import Deploy
from detector.domain.incident import Event, Incident, Status
from detector.domain.label import Labels
from detector.domain.mute import Mute, MuteKind, parse_matchers
from detector.domain.response import ResponseError
from detector.domain.silence import KeptMute, MuteRequest, MuteStatus, UnknownMuteError, grant, list_muted
from detector.ports.error import TemporaryError
from detector.ports.query import Action, LiveAlert, MuteReport, RuleReport, RuleTrail
from detector.ports.rulefile import Finding
from detector.ports.store import IncidentFilter, IncidentPage
from tests.kit.sample import make_event, make_incident


class MemoryDaemon:
    """What the daemon gives the web side, in memory: query, desk and pulse in one."""

    def __init__(self) -> None:
        self.incidents = [make_incident(number) for number in (3, 2, 1)]
        self.findings: Sequence[Finding] = ()
        self.sick = self.unready = ""
        self.down = False
        self.asked: list[IncidentFilter] = []
        self.acts: list[tuple[str, Action, str, str]] = []
        self.news: list[tuple[str, str, str, str, str]] = []
        self.ticks: list[tuple[str, str, str]] = []
        window = Mute("w1", MuteKind.WINDOW, parse_matchers(["service=reports"]), 1.0, 9000.0, "rule files", "maintenance window")
        self.now = 1000.0
        self.deploys: list[Deploy] = []
        self.mutes = {"w1": KeptMute(window, 1.0)}

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Page by page; the cursor is a number."""
        if self.down:
            raise TemporaryError("database is locked")
        self.asked.append(wanted)
        start = int(wanted.cursor or 0)
        found = [one for one in self.incidents if not wanted.status or one.status.value in wanted.status]
        end = start + wanted.limit
        return IncidentPage(tuple(found[start:end]), str(end) if end < len(found) else None)

    async def find_incident(self, incident: str) -> Incident | None:
        """By id."""
        return next((one for one in self.incidents if one.id == incident), None)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """One line."""
        return [make_event(1, incident=incident)]

    def live_state(self, rule: str, labels: Labels) -> AlertState | None:
        """Firing at 42 %."""
        del rule
        tracks = {"error_rate": SignalTrack(0.42, 0.5)}
        return AlertState(labels, Phase.FIRING, fired=1010.0, signal="error_rate", threshold=0.01, signals=tracks)

    def live_alerts(self) -> Sequence[LiveAlert]:
        """One firing, two pending."""
        phases = (Phase.FIRING, Phase.PENDING, Phase.PENDING)
        return [LiveAlert("r", f"s{n}", AlertState((("service", f"s{n}"),), phase)) for n, phase in enumerate(phases)]

    def rule_reports(self) -> Sequence[RuleReport]:
        """One rule."""
        return [RuleReport("r", "ok", 5.0, 10.0, 10.0, "", {"firing": 1, "pending": 2, "inactive": 4})]

    def rule_trail(self, rule: str) -> RuleTrail:
        """Three points."""
        del rule
        return RuleTrail("error_rate", 0.0, 3600.0, ((3000.0, 0.0), (3030.0, 0.2), (3060.0, 0.42)), (0.01,), "timeout", 2000.0)

    async def list_mutes(self, statuses: Collection[MuteStatus], limit: int) -> Sequence[MuteReport]:
        """As they were added."""
        reports = [self.report_mute(kept) for kept in self.mutes.values()]
        return [report for report in reports if report.status in statuses][:limit]

    def report_mute(self, kept: KeptMute) -> MuteReport:
        """With the incidents that it mutes."""
        return MuteReport(kept, kept.status(self.now), list_muted(kept.held, self.incidents, self.now))

    async def add_mute(self, request: MuteRequest) -> KeptMute:
        """By the real rules."""
        if self.down:
            raise TemporaryError("database is locked")
        kept = grant(request, self.now, self.mutes.get(request.id))
        self.mutes[kept.mute.id] = kept
        return kept

    async def expire_mute(self, mute: str, by: str) -> KeptMute:
        """End it now."""
        if mute not in self.mutes:
            raise UnknownMuteError(f"no silence {mute}; `detector silence list` shows them")
        if self.mutes[mute].ended(self.now):
            raise ResponseError(f"silence {mute} was ended by {self.mutes[mute].expired_by}; nothing to do")
        self.mutes[mute] = replace(self.mutes[mute], expired=self.now, expired_by=by)
        return self.mutes[mute]

    async def add_deploy(self, told: Deploy) -> None:
        """Keep it."""
        if self.down:
            raise TemporaryError("database is locked")
        self.deploys.append(told)

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Newest first."""
        found = [told for told in self.deploys if service in {None, told.service} and since <= told.at <= until]
        return sorted(found, key=lambda told: -told.at)[:limit]

    async def respond(self, incident: str, action: Action, by: str, text: str) -> Incident:
        """Remember it; nothing can be resolved."""
        self.acts.append((incident, action, by, text))
        if action is Action.RESOLVE:
            raise ResponseError(f"incident {incident} is already resolved")
        return make_incident(1, status=Status.ACKNOWLEDGED, acknowledged=1500.0, acknowledged_by=by)

    async def update(self, incident: str, by: str, *, message: str = "", eta: str = "", state: str = "") -> Incident:
        """Remember it; by the real rule, it says something."""
        if not (message or eta or state):
            raise ResponseError("an update needs a message, an ETA or a state")
        self.news.append((incident, by, message, eta, state))
        return make_incident(1, state=state, eta=eta)

    async def tick(self, incident: str, by: str, item: str) -> Incident:
        """Remember it."""
        self.ticks.append((incident, by, item))
        return make_incident(1)

    async def reload(self) -> Sequence[Finding]:
        """Whatever `findings` says."""
        return self.findings

    def sickness(self) -> str:
        """Whatever `sick` says."""
        return self.sick

    def unreadiness(self) -> str:
        """Whatever `unready` says."""
        return self.unready
