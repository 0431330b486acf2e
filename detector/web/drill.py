"""The API's drill: started, and looked at. Part of `api`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI  # noqa: TC002 - FastAPI evaluates the annotations of its routes
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from detector.web.document import may
from detector.web.model import Name

if TYPE_CHECKING:
    from detector.domain.exercise import DrillReport
    from detector.ports.aid import Aid


class HopResultModel(BaseModel):
    """How one channel did; `ok` null: still under way."""

    channel: str
    route: str
    ok: bool | None
    detail: str


class DrillModel(BaseModel):
    """The last drill since the start; `passed` null while it runs or none was. `last_success` counts earlier ones, too."""

    id: str
    at: float | None
    by: str
    passed: bool | None
    last_success: float | None
    hops: list[HopResultModel]


class DrillOrder(BaseModel):
    """Who asks for it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name


def add_drill(api: FastAPI, aid: Aid) -> None:
    """Add the routes."""

    @api.post("/api/v1/drill", response_model=DrillModel, status_code=HTTPStatus.ACCEPTED, responses=may(HTTPStatus.CONFLICT))
    async def start(order: DrillOrder) -> JSONResponse:
        return JSONResponse(_view(await aid.start_drill(order.by), None), HTTPStatus.ACCEPTED)

    @api.get("/api/v1/drill", response_model=DrillModel)
    async def show() -> JSONResponse:
        return JSONResponse(_view(*await aid.read_drill()))


def _view(report: DrillReport | None, last_success: float | None) -> dict[str, Any]:
    if report is None:
        return {"id": "", "at": None, "by": "", "passed": None, "last_success": last_success, "hops": []}
    return {
        "id": report.id,
        "at": report.at,
        "by": report.by,
        "passed": report.passed,
        "last_success": last_success,
        "hops": [{"channel": hop.channel, "route": hop.route, "ok": hop.ok, "detail": hop.detail} for hop in report.hops],
    }
