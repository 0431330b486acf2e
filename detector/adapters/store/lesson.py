"""Where post-mortems stand, and what became of an incident's notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from detector.adapters.store.schema import clean_text, outbox, postmortem
from detector.adapters.store.statement import replace_rows
from detector.domain.incident import NoticeKind
from detector.domain.postmortem import Hop, Lesson
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_SEVERITIES = {severity.rank: severity.value for severity in Severity}


async def save_lesson(connection: AsyncConnection, lesson: Lesson) -> None:
    """Write it; one of the same incident is replaced."""
    row = {
        "incident": lesson.incident,
        "due": lesson.due,
        "finished_at": lesson.finished,
        "finished_by": lesson.finished_by or None,
        "reminded_at": lesson.reminded,
    }
    await connection.execute(replace_rows(connection.dialect.name, postmortem), [row])


async def find_lesson(connection: AsyncConnection, incident: str) -> Lesson | None:
    """That of the incident."""
    row = (await connection.execute(select(postmortem).where(postmortem.c.incident == clean_text(incident)))).first()
    return None if row is None else _read(row)


async def list_lessons(connection: AsyncConnection, limit: int) -> Sequence[Lesson]:
    """Those that are not finished, the one due first standing first."""
    query = select(postmortem).where(postmortem.c.finished_at.is_(None)).order_by(postmortem.c.due, postmortem.c.incident)
    return [_read(row) for row in await connection.execute(query.limit(limit))]


async def list_hops(connection: AsyncConnection, incident: str) -> Sequence[Hop]:
    """Every notice of the incident, in the order they were queued."""
    query = select(outbox).where(outbox.c.incident == clean_text(incident)).order_by(outbox.c.seq)
    return [
        Hop(
            NoticeKind(row.kind),
            row.channel,
            row.route,
            row.key,
            row.state,
            _SEVERITIES.get(row.rank, ""),
            row.created,
            row.attempts,
            row.first_attempt,
            row.delivered_at,
            row.error,
        )
        for row in await connection.execute(query)
    ]


def _read(row: Row[Any]) -> Lesson:
    return Lesson(row.incident, row.due, row.finished_at, row.finished_by or "", row.reminded_at)
