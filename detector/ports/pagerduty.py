"""What PagerDuty says of the keys we opened: words that come by webhook, and an account that can be asked.

Before it: people act in PagerDuty. After it: `app.readback` brings it into the incident, `app.callout` names who is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Standing(Enum):
    """Where a key stands in PagerDuty."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class PagerDutyWord:
    """One event of PagerDuty's: `standing` where the incident came to stand, None where there are only words to note.

    `incident` is PagerDuty's own id; `key` its incident_key, which is ours only where alerts are not grouped, and empty where the
    event names none. `at`: unix seconds, None where the event does not say.
    """

    incident: str
    key: str
    actor: str
    standing: Standing | None = None
    text: str = ""
    at: float | None = None


class PagerDutyEar(Protocol):
    """Where words from PagerDuty go."""

    async def hear(self, word: PagerDutyWord) -> None:
        """Act on it; hearing it twice changes nothing. Raises TemporaryError when it cannot be done now: say it again later."""


@dataclass(frozen=True, slots=True)
class RemoteIncident:
    """An incident as PagerDuty has it. `by` is who last changed its status; `merged`: it lives on as part of another.

    `alerts`: where each alert key of it stands, None before they were asked for.
    """

    id: str
    key: str
    standing: Standing
    by: str = ""
    merged: bool = False
    policy: str = ""
    alert_count: int = 1
    alerts: Mapping[str, Standing] | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the account."""

    id: str
    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class OnCall:
    """Who is on call for an escalation policy, by its levels from 1; a level may have several."""

    levels: Mapping[int, Sequence[Person]] = field(default_factory=dict)


class PagerDutyAccount(Protocol):
    """The REST API. Everything raises TemporaryError (SettingsError for a token that is refused) or PermanentError."""

    async def find_by_key(self, key: str) -> RemoteIncident | None:
        """The newest incident whose incident_key this is."""

    async def find_by_id(self, incident: str) -> RemoteIncident | None:
        """The incident of that id."""

    async def list_open(self) -> Sequence[RemoteIncident]:
        """Incidents that are triggered or acknowledged, newest first, at most a hundred."""

    async def read_alerts(self, incident: str) -> Mapping[str, Standing]:
        """Where each alert of the incident stands, by alert key."""

    async def find_on_call(self, policy: str) -> OnCall:
        """Who is on call for the escalation policy now."""

    async def find_person(self, email: str) -> Person | None:
        """The user with exactly that address."""

    async def add_note(self, incident: str, author: Person, text: str) -> None:
        """A note on the incident, in the name of the author; it pages nobody."""

    async def request_responders(self, incident: str, requester: Person, people: Sequence[Person], message: str) -> None:
        """Ask these people to join the incident, in the name of the requester."""
