"""The OpenAPI document made true: what every operation may refuse, as which problem, and whom it answers.

Before it: the routes name the refusals of their own (`may`). Here come those of everybody: `site` checks tokens and bounds before a
route is reached, and a store that is down is 503 wherever it is asked.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse

from detector.web.exchange import PROBLEM_TYPE, describe_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

    from detector.web.access import Access

READ, WRITE = "readToken", "writeToken"
_WORDS = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read.",
    HTTPStatus.UNAUTHORIZED: "A token is needed, or this is none.",
    HTTPStatus.FORBIDDEN: "The token does not allow it; or, without one, where the request comes from does not.",
    HTTPStatus.NOT_FOUND: "There is none of that id.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not come in time.",
    HTTPStatus.CONFLICT: "It does not fit how things stand; `detail` says why and what would.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A parameter or the body is wrong; `detail` names it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The store or another part does not answer now.",
}
_WRITING = {"post", "put", "patch", "delete"}
_PROBLEM = {
    "title": "Problem",
    "description": "A refusal as RFC 9457 has it.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong, and what would be right, in one line."},
    },
}


def may(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Refusals of a route, for its `responses`."""
    return {int(status): _describe_refusal(status) for status in statuses}


def _describe_refusal(status: HTTPStatus) -> dict[str, Any]:
    return {"description": _WORDS[status], "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


GONE = may(HTTPStatus.NOT_FOUND)
UNFIT = may(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


def answer_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal, as the document describes it."""
    return JSONResponse(describe_problem(status, detail), status, headers, PROBLEM_TYPE)


def describe(api: FastAPI, access: Access) -> None:
    """Have the application's document say all that holds for every operation."""
    make = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _complete(make(), access)
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change its document


def _complete(document: dict[str, Any], access: Access) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    schemes = {READ: access.read_token, WRITE: access.write_token}
    components["securitySchemes"] = {name: {"type": "http", "scheme": "bearer"} for name, token in schemes.items() if token}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            writes = method in _WRITING
            needed = WRITE if writes else READ
            if schemes[needed]:
                operation["security"] = [{name: []} for name in {needed: None, WRITE: None} if schemes[name]]
            _complete_responses(operation, writes=writes, guarded=bool(schemes[needed]), narrow=path.endswith("/mitigate"))
    return document


def _complete_responses(operation: dict[str, Any], *, writes: bool, guarded: bool, narrow: bool) -> None:
    also = [HTTPStatus.SERVICE_UNAVAILABLE]
    if guarded or narrow:
        also.append(HTTPStatus.UNAUTHORIZED)
    if operation.get("parameters") or writes:
        also.append(HTTPStatus.UNPROCESSABLE_ENTITY)
    if writes:
        also += [HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
        also += [HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.BAD_REQUEST]
    responses = operation["responses"]
    responses.pop("422", None)
    responses.update({str(int(status)): _describe_refusal(status) for status in also})
    operation["responses"] = dict(sorted(responses.items()))
