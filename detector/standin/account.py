"""The REST side of the PagerDuty stand-in: incidents made of alerts, who is on call, responder requests, people who act.

Before it: `ledger` remembers alerts. After it: the daemon's REST adapter, and `subscription`, which is told of every change of an
incident's status. Source of paths, fields and limits: PagerDuty REST API v2 reference; 960 requests a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detector.standin.ledger import Alert, CallWindow, Ledger, Status
from detector.standin.server import answer_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

POLICY_ID = "PPOLICY"
REQUESTS_PER_MINUTE = 960
INTEGRATION = "Events API V2"
_ENDS = {"acknowledged": "acknowledge", "resolved": "resolve"}


@dataclass(frozen=True, slots=True)
class User:
    """A person of the account."""

    id: str
    name: str
    email: str

    def refer(self) -> dict[str, str]:
        """As other resources name it."""
        return {"id": self.id, "type": "user_reference", "summary": self.name}


ENGINEER = User("PENGINEER", "Erin Engineer", "erin@example.org")
MANAGER = User("PMANAGER", "Mo Manager", "mo@example.org")
OWNER = User("POWNER", "Olu Owner", "olu@example.org")


@dataclass(slots=True)
class RemoteIncident:
    """One incident: the alerts grouped into it, by their numbers in the ledger; who acts on it now, and who changed it last."""

    id: str
    number: int
    key: str
    routing_key: str
    title: str
    alerts: list[int]
    status: Status = Status.TRIGGERED
    by: dict[str, str] = field(default_factory=dict)
    changed_by: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """An incident's status changed: the v3 event type, the incident as JSON, who did it."""

    event_type: str
    data: Mapping[str, Any]
    agent: Mapping[str, str]


@dataclass(slots=True)
class Account:
    """What the REST API shows. `grouping`: an alert that opens while an incident of its service is open joins that incident.

    `token` None: every request is refused with 401. `responder_requests` and `notes` are what was accepted.
    """

    ledger: Ledger
    token: str | None = "rest-token"  # noqa: S105 - of the stand-in
    grouping: bool = False
    users: tuple[User, ...] = (ENGINEER, MANAGER, OWNER)
    levels: Mapping[int, Sequence[User]] = field(default_factory=lambda: {1: [ENGINEER], 2: [MANAGER]})
    responder_requests: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[Mapping[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    incidents: list[RemoteIncident] = field(default_factory=list)
    _calls: CallWindow = field(default_factory=lambda: CallWindow(REQUESTS_PER_MINUTE))
    _seen: int = 0

    def sync(self) -> list[Change]:
        """Bring the incidents up to date with the alerts; what changed, in its order."""
        changes = []
        for alert in self.ledger.alerts[self._seen :]:
            self._seen += 1
            changes += self._place(alert)
        for incident in self.incidents:
            status = self._judge(incident)
            if status is not incident.status:
                incident.status, incident.changed_by = status, incident.by
                changes.append(self._tell(incident))
            incident.by = {}
        return changes

    def act(self, dedup_key: str, status: str, user: User, now: float) -> None:
        """A person acknowledges or resolves the open incident that holds the alert of this key; call `sync` after it."""
        self._act(self.find_incident(dedup_key), status, user, now)

    def find_incident(self, dedup_key: str) -> RemoteIncident:
        """The newest incident that holds an alert of this key. KeyError where there is none."""
        for incident in reversed(self.incidents):
            if any(self._alert(number).dedup_key == dedup_key for number in incident.alerts):
                return incident
        raise KeyError(dedup_key)

    def render(self, incident: RemoteIncident) -> dict[str, Any]:
        """The incident as the API and the webhooks show it."""
        alerts = [self._alert(number) for number in incident.alerts]
        resolved = sum(not alert.is_open for alert in alerts)
        acknowledged = incident.status is Status.ACKNOWLEDGED
        changed_by = incident.by or incident.changed_by
        return {
            "id": incident.id,
            "type": "incident",
            "incident_number": incident.number,
            "number": incident.number,
            "incident_key": incident.key,
            "title": incident.title,
            "status": incident.status.value,
            "service": {"id": f"S{incident.routing_key[:6]}", "type": "service_reference"},
            "escalation_policy": {"id": POLICY_ID, "type": "escalation_policy_reference"},
            "assignees": [user.refer() for user in self.levels.get(1, ())],
            "acknowledgements": [{"acknowledger": changed_by}] if acknowledged and changed_by else [],
            "last_status_change_by": changed_by or {"type": "service_reference", "summary": INTEGRATION},
            "alert_counts": {"all": len(alerts), "triggered": len(alerts) - resolved, "resolved": resolved},
            "resolve_reason": None,
        }

    def add_routes(self, app: web.Application, now: Callable[[], float], on_change: Callable[[], None]) -> None:
        """Serve the account; `on_change` is called after a request changed an incident."""

        def serve(
            answer: Callable[[web.Request], Awaitable[web.Response]],
        ) -> Callable[[web.Request], Awaitable[web.Response]]:
            async def guarded(http: web.Request) -> web.Response:
                self.requests.append(f"{http.method} {http.path_qs}")
                if self.token is None or http.headers.get("Authorization") != f"Token token={self.token}":
                    return _refuse(401, "Unauthorized")
                if not self._calls.admit("", now()):
                    return _refuse(429, "Rate Limit Exceeded")
                return await answer(http)

            return guarded

        async def change(http: web.Request) -> web.Response:
            answer = await self._change(http, now())
            on_change()
            return answer

        app.router.add_get("/incidents", serve(self._list_incidents))
        app.router.add_get("/incidents/{id}", serve(self._show_incident))
        app.router.add_put("/incidents/{id}", serve(change))
        app.router.add_get("/incidents/{id}/alerts", serve(self._list_alerts))
        app.router.add_post("/incidents/{id}/responder_requests", serve(self._request_responders))
        app.router.add_post("/incidents/{id}/notes", serve(self._add_note))
        app.router.add_get("/oncalls", serve(self._list_oncalls))
        app.router.add_get("/users", serve(self._list_users))

    def _place(self, alert: Alert) -> list[Change]:
        for incident in self.incidents:
            if self.grouping and incident.routing_key == alert.routing_key and incident.status is not Status.RESOLVED:
                incident.alerts.append(alert.number)
                return []
        number = len(self.incidents) + 1
        made = RemoteIncident(f"PINC{number:04d}", number, alert.dedup_key, alert.routing_key, alert.summary, [alert.number])
        self.incidents.append(made)
        return [self._tell(made)]

    def _judge(self, incident: RemoteIncident) -> Status:
        alerts = [self._alert(number) for number in incident.alerts]
        if not any(alert.is_open for alert in alerts):
            return Status.RESOLVED
        grouped = len(alerts) > 1
        acknowledged = all(alert.status is Status.ACKNOWLEDGED for alert in alerts if alert.is_open)
        return Status.ACKNOWLEDGED if acknowledged or (grouped and incident.status is Status.ACKNOWLEDGED) else Status.TRIGGERED

    def _tell(self, incident: RemoteIncident) -> Change:
        integration = {"type": "events_api_v2_inbound_integration_reference", "id": "PINTEGRATION", "summary": INTEGRATION}
        return Change(f"incident.{incident.status.value}", self.render(incident), incident.by or integration)

    def _act(self, incident: RemoteIncident, status: str, user: User, now: float) -> None:
        incident.by = user.refer()
        for number in incident.alerts:
            alert = self._alert(number)
            if alert.is_open:
                event = {"routing_key": alert.routing_key, "event_action": _ENDS[status], "by": user.name}
                self.ledger.apply(event, alert.dedup_key, now)

    def _alert(self, number: int) -> Alert:
        return self.ledger.alerts[number - 1]

    def _find(self, http: web.Request) -> RemoteIncident | None:
        return next((incident for incident in self.incidents if incident.id == http.match_info["id"]), None)

    async def _list_incidents(self, http: web.Request) -> web.Response:
        key, statuses = http.query.get("incident_key"), http.query.getall("statuses[]", [])
        found = [
            self.render(incident)
            for incident in reversed(self.incidents)
            if key in {None, incident.key} and (not statuses or incident.status.value in statuses)
        ]
        return answer_json(200, {"incidents": found[: int(http.query.get("limit", "25"))], "more": False})

    async def _show_incident(self, http: web.Request) -> web.Response:
        incident = self._find(http)
        return _refuse(404, "Not Found") if incident is None else answer_json(200, {"incident": self.render(incident)})

    async def _change(self, http: web.Request, now: float) -> web.Response:
        incident, body = self._find(http), await http.json()
        user = next((user for user in self.users if user.email == http.headers.get("From")), None)
        status = body.get("incident", {}).get("status")
        if incident is None:
            return _refuse(404, "Not Found")
        if user is None or status not in _ENDS:
            return _refuse(400, "Requester User Not Found" if user is None else "Invalid Input Provided")
        self._act(incident, status, user, now)
        return answer_json(200, {"incident": self.render(incident) | {"status": status}})

    async def _list_alerts(self, http: web.Request) -> web.Response:
        incident = self._find(http)
        if incident is None:
            return _refuse(404, "Not Found")
        alerts = [self._alert(number) for number in incident.alerts]
        shown = [
            {
                "id": f"PALERT{alert.number:04d}",
                "type": "alert",
                "alert_key": alert.dedup_key,
                "status": "triggered" if alert.is_open else "resolved",
                "incident": {"id": incident.id, "type": "incident_reference"},
            }
            for alert in alerts
        ]
        offset, limit = int(http.query.get("offset", "0")), int(http.query.get("limit", "25"))
        return answer_json(200, {"alerts": shown[offset : offset + limit], "more": offset + limit < len(shown)})

    async def _request_responders(self, http: web.Request) -> web.Response:
        incident, body = self._find(http), await http.json()
        known = {user.id: user for user in self.users}
        targets = [one.get("responder_request_target", {}) for one in body.get("responder_request_targets", [])]
        requester = known.get(body.get("requester_id"))
        if incident is None:
            return _refuse(404, "Not Found")
        if requester is None or requester.email != http.headers.get("From"):
            return _refuse(400, "Requester User Not Found")
        if not targets or any(target.get("id") not in known for target in targets) or not body.get("message"):
            return _refuse(400, "Invalid Input Provided")
        self.responder_requests.append(body | {"incident": incident.id})
        return answer_json(200, {"responder_request": {"incident": {"id": incident.id}, "requester": requester.refer()}})

    async def _add_note(self, http: web.Request) -> web.Response:
        incident, body = self._find(http), await http.json()
        author = next((user for user in self.users if user.email == http.headers.get("From")), None)
        content = body.get("note", {}).get("content")
        if incident is None:
            return _refuse(404, "Not Found")
        if author is None:
            return _refuse(400, "Requester User Not Found")
        if not isinstance(content, str) or not content.strip():
            return _refuse(400, "Invalid Input Provided")
        self.notes.append({"incident": incident.id, "content": content, "user": author.email})
        return answer_json(200, {"note": {"id": f"N{len(self.notes)}", "content": content, "user": author.refer()}})

    async def _list_oncalls(self, http: web.Request) -> web.Response:
        wanted = http.query.getall("escalation_policy_ids[]", [])
        whole = "users" in http.query.getall("include[]", [])
        shown = [
            {
                "escalation_policy": {"id": POLICY_ID, "type": "escalation_policy_reference"},
                "escalation_level": level,
                "user": user.refer() | ({"type": "user", "name": user.name, "email": user.email} if whole else {}),
            }
            for level, users in self.levels.items()
            for user in users
            if not wanted or POLICY_ID in wanted
        ]
        return answer_json(200, {"oncalls": shown, "more": False})

    async def _list_users(self, http: web.Request) -> web.Response:
        query = http.query.get("query", "").lower()
        found = [user for user in self.users if query in user.email.lower() or query in user.name.lower()]
        shown = [{"id": user.id, "type": "user", "name": user.name, "summary": user.name, "email": user.email} for user in found]
        return answer_json(200, {"users": shown, "more": False})


def _refuse(status: int, message: str) -> web.Response:
    return answer_json(status, {"error": {"message": message, "code": 2000 + status}})
