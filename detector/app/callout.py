"""Who is called to an incident: looked up, put into the ticket, and at HIGH and CRITICAL asked to join through PagerDuty.

The catalogue is believed first; what it leaves open, the escalation policy of PagerDuty's incident says: level 1 is the engineer on
call, level 2 the manager. Owner and manager are asked by a responder request where a token and a requester allow it; Slack mentions
them in any case (the incident's own notice). Before it: `committer` opened the incident. After it: `response.name_responders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain import response
from detector.domain.severity import Severity
from detector.ports.error import OutsideError, PermanentError, SettingsError
from detector.ports.pagerduty import OnCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.pagerduty import PagerDutyAccount, Person, RemoteIncident

LOOK_SECONDS = 2.0
RETRY_SECONDS = 15.0
UNSEEN_SECONDS = 120.0  # after this long without PagerDuty's incident the catalogue alone is asked
ENGINEER_LEVEL, MANAGER_LEVEL = 1, 2


@dataclass(slots=True)
class _Call:
    """How far the callout of one episode has come; times are monotonic seconds."""

    begun: float
    retry_at: float = float("-inf")
    named: bool = False
    summoned: bool = False


class Callout:
    """`account` None: the catalogue alone. `requester`: the address of the PagerDuty user in whose name people are asked."""

    def __init__(
        self,
        committer: Committer,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        account: PagerDutyAccount | None = None,
        *,
        requester: str = "",
    ) -> None:
        self._committer = committer
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._account = account
        self._requester = requester
        self._calls: dict[tuple[str, int], _Call] = {}
        self._begun = False

    async def run(self) -> None:
        """Look until cancelled. Guard this."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Call out what is new; what failed for a time is tried again."""
        incidents = [one for one in self._committer.own_incidents if one.status.active and not one.own and not one.muted]
        now = self._clock.monotonic()
        kept = {(one.id, one.episode) for one in incidents}
        self._calls = {key: call for key, call in self._calls.items() if key in kept}
        for incident in incidents:
            call = self._calls.setdefault((incident.id, incident.episode), self._begin(incident, now))
            if call.retry_at <= now and self._wants(incident, call):
                await self._try(incident, call)
        self._begun = True

    def _begin(self, incident: Incident, now: float) -> _Call:
        """After a restart, who is in the ticket was called."""
        began = max(incident.detected, *incident.relapses, 0.0)
        known = (not self._begun or self._committer.led_since(incident) > began) and bool(incident.responders)
        return _Call(now, named=known, summoned=known and incident.summoned)

    def _wants(self, incident: Incident, call: _Call) -> bool:
        if incident.severity >= Severity.HIGH and not call.summoned:
            return True
        return not call.named and self._account is not None and any(not page.closed for page in incident.pages)

    async def _try(self, incident: Incident, call: _Call) -> None:
        try:
            await self._call(incident, call)
        except OutsideError as fault:
            self._observer.trouble("callout", f"{incident.id}: {describe_fault(fault)}")
            call.retry_at = self._clock.monotonic() + RETRY_SECONDS
            if isinstance(fault, PermanentError | SettingsError):  # who the catalogue names is still named
                call.named = call.summoned = True
                await self._name(incident, self._list_known(incident))

    async def _call(self, incident: Incident, call: _Call) -> None:
        remote = await self._find_remote(incident)
        if remote is None and self._account is not None and incident.pages:
            waited = self._clock.monotonic() - call.begun
            if waited < UNSEEN_SECONDS:  # not delivered yet, or PagerDuty has not made its incident of it
                call.retry_at = self._clock.monotonic() + LOOK_SECONDS
                return
        known = self._list_known(incident)
        on_call = OnCall()
        if remote is not None and self._account is not None and remote.policy:
            on_call = await self._account.find_on_call(remote.policy)
        named = {
            **known,
            "on_call_engineer": known["on_call_engineer"] or _join(on_call.levels.get(ENGINEER_LEVEL, ())),
            "on_call_manager": known["on_call_manager"] or _join(on_call.levels.get(MANAGER_LEVEL, ())),
        }
        if incident.severity >= Severity.HIGH and not call.summoned:
            if remote is not None:
                await self._summon(incident, remote, known, on_call)
            call.summoned = True
        call.named = True
        await self._name(incident, named)

    async def _summon(self, incident: Incident, remote: RemoteIncident, known: Mapping[str, str], on_call: OnCall) -> None:
        """Ask owner and manager to join, in the requester's name."""
        if self._account is None or not self._requester:
            return
        requester = await find_requester(self._account, self._requester)
        people = [
            *([] if known["on_call_manager"] else on_call.levels.get(MANAGER_LEVEL, ())),
            *[await self._account.find_person(known[role]) for role in ("service_owner", "on_call_manager") if "@" in known[role]],
        ]
        wanted = list(dict.fromkeys(person for person in people if person is not None))
        if wanted:
            message = f"{incident.severity.value}: {incident.summary}"
            await self._account.request_responders(remote.id, requester, wanted, message)

    async def _find_remote(self, incident: Incident) -> RemoteIncident | None:
        if self._account is None:
            return None
        for page in incident.pages:
            if not page.closed and (remote := await self._account.find_by_key(page.key)) is not None:
                return remote
        return None

    def _list_known(self, incident: Incident) -> dict[str, str]:
        return self._roster.catalogue.find(incident.service).called

    async def _name(self, incident: Incident, named: Mapping[str, str]) -> None:
        if not any(named.values()):
            return
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        await self._committer.submit_action(lambda book: response.name_responders(book, catalogue, paging, incident.id, named, now))


async def find_requester(account: PagerDutyAccount, email: str) -> Person:
    """In whose name PagerDuty is asked. Raises PermanentError where it has no such user."""
    found = await account.find_person(email)
    if found is None:
        raise PermanentError(f"PagerDuty has no user {email}; check DETECTOR_PAGERDUTY__REQUESTER")
    return found


def _join(people: Sequence[Person]) -> str:
    return ", ".join(person.name for person in people if person.name)
