"""An Atlassian Statuspage on this machine: incidents and components of one page as documented, and faults by script.

Before it: the daemon's Statuspage channel calls <url>/v1/pages/<page>/... After it: a test or the demo asks what customers see, in
process or over the same API. Rules: Statuspage API documentation (authorization, incidents, components) and Atlassian's notice of
2020 about the rate: 60 calls a minute and token, components without paging once a minute, 420 or 429 with Retry-After.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiohttp import web

from detector.standin.ledger import CallWindow
from detector.standin.prompter import Prompter, perform
from detector.standin.server import Server, answer_json

if TYPE_CHECKING:
    from types import TracebackType

    from detector.standin.script import Reply, Step

STATUSES = ("investigating", "identified", "monitoring", "resolved")
IMPACTS = ("none", "minor", "major", "critical")
COMPONENT_STATUSES = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")
CALLS_PER_WINDOW = 60
MAX_NAME_CHARACTERS = 255
MAX_BODY_CHARACTERS = 25_000
_KEYS = frozenset({"name", "status", "impact_override", "body", "component_ids", "components", "deliver_notifications", "metadata"})
_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Update:
    """One entry of an incident's public history."""

    at: float
    status: str
    body: str
    notified: bool


@dataclass(slots=True)
class PublicIncident:
    """What customers see of one incident; `updates` oldest first."""

    id: str
    name: str
    status: str
    impact: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    component_ids: list[str] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came; `status` None while unanswered, or for ever when the script withheld it."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    status: int | None = None


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """The answer to a call that breaks a rule."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Statuspage:
    """One page with some components (name -> id); enter it as an async context manager to serve it on a loopback port.

    `limit_status` is what too many calls get. `reopens` False: an update of a resolved incident to another status is refused,
    since the documentation does not say that it is taken.
    """

    def __init__(
        self,
        page_id: str,
        token: str,
        components: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        limit_status: int = 429,
        reopens: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.page_id = page_id
        self.token = token
        self.component_ids = dict(components or {})
        self.component_statuses = dict.fromkeys(self.component_ids.values(), "operational")
        self.incidents: list[PublicIncident] = []
        self.calls: list[Call] = []
        self._limit_status = limit_status
        self._reopens = reopens
        self._now = now
        self._prompter = Prompter(now)
        self.script = self._prompter.script
        self._window = CallWindow(CALLS_PER_WINDOW)
        self._unpaged = CallWindow(1)
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/v1/pages/{page}/{rest:.*}", self._serve)
        self._prompter.add_routes(app)
        self._server = Server(app, port)

    @property
    def api_url(self) -> str:
        """What a client calls its base URL."""
        return f"{self._server.url}/v1"

    def unresolved(self) -> list[PublicIncident]:
        """What stands on top of the page."""
        return [incident for incident in self.incidents if incident.status != "resolved"]

    def play(self, *steps: Step) -> None:
        """Queue scripted answers; a step's `action` is the method, its `path` what follows the page: "incidents", "components"."""
        self._prompter.play(*steps)

    async def wait_for(self, condition: Callable[[Self], bool], timeout_seconds: float = 10.0) -> None:
        """Return once `condition` holds, looked at after every call. Raises TimeoutError."""
        await self._prompter.wait_until(lambda: condition(self), timeout_seconds)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        body = _read_body(await http.read())
        rest = http.match_info["rest"]
        self.calls.append(Call(self._now(), http.method, rest, dict(http.headers), body))
        place = len(self.calls) - 1
        reply = self.script.take(rest, "", http.method, self._now())
        honest = self._answer(http, rest, body) if reply.takes_effect else answer_json(200, {})
        self._prompter.ring()
        return await self._play(http, reply, honest, place)

    async def _play(self, http: web.Request, reply: Reply, honest: web.Response, place: int) -> web.StreamResponse:
        if (answer := await perform(http, reply, honest)) is None:
            return honest
        self.calls[place] = replace(self.calls[place], status=answer.status)
        return answer

    def _answer(self, http: web.Request, rest: str, body: Mapping[str, Any]) -> web.Response:
        try:
            self._admit(http, rest)
            status, value = self._apply(http, rest, body)
        except Refusal as refusal:
            answer = answer_json(refusal.status, {"error": [str(refusal)]})
            if refusal.status == self._limit_status:
                answer.headers["Retry-After"] = "60"
            return answer
        return answer_json(status, value)

    def _admit(self, http: web.Request, rest: str) -> None:
        if http.headers.get("Authorization") != f"OAuth {self.token}":
            raise Refusal(401, "Could not authenticate")
        if http.match_info["page"] != self.page_id:
            raise Refusal(404, "Page not found")
        is_unpaged = rest == "components" and http.method == "GET" and not {"page", "per_page"} & set(http.query)
        windows = (self._window, self._unpaged) if is_unpaged else (self._window,)
        if not all(window.admit(self.token, self._now()) for window in windows):
            raise Refusal(self._limit_status, "Too many requests")

    def _apply(self, http: web.Request, rest: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        incident = self._find(rest.removeprefix("incidents/"))
        match http.method, rest:
            case "GET", "components":
                listed = [
                    {"id": each, "name": name, "status": self.component_statuses[each], "group": False}
                    for name, each in self.component_ids.items()
                ]
                return 200, _cut_page(listed, http)
            case "GET", "incidents/unresolved":
                return 200, _cut_page([_render(each) for each in reversed(self.unresolved())], http)
            case "POST", "incidents":
                return 201, _render(self._create(_read_incident(body)))
            case "GET", _ if incident is not None:
                return 200, _render(incident)
            case "PATCH", _ if incident is not None:
                return 200, _render(self._change(incident, _read_incident(body)))
            case _:
                raise Refusal(404, "Not found")

    def _find(self, identity: str) -> PublicIncident | None:
        return next((incident for incident in self.incidents if incident.id == identity), None)

    def _create(self, given: Mapping[str, Any]) -> PublicIncident:
        if not given.get("name"):
            raise Refusal(422, "Name can't be blank")
        self._check_components(given)
        identity = f"inc{len(self.incidents) + 1:09d}"
        incident = PublicIncident(identity, given["name"], "investigating", "none")
        self._write(incident, given)
        self.incidents.append(incident)
        return incident

    def _change(self, incident: PublicIncident, given: Mapping[str, Any]) -> PublicIncident:
        self._check_components(given)
        if incident.status == "resolved" and given.get("status", "resolved") != "resolved" and not self._reopens:
            raise Refusal(422, "Status cannot be changed once the incident is resolved")
        self._write(incident, given)
        return incident

    def _write(self, incident: PublicIncident, given: Mapping[str, Any]) -> None:
        incident.name = given.get("name", incident.name)
        incident.status = given.get("status", incident.status)
        incident.impact = given.get("impact_override", incident.impact)
        incident.metadata = given.get("metadata", incident.metadata)
        incident.component_ids = list(given.get("component_ids", incident.component_ids))
        self.component_statuses |= given.get("components", {})
        if given.get("body"):
            told = bool(given.get("deliver_notifications", True))
            incident.updates.append(Update(self._now(), incident.status, given["body"], told))

    def _check_components(self, given: Mapping[str, Any]) -> None:
        named = {*given.get("component_ids", ()), *given.get("components", {})}
        if unknown := named - set(self.component_statuses):
            raise Refusal(422, f"Components {sorted(unknown)} do not belong to the page")


def _read_body(raw: bytes) -> Mapping[str, Any]:
    try:
        body = msgspec.json.decode(raw) if raw else {}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}


def _read_incident(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The incident of a call, held against the documented shapes."""
    given = body.get("incident")
    if not isinstance(given, dict):
        raise Refusal(400, "incident is missing")
    faults = [f"{name} is unknown" for name in given if name not in _KEYS]
    chosen = (("status", STATUSES), ("impact_override", IMPACTS))
    faults += [f"{name} is not included in the list" for name, known in chosen if name in given and given[name] not in known]
    sizes = (("name", MAX_NAME_CHARACTERS), ("body", MAX_BODY_CHARACTERS))
    faults += [f"{name} is too long" for name, limit in sizes if len(str(given.get(name, ""))) > limit]
    statuses = given.get("components", {})
    if not isinstance(statuses, dict) or not set(statuses.values()) <= set(COMPONENT_STATUSES):
        faults.append("components must be a map of id to status")
    metadata = given.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(each, dict) for each in metadata.values()):
        faults.append("metadata: all top-level values must be objects")
    if not isinstance(given.get("deliver_notifications", True), bool):
        faults.append("deliver_notifications must be a boolean")
    if faults:
        raise Refusal(422, "; ".join(faults))
    return given


def _cut_page(listed: list[dict[str, Any]], http: web.Request) -> list[dict[str, Any]]:
    size = min(int(http.query.get("per_page", _PAGE_SIZE)), _PAGE_SIZE)
    start = (max(1, int(http.query.get("page", 1))) - 1) * size
    return listed[start : start + size]


def _render(incident: PublicIncident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "name": incident.name,
        "status": incident.status,
        "impact": incident.impact,
        "metadata": incident.metadata,
        "components": [{"id": each} for each in incident.component_ids],
        "incident_updates": [{"status": each.status, "body": each.body} for each in reversed(incident.updates)],
    }


async def _run(port: int, page_id: str, token: str, components: Mapping[str, str]) -> None:
    async with Statuspage(page_id, token, components, port=port):
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m detector.standin.statuspage", description="Statuspage stand-in")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--page", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--component", action="append", default=[], help="its name; may be repeated")
    options = parser.parse_args()
    components = {name: f"cmp{number:09d}" for number, name in enumerate(options.component, start=1)}
    try:
        asyncio.run(_run(options.port, options.page, options.token, components))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
