"""What one commit writes: alert states, incidents, timeline and notices; and what a start reads back.

Encoding happens before the transaction begins, so that the book lock is held for the writing only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Row, Select, or_, select, update

from detector.adapters.store import codec
from detector.adapters.store.schema import alert, book, event, incident, outbox, progress
from detector.adapters.store.statement import CHUNK, add_rows, delete_rows, replace_rows, write_rows
from detector.domain.incident import FIXED_IDS, Book, Event, Incident, Notice, NoticeKind, Status
from detector.domain.label import Labels, digest_labels, digest_parts
from detector.domain.shard import find_shard
from detector.ports.store import AlertRecord, DeliveryState, Memory

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.domain.alert import AlertState, RuleProgress

T = TypeVar("T")
OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE})
Unreadable = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AlertRows:
    """Alert records as rows: those to write and the ids of those to delete."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    gone: list[dict[str, Any]] = field(default_factory=list)

    async def write(self, connection: AsyncConnection) -> None:
        """Write them all."""
        await write_rows(connection, delete_rows(alert), self.gone)
        await write_rows(connection, replace_rows(connection.dialect.name, alert), self.kept)


async def encode_alerts(records: Sequence[AlertRecord]) -> AlertRows:
    """Rows of the records, the last of each alert; the loop turns between chunks."""
    latest: dict[str, AlertRecord] = {}
    rows = AlertRows()
    for record in records:
        latest[digest_labels(record.rule, record.labels)] = record
    for number, (identity, record) in enumerate(latest.items()):
        if record.state is None:
            rows.gone.append({"gone": identity})
        else:
            rows.kept.append({"id": identity, "rule": record.rule, "document": codec.encode(record.state)})
        if number % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
    return rows


async def lock_book(connection: AsyncConnection) -> int:
    """Wait for the one row that every commit locks; SQLite's BEGIN IMMEDIATE has done the same already. The revision so far."""
    return int((await connection.execute(select(book.c.revision).with_for_update())).scalar_one())


async def advance_revision(connection: AsyncConnection) -> int:
    """Tell other processes that something was committed; the new revision, 0 on SQLite, where there are none."""
    if connection.dialect.name != "postgresql":
        return 0
    advanced = update(book).values(revision=book.c.revision + 1).returning(book.c.revision)
    return int((await connection.execute(advanced)).scalar_one())


async def read_revision(connection: AsyncConnection) -> int:
    """How often anybody committed."""
    return int((await connection.execute(select(book.c.revision))).scalar_one())


async def read_book(
    connection: AsyncConnection, unreadable: Unreadable, decode: Callable[[str], Incident] = codec.decode_incident
) -> Book:
    """Every incident that is not closed, and those of a fixed id even then: they come back as their next episode."""
    wanted = or_(incident.c.status != Status.CLOSED.value, incident.c.id.in_(sorted(FIXED_IDS)))
    query = select(incident.c.id, incident.c.document).where(wanted).order_by(incident.c.id)
    incidents = await _read(connection, query, decode, unreadable)
    return Book({found.id: found for _, found in incidents})


async def read_memory(connection: AsyncConnection, unreadable: Unreadable) -> Memory:
    """Everything that a start needs, from one snapshot."""
    memory = await read_alerts(connection, None, unreadable)
    open_now = await read_book(connection, unreadable)
    return Memory(memory.alerts, memory.progress, open_now.incidents)


async def read_alerts(connection: AsyncConnection, rules: Collection[str] | str | None, unreadable: Unreadable) -> Memory:
    """Alert states and progress of these rules, None for all, a string for those whose names begin so; no incidents."""
    states, reached = select(alert.c.rule, alert.c.document), select(progress.c.rule, progress.c.document)
    if isinstance(rules, str):
        states = states.where(alert.c.rule.startswith(rules, autoescape=True))
        reached = reached.where(progress.c.rule.startswith(rules, autoescape=True))
    elif rules is not None:
        wanted = sorted(rules)
        states, reached = states.where(alert.c.rule.in_(wanted)), reached.where(progress.c.rule.in_(wanted))
    alerts: dict[str, dict[Labels, AlertState]] = {}
    for row, state in await _read(connection, states, codec.decode_alert, unreadable):
        alerts.setdefault(row.rule, {})[state.labels] = state
    found = await _read(connection, reached, codec.decode_progress, unreadable)
    return Memory(alerts, {value.rule: value for _, value in found})


async def write_progress(connection: AsyncConnection, values: Iterable[RuleProgress]) -> None:
    """How far each rule has come."""
    rows = [{"rule": value.rule, "document": codec.encode(value)} for value in values]
    await write_rows(connection, replace_rows(connection.dialect.name, progress), rows)


async def write_incidents(connection: AsyncConnection, values: Iterable[Incident]) -> list[str]:
    """Incidents as they are now; their documents."""
    rows = [_incident_row(value) for value in values]
    await write_rows(connection, replace_rows(connection.dialect.name, incident), rows)
    return [row["document"] for row in rows]


async def write_events(connection: AsyncConnection, values: Iterable[Event]) -> None:
    """Lines of the timeline; one that is there already is not repeated."""
    await write_rows(connection, add_rows(connection.dialect.name, event), [_event_row(value) for value in values])


async def write_notices(connection: AsyncConnection, values: Iterable[Notice], *, sent: Collection[str] = ()) -> None:
    """Notices into the outbox; one that is there already stays as it is. Those with an id in `sent` count as tried once."""
    rows = [_notice_row(value, attempts=int(value.id in sent)) for value in values]
    await write_rows(connection, add_rows(connection.dialect.name, outbox), rows)


def _incident_row(value: Incident) -> Mapping[str, Any]:
    return {
        "id": value.id,
        "shard": find_shard(value.id),
        "status": value.status.value,
        "severity": value.severity.value,
        "service": value.service,
        "opened": value.opened,
        "detected": value.detected,
        "closed": value.closed,
        "due": value.due,
        "document": codec.encode(value),
    }


def _event_row(value: Event) -> Mapping[str, Any]:
    return {
        "id": digest_parts([value.incident, repr(value.at), value.actor, value.kind, value.message]),
        "incident": value.incident,
        "at": value.at,
        "actor": value.actor,
        "kind": value.kind,
        "message": value.message,
    }


def _notice_row(value: Notice, *, attempts: int) -> Mapping[str, Any]:
    return {
        "id": value.id,
        "incident": value.incident,
        "shard": find_shard(value.incident),
        "channel": value.channel,
        "route": value.route,
        "key": value.key,
        "kind": value.kind.value,
        "rank": value.severity.rank,
        "state": DeliveryState.QUEUED.value,
        "attempts": attempts,
        "created": value.at,
        "error": "",
        "document": codec.encode(value),
    }


async def _read(
    connection: AsyncConnection, query: Select[Any], decode: Callable[[str], T], unreadable: Unreadable
) -> list[tuple[Row[Any], T]]:
    found: list[tuple[Row[Any], T]] = []
    for number, row in enumerate(await connection.execute(query)):
        try:
            found.append((row, decode(row.document)))
        except codec.UnreadableError as error:  # one damaged row must not keep all others from being watched
            unreadable(f"a row of {query.get_final_froms()[0]} cannot be read and was passed over: {row[0]}: {error}")
        if number % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
    return found
