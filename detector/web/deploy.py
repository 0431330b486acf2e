"""The API's deploys: told by whatever deploys, listed newest first. Part of `api`."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from detector.domain.deploy import Deploy
from detector.web.link import LATEST, Limit, Service
from detector.web.model import HTTP_ADDRESS, NOT_BLANK

if TYPE_CHECKING:
    from detector.ports.query import Desk
    from detector.ports.query import Query as QueryPort

Moment = Annotated[float, Query(ge=0, le=LATEST, allow_inf_nan=False, description="Unix seconds.")]


class DeployModel(BaseModel):
    """A deploy as it was told; `at` in unix seconds."""

    id: str
    service: str
    version: str
    at: float
    by: str
    url: str


class DeployNews(BaseModel):
    """What was deployed. `at` is now unless given (unix seconds)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    service: Annotated[str, Field(min_length=1, max_length=300, pattern=NOT_BLANK)]
    version: Annotated[str, Field(min_length=1, max_length=300, pattern=NOT_BLANK)]
    at: Annotated[float | None, Field(ge=0, lt=LATEST, allow_inf_nan=False)] = None
    by: Annotated[str, Field(max_length=200)] = ""
    url: Annotated[str, Field(max_length=2000, pattern=HTTP_ADDRESS)] = ""


def add_deploys(api: FastAPI, query: QueryPort, desk: Desk) -> None:
    """Add the routes."""

    @api.post("/api/v1/deploys", response_model=DeployModel, status_code=HTTPStatus.CREATED)
    async def add(news: DeployNews) -> JSONResponse:
        at = time.time() if news.at is None else news.at
        told = Deploy(news.service, news.version, at, news.by, news.url)
        await desk.add_deploy(told)
        return JSONResponse(_view(told), HTTPStatus.CREATED)

    @api.get("/api/v1/deploys", response_model=list[DeployModel])
    async def show(service: Service = None, since: Moment = 0.0, until: Moment = LATEST, limit: Limit = 100) -> JSONResponse:
        return JSONResponse([_view(told) for told in await query.list_deploys(service, since, until, limit)])


def _view(told: Deploy) -> dict[str, Any]:
    return {"id": told.id, "service": told.service, "version": told.version, "at": told.at, "by": told.by, "url": told.url}
