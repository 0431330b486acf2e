"""The API under /api/v1, by FastAPI: incidents, alerts, rules, silences. Imported when it is first asked.

Access was checked and the body read by `site`. Answers are built by domain.view; the models here describe them in OpenAPI.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from detector.domain.response import ResponseError
from detector.domain.view import merge_live, view_alert, view_event, view_incident
from detector.ports.error import OutsideError
from detector.ports.query import Action
from detector.ports.store import IncidentFilter
from detector.web.aid import add_aid
from detector.web.deploy import add_deploys
from detector.web.document import GONE, UNFIT, answer_problem, describe, may
from detector.web.link import MAX_LIMIT, PAGED, Cursor, Limit, Service, find_there, link_next
from detector.web.model import (
    AlertModel,
    EventModel,
    IncidentDetailModel,
    IncidentModel,
    Response,
    RuleModel,
    SeverityWord,
    StatusWord,
    Tick,
    Update,
    Words,
)
from detector.web.silence import add_silences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.incident import Incident
    from detector.ports.aid import Aid
    from detector.ports.query import Desk
    from detector.ports.query import Query as QueryPort
    from detector.web.access import Access

AT_ONCE = 100


def make_api(query: QueryPort, desk: Desk, version: str, access: Access, aid: Aid | None = None) -> FastAPI:
    """Build the application. `access` was checked before; the document says what it asks for."""
    api = FastAPI(
        title="detector",
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    _add_faults(api)
    _add_incidents(api, query)
    _add_actions(api, query, desk)
    _add_state(api, query)
    add_silences(api, query, desk)
    add_deploys(api, query, desk)
    if aid is not None:
        add_aid(api, query, aid)
    describe(api, access)
    return api


def _add_incidents(api: FastAPI, query: QueryPort) -> None:
    @api.get("/api/v1/incidents", response_model=list[IncidentModel], responses=PAGED | may(HTTPStatus.BAD_REQUEST))
    async def list_incidents(
        request: Request,
        status: Annotated[list[StatusWord], Query()] = [],  # noqa: B006 - FastAPI copies it
        severity: Annotated[list[SeverityWord], Query()] = [],  # noqa: B006 - as above
        service: Service = None,
        limit: Limit = 100,
        cursor: Annotated[str | None, Query(max_length=500, description="Where the last page's Link header leads.")] = None,
    ) -> JSONResponse:
        wanted = IncidentFilter(tuple(status), tuple(severity), service, limit, cursor)
        try:
            page = await query.list_incidents(wanted)
        except ValueError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "cursor is not one that this daemon gave") from None
        shown = []
        for number, incident in enumerate(page.incidents, 1):
            shown.append(_view(query, incident))
            if number % AT_ONCE == 0:  # a page of a thousand is long on the loop that evaluates rules
                await asyncio.sleep(0)
        return JSONResponse(shown, headers=link_next(request, page.cursor))

    @api.get("/api/v1/incidents/{incident}", response_model=IncidentDetailModel, responses=GONE)
    async def show_incident(incident: str) -> JSONResponse:
        found = await find_there(query, incident)
        return JSONResponse(_view(query, found) | {"timeline": await _timeline(query, incident)})

    @api.get("/api/v1/incidents/{incident}/timeline", response_model=list[EventModel], responses=GONE)
    async def show_timeline(incident: str) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse(await _timeline(query, incident))


def _add_actions(api: FastAPI, query: QueryPort, desk: Desk) -> None:
    async def act(incident: str, action: Action, response: Response) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse(_view(query, await desk.respond(incident, action, response.by, response.text)))

    @api.post("/api/v1/incidents/{incident}/acknowledge", response_model=IncidentModel, responses=UNFIT)
    async def acknowledge(incident: str, response: Response) -> JSONResponse:
        return await act(incident, Action.ACKNOWLEDGE, response)

    @api.post("/api/v1/incidents/{incident}/resolve", response_model=IncidentModel, responses=UNFIT)
    async def resolve(incident: str, response: Response) -> JSONResponse:
        return await act(incident, Action.RESOLVE, response)

    @api.post("/api/v1/incidents/{incident}/note", response_model=IncidentModel, responses=UNFIT)
    async def note(incident: str, response: Words) -> JSONResponse:
        return await act(incident, Action.NOTE, response)

    @api.post("/api/v1/incidents/{incident}/cause", response_model=IncidentModel, responses=UNFIT)
    async def cause(incident: str, response: Words) -> JSONResponse:
        return await act(incident, Action.CAUSE, response)

    @api.post("/api/v1/incidents/{incident}/update", response_model=IncidentModel, responses=UNFIT)
    async def update(incident: str, news: Update) -> JSONResponse:
        await find_there(query, incident)
        told = await desk.update(incident, news.by, message=news.message, eta=news.eta, state=news.state)
        return JSONResponse(_view(query, told))

    @api.post("/api/v1/incidents/{incident}/tick", response_model=IncidentModel, responses=UNFIT)
    async def tick(incident: str, seen: Tick) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse(_view(query, await desk.tick(incident, seen.by, seen.item)))


def _add_state(api: FastAPI, query: QueryPort) -> None:
    @api.get("/api/v1/alerts", response_model=list[AlertModel], responses=PAGED)
    async def list_alerts(
        request: Request,
        rule: Annotated[str | None, Query(max_length=300)] = None,
        service: Service = None,
        state: Literal["pending", "firing"] | None = None,
        limit: Limit = MAX_LIMIT,
        cursor: Cursor = 0,
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
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = _list_methods(api, request.url.path)
            return answer_problem(error.status_code, f"{request.url.path} answers {allowed} only", {"Allow": allowed})
        detail = error.detail if error.status_code != HTTPStatus.NOT_FOUND or error.detail != "Not Found" else "nothing is there"
        return answer_problem(error.status_code, detail, error.headers)

    @api.exception_handler(RequestValidationError)
    async def refuse_input(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer_problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(_say_fault(fault) for fault in error.errors()))

    @api.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> JSONResponse:
        return answer_problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of ours; the log has it")

    @api.exception_handler(ResponseError)
    async def refuse_action(_: Request, error: ResponseError) -> JSONResponse:
        return answer_problem(HTTPStatus.CONFLICT, str(error))

    @api.exception_handler(OutsideError)
    async def refuse_now(_: Request, error: OutsideError) -> JSONResponse:
        return answer_problem(
            HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer: {error}; try again", {"Retry-After": "5"}
        )


def _list_methods(api: FastAPI, path: str) -> str:
    """Of all routes there: the router knows only the first that fits."""
    there = [route for route in api.routes if isinstance(route, Route) and route.path_regex.match(path)]
    methods = {method for route in there for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))  # `site` asks GET for a HEAD


def _say_fault(fault: Any) -> str:  # noqa: ANN401 - a dict of pydantic's
    where = ".".join(str(part) for part in fault["loc"] if part not in {"body", "query", "path"})
    return f"{where or 'body'}: {fault['msg']}"


async def _timeline(query: QueryPort, incident: str) -> Sequence[Any]:
    return [view_event(event) for event in await query.timeline(incident)]


def _view(query: QueryPort, incident: Incident) -> dict[str, Any]:
    return view_incident(merge_live(incident, query.live_state))
