"""Incidents as the API lists them: by filter, newest first, page by page; one by id; its timeline.

The order is (opened, id) downwards. Neither ever changes for an incident, so a page that follows a cursor neither repeats nor skips
one because new incidents came meanwhile.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from sqlalchemy import Select, func, or_, select

from detector.adapters.store import codec
from detector.adapters.store.schema import event, incident, rule_set
from detector.domain.incident import Event, Incident, Status
from detector.ports.error import CursorError
from detector.ports.store import IncidentFilter, IncidentPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


async def list_incidents(connection: AsyncConnection, wanted: IncidentFilter) -> IncidentPage:
    """One page; CursorError for a cursor that no page gave."""
    limit = max(1, wanted.limit)
    rows = (await connection.execute(_select_page(wanted, limit + 1))).all()
    page = tuple(codec.decode_incident(row.document) for row in rows[:limit])
    last = rows[limit - 1] if len(rows) > limit else None
    return IncidentPage(page, write_cursor(last.opened, last.id) if last else None)


async def find_incident(connection: AsyncConnection, identity: str) -> Incident | None:
    """One incident, open or not."""
    document = (await connection.execute(select(incident.c.document).where(incident.c.id == identity))).scalar()
    return None if document is None else codec.decode_incident(document)


async def read_timeline(connection: AsyncConnection, identity: str) -> Sequence[Event]:
    """Events of one incident, oldest first."""
    query = select(event).where(event.c.incident == identity).order_by(event.c.at, event.c.seq)
    return [Event(row.incident, row.at, row.actor, row.kind, row.message) for row in await connection.execute(query)]


async def read_rules(connection: AsyncConnection) -> dict[str, str] | None:
    """The rule files that were last saved, by relative path."""
    files = (await connection.execute(select(rule_set.c.files).order_by(rule_set.c.at.desc()).limit(1))).scalar()
    return None if files is None else codec.decode_files(files)


def write_cursor(opened: float, identity: str) -> str:
    """Opaque text for the place right after this incident."""
    return base64.urlsafe_b64encode(f"{opened!r} {identity}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, str]:
    """Place that `write_cursor` wrote."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        opened, _, identity = text.partition(" ")
        return float(opened), identity
    except (ValueError, binascii.Error):
        raise CursorError("cursor: not one that a page of incidents gave; begin again without a cursor") from None


def _select_page(wanted: IncidentFilter, limit: int) -> Select[tuple[float, str, str]]:
    """The ids by the covering index, then the documents of those only: a history of years is passed over unread."""
    order = incident.c.opened.desc(), incident.c.id.desc()
    query = select(incident.c.id)
    if wanted.status:
        # nearly all are closed: the index of the status would find them all and sort them. An expression is none of its keys
        status = func.coalesce(incident.c.status, "") if Status.CLOSED.value in wanted.status else incident.c.status
        query = query.where(status.in_(wanted.status))
    if wanted.severity:
        query = query.where(incident.c.severity.in_(wanted.severity))
    if wanted.service is not None:
        query = query.where(incident.c.service == wanted.service)
    if wanted.cursor is not None:
        opened, identity = read_cursor(wanted.cursor)
        older = incident.c.opened < opened
        # the first term alone bounds the index; the second is for those of the very same moment
        query = query.where(incident.c.opened <= opened, or_(older, incident.c.id < identity))
    found = query.order_by(*order).limit(limit).subquery()
    listed = incident.join(found, incident.c.id == found.c.id)
    return select(incident.c.opened, incident.c.id, incident.c.document).select_from(listed).order_by(*order)
