"""The API's mitigations, post-mortems, drill and diagnosis. Part of `api`; `site` has checked the write token of who mitigates."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from detector.domain.view import view_diagnosis
from detector.web.document import GONE, UNFIT
from detector.web.drill import add_drill
from detector.web.link import LATEST, find_there
from detector.web.model import NOT_BLANK, DiagnosisModel, Name
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

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK, description="Which, as the offers name it.")]
    by: Name
    again: bool = False


def add_aid(api: FastAPI, query: QueryPort, aid: Aid) -> None:
    """Add the routes."""
    _add_mitigations(api, query, aid)
    add_postmortems(api, query, aid)
    add_drill(api, aid)
    _add_diagnosis(api, aid)


def _add_mitigations(api: FastAPI, query: QueryPort, aid: Aid) -> None:
    @api.get("/api/v1/incidents/{incident}/mitigations", response_model=list[OfferModel], responses=GONE)
    async def offers(incident: str) -> JSONResponse:
        await find_there(query, incident)
        return JSONResponse([_view_offer(offer) for offer in await aid.list_offers(incident)])

    @api.post(
        "/api/v1/incidents/{incident}/mitigate",
        response_model=RunModel,
        status_code=HTTPStatus.ACCEPTED,
        responses=UNFIT,
    )
    async def mitigate(incident: str, order: MitigationOrder) -> JSONResponse:
        await find_there(query, incident)
        changed = await aid.mitigate(incident, order.name, order.by, again=order.again)
        return JSONResponse(_view_run(changed.mitigations[-1]), HTTPStatus.ACCEPTED)


def _add_diagnosis(api: FastAPI, aid: Aid) -> None:
    @api.get("/api/v1/diagnosis", response_model=DiagnosisModel)
    async def diagnose(
        service: Annotated[str, Query(min_length=1, max_length=300, description="As rules and catalogue name it.")],
        at: Annotated[
            float | None, Query(ge=0, le=LATEST, allow_inf_nan=False, description="Unix seconds; now unless given.")
        ] = None,
    ) -> JSONResponse:
        return JSONResponse(view_diagnosis(await aid.diagnose(service, at)))


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
