"""The API's deploys: told by whatever deploys, listed newest first. Part of `api`."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI  # noqa: TC002 - FastAPI evaluates the annotations of its routes
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from detector.domain.deploy import Deploy
from detector.web.link import Limit  # noqa: TC001 - as above

if TYPE_CHECKING:
    from detector.ports.query import Desk
    from detector.ports.query import Query as QueryPort

_LATEST = 1e11


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

    model_config = ConfigDict(extra="forbid")

    service: Annotated[str, Field(min_length=1, max_length=300)]
    version: Annotated[str, Field(min_length=1, max_length=300)]
    at: Annotated[float | None, Field(ge=0, lt=_LATEST, allow_inf_nan=False)] = None
    by: Annotated[str, Field(max_length=200)] = ""
    url: Annotated[str, Field(max_length=2000, pattern=r"^(https?://\S+)?$")] = ""


def add_deploys(api: FastAPI, query: QueryPort, desk: Desk) -> None:
    """Add the routes."""

    @api.post("/api/v1/deploys", response_model=DeployModel, status_code=HTTPStatus.CREATED)
    async def add(news: DeployNews) -> JSONResponse:
        at = time.time() if news.at is None else news.at
        told = Deploy(news.service, news.version, at, news.by, news.url)
        await desk.add_deploy(told)
        return JSONResponse(_view(told), HTTPStatus.CREATED)

    @api.get("/api/v1/deploys", response_model=list[DeployModel])
    async def show(service: str | None = None, since: float = 0.0, until: float = _LATEST, limit: Limit = 100) -> JSONResponse:
        return JSONResponse([_view(told) for told in await query.list_deploys(service, since, until, limit)])


def _view(told: Deploy) -> dict[str, Any]:
    return {"id": told.id, "service": told.service, "version": told.version, "at": told.at, "by": told.by, "url": told.url}
