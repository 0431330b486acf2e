"""Lists by page: how long a page may be, and the next one as the Link header of RFC 8288 names it; one incident by its path."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from fastapi import Request

    from detector.domain.incident import Incident
    from detector.ports.query import Query as QueryPort

MAX_LIMIT = 1000
LATEST = 1e11  # unix seconds; beyond it lies no moment that anybody means
MAX_CURSOR = 1_000_000
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many.")]
Cursor = Annotated[int, Query(ge=0, le=MAX_CURSOR, description="Where the last page's Link header leads.")]
Service = Annotated[str | None, Query(max_length=300)]
PAGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "description": 'The next page, where there is one: </path?cursor=...>; rel="next"',
                "schema": {"type": "string"},
            }
        }
    }
}


def link_next(request: Request, cursor: str | None) -> dict[str, str]:
    """Headers that lead to the page at `cursor` with the same filter; none where this was the last."""
    if cursor is None:
        return {}
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'}


async def find_there(query: QueryPort, incident: str) -> Incident:
    """The incident, or 404."""
    found = await query.find_incident(incident)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no incident {incident}")
    return found
