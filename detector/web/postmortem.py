"""The API's post-mortems, follow-ups, and how an incident's notices fared. Part of `api`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI  # noqa: TC002 - FastAPI evaluates the annotations of its routes
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from detector.web.document import GONE, UNFIT
from detector.web.link import find_there
from detector.web.model import Name

if TYPE_CHECKING:
    from detector.domain.postmortem import Hop, Lesson
    from detector.ports.aid import Aid
    from detector.ports.query import Query as QueryPort


class PostmortemModel(BaseModel):
    """Where it stands, and its text; `markdown` null: not drafted yet, or drafted on another machine."""

    incident: str
    due: float | None
    finished: float | None
    finished_by: str
    markdown: str | None
    plot: str | None


class FollowUpModel(BaseModel):
    """One line under "Follow-up" of a post-mortem."""

    incident: str
    text: str
    done: bool


class HopModel(BaseModel):
    """One notice on its way to one destination."""

    kind: str
    channel: str
    route: str
    key: str
    state: str
    severity: str
    queued: float
    attempts: int
    first_attempt: float | None
    delivered: float | None
    error: str


class Finish(BaseModel):
    """Who has filled it in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name


def add_postmortems(api: FastAPI, query: QueryPort, aid: Aid) -> None:
    """Add the routes."""

    @api.get("/api/v1/incidents/{incident}/postmortem", response_model=PostmortemModel, responses=GONE)
    async def show(incident: str) -> JSONResponse:
        await find_there(query, incident)
        text, plot, lesson = await aid.read_postmortem(incident)
        return JSONResponse({**_view(incident, lesson), "markdown": text, "plot": plot})

    @api.post(
        "/api/v1/incidents/{incident}/postmortem/done",
        response_model=PostmortemModel,
        responses=UNFIT,
    )
    async def finish(incident: str, done: Finish) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse(_view(incident, await aid.finish_postmortem(incident, done.by)) | {"markdown": None, "plot": None})

    @api.get("/api/v1/follow-ups", response_model=list[FollowUpModel])
    async def follow_ups() -> JSONResponse:
        found = await aid.list_follow_ups()
        return JSONResponse([{"incident": item.incident, "text": item.text, "done": item.done} for item in found])

    @api.get("/api/v1/incidents/{incident}/deliveries", response_model=list[HopModel], responses=GONE)
    async def deliveries(incident: str) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse([_view_hop(hop) for hop in await aid.list_hops(incident)])


def _view(incident: str, lesson: Lesson | None) -> dict[str, Any]:
    if lesson is None:
        return {"incident": incident, "due": None, "finished": None, "finished_by": ""}
    return {"incident": incident, "due": lesson.due, "finished": lesson.finished, "finished_by": lesson.finished_by}


def _view_hop(hop: Hop) -> dict[str, Any]:
    return {
        "kind": hop.kind.value,
        "channel": hop.channel,
        "route": hop.route,
        "key": hop.key,
        "state": hop.state,
        "severity": hop.severity,
        "queued": hop.queued,
        "attempts": hop.attempts,
        "first_attempt": hop.first_attempt,
        "delivered": hop.delivered,
        "error": hop.error,
    }
