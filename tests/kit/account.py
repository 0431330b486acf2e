"""A PagerDuty account in memory, for tests of the application on virtual time; the real one is `detector.standin.account`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from detector.ports.error import OutsideError
from detector.ports.pagerduty import OnCall, Person, RemoteIncident, Standing

ERIN = Person("PERIN", "Erin", "erin@example.org")
MO = Person("PMO", "Mo", "mo@example.org")
OLU = Person("POLU", "Olu", "olu@example.org")


@dataclass
class MemoryAccount:
    """`hold` makes an incident of keys; `stand` changes where it and its alerts stand. `fault` is raised by every call."""

    incidents: dict[str, RemoteIncident] = field(default_factory=dict)
    people: Sequence[Person] = (ERIN, MO, OLU)
    on_call: OnCall = field(default_factory=lambda: OnCall({1: [ERIN], 2: [MO]}))
    fault: OutsideError | None = None
    asked: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, tuple[str, ...], str]] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    def hold(self, *keys: str) -> str:
        """An incident whose incident_key is the first of the keys; its id."""
        identity = f"P{len(self.incidents) + 1}"
        alerts = dict.fromkeys(keys, Standing.TRIGGERED)
        self.incidents[identity] = RemoteIncident(
            identity, keys[0], Standing.TRIGGERED, policy="POLICY", alert_count=len(keys), alerts=alerts
        )
        return identity

    def stand(self, identity: str, standing: Standing, by: str = "Erin", *, merged: bool = False) -> None:
        """Somebody changed it."""
        held = self.incidents[identity]
        state = Standing.RESOLVED if standing is Standing.RESOLVED else Standing.TRIGGERED
        alerts = dict.fromkeys(held.alerts or {}, state)
        self.incidents[identity] = replace(held, standing=standing, by=by, merged=merged, alerts=alerts)

    async def find_by_key(self, key: str) -> RemoteIncident | None:
        """The newest."""
        self._ask(f"key {key}")
        found = [one for one in self.incidents.values() if one.key == key]
        return replace(found[-1], alerts=None) if found else None

    async def find_by_id(self, incident: str) -> RemoteIncident | None:
        """By id."""
        self._ask(f"id {incident}")
        found = self.incidents.get(incident)
        return replace(found, alerts=None) if found else None

    async def list_open(self) -> Sequence[RemoteIncident]:
        """Those not resolved."""
        self._ask("open")
        return [replace(one, alerts=None) for one in self.incidents.values() if one.standing is not Standing.RESOLVED]

    async def read_alerts(self, incident: str) -> Mapping[str, Standing]:
        """Its alerts."""
        self._ask(f"alerts {incident}")
        found = self.incidents.get(incident)
        return dict(found.alerts or {}) if found else {}

    async def find_on_call(self, policy: str) -> OnCall:
        """The same for every policy."""
        self._ask(f"oncall {policy}")
        return self.on_call

    async def find_person(self, email: str) -> Person | None:
        """By address."""
        self._ask(f"person {email}")
        return next((person for person in self.people if person.email == email), None)

    async def add_note(self, incident: str, author: Person, text: str) -> None:
        """Remember it."""
        self._ask("note")
        self.notes.append((incident, author.name, text))

    async def request_responders(self, incident: str, requester: Person, people: Sequence[Person], message: str) -> None:
        """Remember it."""
        self._ask("request")
        self.requests.append((incident, requester.name, tuple(person.name for person in people), message))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fault is not None:
            raise self.fault
