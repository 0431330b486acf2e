"""What the web side reads and asks for; the composition root joins the store and the live alert states to answer it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from detector.domain.alert import AlertState
from detector.domain.deploy import Deploy
from detector.domain.incident import Event, Incident
from detector.domain.label import Labels
from detector.domain.silence import KeptMute, MuteRequest, MuteStatus
from detector.ports.rulefile import Finding
from detector.ports.store import IncidentFilter, IncidentPage


@dataclass(frozen=True, slots=True)
class LiveAlert:
    """An alert that is pending or firing now."""

    rule: str
    service: str
    state: AlertState


@dataclass(frozen=True, slots=True)
class RuleReport:
    """How a rule fares. `health` is ok, no_data, error, or idle before its first evaluation; `alerts` counts by phase."""

    name: str
    health: str
    every_seconds: float
    last_evaluation: float | None = None
    last_success: float | None = None
    last_error: str = ""
    alerts: Mapping[str, int] = field(default_factory=dict)
    evaluation_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RuleTrail:
    """The signal that a rule is about over [begin, end] (unix seconds), the worst of its alerts at each point, oldest first.

    `limits`: numbers that it is compared with. `fault`: the last failure since the start, at `fault_at`, however long ago.
    """

    signal: str
    begin: float
    end: float
    points: tuple[tuple[float, float], ...] = ()
    limits: tuple[float, ...] = ()
    fault: str = ""
    fault_at: float | None = None


class Action(StrEnum):
    """What a human may do to an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    NOTE = "note"
    CAUSE = "cause"


@dataclass(frozen=True, slots=True)
class MuteReport:
    """A silence, lease or window, and the ids of the incidents that it mutes now. A window's `created` means nothing."""

    kept: KeptMute
    status: MuteStatus
    muted: tuple[str, ...] = ()


class Query(Protocol):
    """Reading. The coroutines raise TemporaryError while the store cannot answer; the rest is memory and never fails."""

    async def list_incidents(self, wanted: IncidentFilter) -> IncidentPage:
        """Incidents by filter, newest first; raises ValueError for a cursor it did not give."""

    async def find_incident(self, incident: str) -> Incident | None:
        """One incident, open or not."""

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Its events, oldest first."""

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Deploys of a service (None: of all) in [since, until], newest first."""

    def live_state(self, rule: str, labels: Labels) -> AlertState | None:
        """State of one alert as the last evaluation left it."""

    def live_alerts(self) -> Sequence[LiveAlert]:
        """Alerts that are pending or firing, in a stable order."""

    def rule_reports(self) -> Sequence[RuleReport]:
        """Every rule of the running set, in its order."""

    def rule_trail(self, rule: str) -> RuleTrail:
        """The last hour of a rule's signal, as its evaluations saw it."""

    async def list_mutes(self, statuses: Collection[MuteStatus], limit: int) -> Sequence[MuteReport]:
        """At most `limit` silences, leases and windows that stand so, in a stable order; only ended ones need the store."""

    def report_mute(self, kept: KeptMute) -> MuteReport:
        """One of them, as it stands now."""


class Desk(Protocol):
    """Where people act."""

    async def respond(self, incident: str, action: Action, by: str, text: str) -> Incident:
        """Do it and give the incident as it is now; domain.response.ResponseError where it cannot be done, TemporaryError."""

    async def update(self, incident: str, by: str, *, message: str = "", eta: str = "", state: str = "") -> Incident:
        """Tell everybody who was told: words, an ETA, where the work stands. Raises as `respond`."""

    async def tick(self, incident: str, by: str, item: str) -> Incident:
        """Say that a human has seen one item of the verification. Raises as `respond`."""

    async def reload(self) -> Sequence[Finding]:
        """Load the rule files; no findings: they run from now on."""

    async def add_mute(self, request: MuteRequest) -> KeptMute:
        """Keep a silence or lease. Raises what domain.silence.grant raises, and TemporaryError."""

    async def expire_mute(self, mute: str, by: str) -> KeptMute:
        """End one early. Raises UnknownMuteError, ResponseError where it has ended already, TemporaryError."""

    async def add_deploy(self, told: Deploy) -> None:
        """Keep what was told of a deploy. Raises TemporaryError."""


class Pulse(Protocol):
    """Whether the daemon is well; each answer is the reason why not, empty when it is."""

    def sickness(self) -> str:
        """Not healthy: the loop or the scheduler stands still."""

    def unreadiness(self) -> str:
        """Not ready: rules are not loaded or the store is not open."""
