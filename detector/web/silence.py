"""The API's silences and leases, with the maintenance windows beside them: listed, added, renewed, ended early.

Part of `api`, which answers what is raised here that is not a SilenceError.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from detector.domain.mute import MuteKind
from detector.domain.silence import MAXIMUM_NAME, MAXIMUM_REASON, MuteRequest, MuteStatus, SilenceError, UnknownMuteError
from detector.web.document import UNFIT, answer_problem
from detector.web.link import PAGED, Cursor, Limit, link_next
from detector.web.model import NOT_BLANK, Name

if TYPE_CHECKING:
    from detector.ports.query import Desk, MuteReport
    from detector.ports.query import Query as QueryPort

StatusWord = Literal["active", "pending", "ended"]


class SilenceModel(BaseModel):
    """A silence, a lease or one occurrence of a maintenance window. Times are unix seconds."""

    id: str
    kind: Literal["silence", "window", "lease"]
    status: StatusWord
    matchers: list[str]
    starts: float
    ends: float
    author: str
    reason: str
    created: float | None
    expired: float | None
    expired_by: str
    mutes: list[str] = Field(description="Ids of the incidents that it mutes now.")


class Wish(BaseModel):
    """A silence or lease to be. Exactly one of `duration` and `ends`; times are unix seconds or ISO 8601 with a zone.

    What a schema cannot say (the end lies ahead, the matchers parse) is 422 all the same.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    matchers: Annotated[
        list[Annotated[str, Field(json_schema_extra={"minLength": 3})]] | Annotated[str, Field(json_schema_extra={"minLength": 3})],
        Field(description='As amtool takes them: service=checkout, severity=~"low|medium".', examples=[["service=checkout"]]),
    ]
    reason: Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": MAXIMUM_REASON}, examples=["new database"])]
    author: Annotated[str, Field(json_schema_extra={"maxLength": MAXIMUM_NAME}, examples=["ann"])] = ""
    by: Annotated[
        str, Field(description="The same as author; one of them is given.", json_schema_extra={"maxLength": MAXIMUM_NAME})
    ] = ""
    duration: Annotated[str, Field(description="E.g. 30m, 2h, 1d12h.", examples=["2h"])] = ""
    ends: float | str | None = None
    starts: float | str | None = None
    lease: Annotated[bool, Field(description="Of a job, which renews it by its id and lets it lapse.")] = False
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,100}$", description="A silence to change; a lease to make or renew.")] = (
        ""
    )


class Expiry(BaseModel):
    """Who ends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name


def add_silences(api: FastAPI, query: QueryPort, desk: Desk) -> None:
    """Add the routes."""
    _add_list(api, query)

    @api.post("/api/v1/silences", response_model=SilenceModel, status_code=HTTPStatus.CREATED, responses=UNFIT)
    async def add(wish: Wish) -> JSONResponse:
        kept = await desk.add_mute(_read_wish(wish))
        return JSONResponse(_view(query.report_mute(kept)), HTTPStatus.CREATED)

    async def end(identity: str, by: str) -> JSONResponse:
        return JSONResponse(_view(query.report_mute(await desk.expire_mute(identity, by))))

    @api.post("/api/v1/silences/{identity}/expire", response_model=SilenceModel, responses=UNFIT)
    async def expire(identity: str, expiry: Expiry) -> JSONResponse:
        return await end(identity, expiry.by)

    @api.delete("/api/v1/silences/{identity}", response_model=SilenceModel, responses=UNFIT)
    async def delete(identity: str, by: Annotated[str, Query(min_length=1, max_length=200, pattern=NOT_BLANK)]) -> JSONResponse:
        return await end(identity, by)

    @api.exception_handler(SilenceError)
    async def refuse(_: Request, error: SilenceError) -> JSONResponse:
        return answer_problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @api.exception_handler(UnknownMuteError)
    async def refuse_unknown(_: Request, error: UnknownMuteError) -> JSONResponse:
        return answer_problem(HTTPStatus.NOT_FOUND, str(error))


def _add_list(api: FastAPI, query: QueryPort) -> None:
    @api.get("/api/v1/silences", response_model=list[SilenceModel], responses=PAGED)
    async def list_silences(
        request: Request,
        status: Annotated[list[StatusWord], Query()] = ["active", "pending"],  # noqa: B006 - FastAPI copies it
        limit: Limit = 100,
        cursor: Cursor = 0,
    ) -> JSONResponse:
        found = await query.list_mutes({MuteStatus(word) for word in status}, cursor + limit + 1)
        following = str(cursor + limit) if len(found) > cursor + limit else None
        return JSONResponse([_view(report) for report in found[cursor : cursor + limit]], headers=link_next(request, following))


def _read_wish(wish: Wish) -> MuteRequest:
    if wish.author and wish.by and wish.author != wish.by:
        raise SilenceError("give either `author` or `by`, not both")
    return MuteRequest(
        matchers=(wish.matchers,) if isinstance(wish.matchers, str) else tuple(wish.matchers),
        author=wish.author or wish.by,
        reason=wish.reason,
        duration=wish.duration,
        ends=wish.ends,
        starts=wish.starts,
        lease=wish.lease,
        id=wish.id,
    )


def _view(report: MuteReport) -> dict[str, Any]:
    kept = report.kept
    held = kept.held
    return {
        "id": held.id,
        "kind": held.kind.value,
        "status": report.status.value,
        "matchers": [str(matcher) for matcher in held.matchers],
        "starts": held.starts,
        "ends": held.ends,
        "author": held.author,
        "reason": held.reason,
        "created": None if held.kind is MuteKind.WINDOW else kept.created,
        "expired": kept.expired,
        "expired_by": kept.expired_by,
        "mutes": list(report.muted),
    }
