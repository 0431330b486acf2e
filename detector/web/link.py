"""Lists by page: how long a page may be, and the next one as the Link header of RFC 8288 names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import Query

if TYPE_CHECKING:
    from fastapi import Request

MAX_LIMIT = 1000
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


def link_next(request: Request, cursor: str | None) -> dict[str, str]:
    """Headers that lead to the page at `cursor` with the same filter; none where this was the last."""
    if cursor is None:
        return {}
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'}
