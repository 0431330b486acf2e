"""The API under /api/v1, by FastAPI: incidents, alerts, rules, silences. Imported when it is first asked.

Access was checked and the body read by `site`. Answers are built by domain.view; the models here describe them in OpenAPI.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from detector.domain.response import ResponseError
from detector.domain.view import merge_live, view_alert, view_event, view_incident
from detector.ports.error import OutsideError
from detector.ports.query import Action
from detector.ports.store import IncidentFilter
from detector.web.aid import add_aid
from detector.web.deploy import add_deploys
from detector.web.exchange import describe_problem
from detector.web.link import MAX_LIMIT, Limit, link_next
from detector.web.silence import add_silences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.incident import Incident
    from detector.ports.aid import Aid
    from detector.ports.query import Desk
    from detector.ports.query import Query as QueryPort

StatusWord = Literal["open", "acknowledged", "resolved", "closed"]
SeverityWord = Literal["low", "medium", "high", "critical"]


class SignalModel(BaseModel):
    """One signal: now, at its worst, when recovery was verified."""

    value: float | None
    peak: float | None
    at_recovery: float | None


class VerificationModel(BaseModel):
    """One thing to be sure of before the incident is over; `ok` null: not known yet."""

    name: str
    human: bool
    ok: bool | None
    at: float | None
    by: str
    message: str


class CheckModel(BaseModel):
    """What one check of the diagnosis said."""

    name: str
    verdict: Literal["ok", "bad", "unknown"]
    message: str
    link: str | None


class SuspectModel(BaseModel):
    """A service that may be the cause; the likeliest stands first."""

    service: str
    score: float
    why: str


class IncidentModel(BaseModel):
    """An incident. Times are unix seconds. `muted` says by what, while it is; `folded` names the storm it is part of."""

    id: str
    status: StatusWord
    severity: SeverityWord
    peak_severity: SeverityWord
    service: str
    services: list[str]
    rules: list[str]
    labels: dict[str, str]
    opened: float
    detected: float
    acknowledged: float | None
    resolved: float | None
    closed: float | None
    value: float | None
    peak_value: float | None
    value_at_recovery: float | None
    threshold: float | None
    signal: str | None
    signals: dict[str, SignalModel]
    summary: str
    episode: int
    acknowledged_by: str
    end_reason: str
    root_cause: str
    links: dict[str, str]
    muted: str
    folded: str
    stale: bool
    state: str
    eta: str
    see_also: list[str]
    responders: dict[str, str]
    verifications: list[VerificationModel]
    checks: list[CheckModel]
    suspects: list[SuspectModel]


class EventModel(BaseModel):
    """One line of a timeline."""

    at: float
    actor: str
    kind: str
    message: str


class IncidentDetailModel(IncidentModel):
    """An incident with its timeline."""

    timeline: list[EventModel]


class AlertModel(BaseModel):
    """An alert that is pending or firing."""

    rule: str
    service: str
    labels: dict[str, str]
    state: Literal["pending", "firing"]
    severity: SeverityWord | None
    since: float | None
    fired: float | None
    evaluated: float | None
    value: float | None
    peak_value: float | None
    threshold: float | None
    signal: str | None
    signals: dict[str, SignalModel]
    unknown: str


class RuleModel(BaseModel):
    """A rule and how it fares; `state` is that of its furthest alert."""

    name: str
    health: str
    state: Literal["inactive", "pending", "firing"]
    every: float
    last_evaluation: float | None
    last_success: float | None
    last_error: str
    alerts: dict[str, int]


class Response(BaseModel):
    """Who does it, and in what words."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(max_length=4000)] = ""


class Words(Response):
    """As Response, the words being the point."""

    text: Annotated[str, Field(min_length=1, max_length=4000)]


class Update(BaseModel):
    """News for everybody who was told; at least one of message, eta and state."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=200)]
    message: Annotated[str, Field(max_length=4000)] = ""
    eta: Annotated[str, Field(max_length=100)] = ""
    state: Literal["", "investigating", "identified", "monitoring", "resolved"] = ""


class Tick(BaseModel):
    """Who has seen it, and what: the name of a human item as the incident lists it."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=200)]
    item: Annotated[str, Field(min_length=1, max_length=400)]


def make_api(query: QueryPort, desk: Desk, version: str, aid: Aid | None = None) -> FastAPI:
    """Build the application."""
    api = FastAPI(title="detector", version=version, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    _add_faults(api)
    _add_incidents(api, query)
    _add_actions(api, query, desk)
    _add_state(api, query)
    add_silences(api, query, desk)
    add_deploys(api, query, desk)
    if aid is not None:
        add_aid(api, query, aid)
    return api


def _add_incidents(api: FastAPI, query: QueryPort) -> None:
    @api.get("/api/v1/incidents", response_model=list[IncidentModel])
    async def list_incidents(
        request: Request,
        status: Annotated[list[StatusWord], Query()] = [],  # noqa: B006 - FastAPI copies it
        severity: Annotated[list[SeverityWord], Query()] = [],  # noqa: B006 - as above
        service: str | None = None,
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> JSONResponse:
        wanted = IncidentFilter(tuple(status), tuple(severity), service, limit, cursor)
        try:
            page = await query.list_incidents(wanted)
        except ValueError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "cursor is not one that this daemon gave") from None
        return JSONResponse([_view(query, incident) for incident in page.incidents], headers=link_next(request, page.cursor))

    @api.get("/api/v1/incidents/{incident}", response_model=IncidentDetailModel)
    async def show_incident(incident: str) -> JSONResponse:
        found = await _find(query, incident)
        return JSONResponse(_view(query, found) | {"timeline": await _timeline(query, incident)})

    @api.get("/api/v1/incidents/{incident}/timeline", response_model=list[EventModel])
    async def show_timeline(incident: str) -> JSONResponse:
        await _find(query, incident)
        return JSONResponse(await _timeline(query, incident))


def _add_actions(api: FastAPI, query: QueryPort, desk: Desk) -> None:
    async def act(incident: str, action: Action, response: Response) -> JSONResponse:
        await _find(query, incident)
        return JSONResponse(_view(query, await desk.respond(incident, action, response.by, response.text)))

    @api.post("/api/v1/incidents/{incident}/acknowledge", response_model=IncidentModel)
    async def acknowledge(incident: str, response: Response) -> JSONResponse:
        return await act(incident, Action.ACKNOWLEDGE, response)

    @api.post("/api/v1/incidents/{incident}/resolve", response_model=IncidentModel)
    async def resolve(incident: str, response: Response) -> JSONResponse:
        return await act(incident, Action.RESOLVE, response)

    @api.post("/api/v1/incidents/{incident}/note", response_model=IncidentModel)
    async def note(incident: str, response: Words) -> JSONResponse:
        return await act(incident, Action.NOTE, response)

    @api.post("/api/v1/incidents/{incident}/cause", response_model=IncidentModel)
    async def cause(incident: str, response: Words) -> JSONResponse:
        return await act(incident, Action.CAUSE, response)

    @api.post("/api/v1/incidents/{incident}/update", response_model=IncidentModel)
    async def update(incident: str, news: Update) -> JSONResponse:
        await _find(query, incident)
        told = await desk.update(incident, news.by, message=news.message, eta=news.eta, state=news.state)
        return JSONResponse(_view(query, told))

    @api.post("/api/v1/incidents/{incident}/tick", response_model=IncidentModel)
    async def tick(incident: str, seen: Tick) -> JSONResponse:
        await _find(query, incident)
        return JSONResponse(_view(query, await desk.tick(incident, seen.by, seen.item)))


def _add_state(api: FastAPI, query: QueryPort) -> None:
    @api.get("/api/v1/alerts", response_model=list[AlertModel])
    async def list_alerts(
        request: Request,
        rule: str | None = None,
        service: str | None = None,
        state: Literal["pending", "firing"] | None = None,
        limit: Limit = MAX_LIMIT,
        cursor: Annotated[int, Query(ge=0)] = 0,
    ) -> JSONResponse:
        alerts = [
            alert
            for alert in query.live_alerts()
            if rule in {None, alert.rule} and service in {None, alert.service} and state in {None, alert.state.phase.value}
        ]
        following = str(cursor + limit) if len(alerts) > cursor + limit else None
        shown = [view_alert(alert.rule, alert.service, alert.state) for alert in alerts[cursor : cursor + limit]]
        return JSONResponse(shown, headers=link_next(request, following))

    @api.get("/api/v1/rules", response_model=list[RuleModel])
    async def list_rules() -> JSONResponse:
        return JSONResponse(
            [
                {
                    "name": report.name,
                    "health": report.health,
                    "state": next((phase for phase in ("firing", "pending") if report.alerts.get(phase)), "inactive"),
                    "every": report.every_seconds,
                    "last_evaluation": report.last_evaluation,
                    "last_success": report.last_success,
                    "last_error": report.last_error,
                    "alerts": dict(report.alerts),
                }
                for report in query.rule_reports()
            ]
        )


def _add_faults(api: FastAPI) -> None:
    @api.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> JSONResponse:
        detail = error.detail if error.status_code != HTTPStatus.NOT_FOUND or error.detail != "Not Found" else "nothing is there"
        return _problem(error.status_code, detail, error.headers)

    @api.exception_handler(RequestValidationError)
    async def refuse_input(_: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(_say_fault(fault) for fault in error.errors()))

    @api.exception_handler(ResponseError)
    async def refuse_action(_: Request, error: ResponseError) -> JSONResponse:
        return _problem(HTTPStatus.CONFLICT, str(error))

    @api.exception_handler(OutsideError)
    async def refuse_now(_: Request, error: OutsideError) -> JSONResponse:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer: {error}; try again", {"Retry-After": "5"})


def _problem(status: int, detail: str, headers: Any = None) -> JSONResponse:  # noqa: ANN401 - starlette's mapping or None
    return JSONResponse(describe_problem(status, detail), status, headers, "application/problem+json")


def _say_fault(fault: Any) -> str:  # noqa: ANN401 - a dict of pydantic's
    where = ".".join(str(part) for part in fault["loc"] if part not in {"body", "query", "path"})
    return f"{where or 'body'}: {fault['msg']}"


async def _find(query: QueryPort, incident: str) -> Incident:
    found = await query.find_incident(incident)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no incident {incident}")
    return found


async def _timeline(query: QueryPort, incident: str) -> Sequence[Any]:
    return [view_event(event) for event in await query.timeline(incident)]


def _view(query: QueryPort, incident: Incident) -> dict[str, Any]:
    return view_incident(merge_live(incident, query.live_state))
