"""The API's mitigations, post-mortems and drill. Part of `api`; that mitigating bears the write token, `site` has checked."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI  # noqa: TC002 - FastAPI evaluates the annotations of its routes
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from detector.web.drill import add_drill
from detector.web.link import find_there
from detector.web.postmortem import add_postmortems

if TYPE_CHECKING:
    from detector.domain.incident import MitigationRun
    from detector.domain.mitigation import Offer
    from detector.ports.aid import Aid
    from detector.ports.query import Query as QueryPort


class RunModel(BaseModel):
    """One run of a mitigation; `ended` null: it runs, or its end was never seen."""

    name: str
    by: str
    started: float
    ended: float | None
    outcome: str


class OfferModel(BaseModel):
    """A way to stop the bleeding: `run` is the argument list; `running`: one is under way."""

    name: str
    summary: str
    run: list[str]
    timeout: float
    running: bool
    runs: list[RunModel]


class MitigationOrder(BaseModel):
    """Which one, and who runs it. `again`: although it was run before."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    by: Annotated[str, Field(min_length=1, max_length=200)]
    again: bool = False


def add_aid(api: FastAPI, query: QueryPort, aid: Aid) -> None:
    """Add the routes."""
    _add_mitigations(api, query, aid)
    add_postmortems(api, query, aid)
    add_drill(api, aid)


def _add_mitigations(api: FastAPI, query: QueryPort, aid: Aid) -> None:
    @api.get("/api/v1/incidents/{incident}/mitigations", response_model=list[OfferModel])
    async def offers(incident: str) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse([_view_offer(offer) for offer in await aid.list_offers(incident)])

    @api.post("/api/v1/incidents/{incident}/mitigate", response_model=RunModel, status_code=HTTPStatus.ACCEPTED)
    async def mitigate(incident: str, order: MitigationOrder) -> JSONResponse:
        await find_there(query, incident)
        changed = await aid.mitigate(incident, order.name, order.by, again=order.again)
        return JSONResponse(_view_run(changed.mitigations[-1]), HTTPStatus.ACCEPTED)


def _view_offer(offer: Offer) -> dict[str, Any]:
    return {
        "name": offer.way.name,
        "summary": offer.way.summary,
        "run": list(offer.way.run),
        "timeout": offer.way.timeout_seconds,
        "running": offer.running,
        "runs": [_view_run(run) for run in offer.runs],
    }


def _view_run(run: MitigationRun) -> dict[str, Any]:
    return {"name": run.name, "by": run.by, "started": run.started, "ended": run.ended, "outcome": run.outcome}
