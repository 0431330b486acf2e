"""The outbox: notices claimed for sending, what came of each attempt, and triggers that collapse with their resolve.

    queued --claim--> claimed --record--> accepted | rejected
      |  ^               |
      |  +---retry_at----+     (claimed with `retry_at`: may have arrived; queued with it: surely not)
      +--resolve of a key that was never attempted--> collapsed

`attempts` counts claims and never falls, so that whatever may have been sent once can't collapse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Row, and_, case, exists, func, or_, select, update

from detector.adapters.store import codec
from detector.adapters.store.lease import lock_epochs, read_clock
from detector.adapters.store.schema import clean_text, doubt, lease, outbox
from detector.adapters.store.statement import add_rows, write_rows
from detector.domain.incident import Notice, NoticeKind
from detector.ports.store import Backlog, Delivery, DeliveryState, deliver

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

ERROR_LENGTH = 500
CLAIM_SECONDS = 120.0  # beyond any exchange's deadline: whoever claimed so long ago is stuck
SKEW_SECONDS = 5.0  # a claim from further in the future was made before the clock was set back
OPENING = (NoticeKind.TRIGGER.value, NoticeKind.RISE.value, NoticeKind.RELAPSE.value)

_QUEUED = DeliveryState.QUEUED.value
_CLAIMED = DeliveryState.CLAIMED.value
_PENDING = (_QUEUED, _CLAIMED)


async def collapse(connection: AsyncConnection, notices: Iterable[Notice]) -> tuple[Delivery, ...]:
    """Collapse every key that is resolved by `notices` and of which nothing was ever claimed; what collapsed, oldest first.

    A key without any opening row is left alone: its trigger may lie in a database that was lost.
    """
    resolved = {(notice.channel, notice.route, notice.key) for notice in notices if notice.kind is NoticeKind.RESOLVE}
    if not resolved:
        return ()
    wanted = {tuple(map(clean_text, destination)) for destination in resolved}
    groups: dict[tuple[str, ...], list[Row[Any]]] = {}
    for row in (await connection.execute(_rows_of_keys(key for _, _, key in resolved))).all():
        if row.state != DeliveryState.COLLAPSED.value:
            groups.setdefault((row.channel, row.route, row.key), []).append(row)
    untouched = [group for destination, group in groups.items() if destination in wanted and _is_untouched(group)]
    collapsed = [row for group in untouched for row in group]
    for start in range(0, len(collapsed), 500):
        chunk = [row.seq for row in collapsed[start : start + 500]]
        done = update(outbox).where(outbox.c.seq.in_(chunk)).values(state=DeliveryState.COLLAPSED.value)
        await connection.execute(done)
    return tuple(_make_delivery(row, None) for row in sorted(collapsed, key=lambda row: row.seq))


async def claim(
    connection: AsyncConnection, holder: str, channel: str, now: float, limit: int, shards: Collection[int] | None = None
) -> Sequence[Delivery]:
    """Claim up to `limit` due rows of the shards that `holder` holds, and of `shards` where given."""
    rows = (await connection.execute(_due_rows(channel, now, limit, _is_mine(connection, holder, shards)))).all()
    if not rows:
        return ()
    epochs = await lock_epochs(connection, holder, (row.shard for row in rows))
    mine = [row for row in rows if row.shard in epochs]
    await _note_doubts(connection, holder, mine)
    credentials = await _read_credentials(connection, channel, {row.key for row in mine})
    deliveries = []
    for row in mine:
        taken: dict[str, Any]
        try:
            deliveries.append(_make_delivery(row, credentials.get((row.route, row.key)), epochs[row.shard]))
            taken = {"state": _CLAIMED, "attempts": row.attempts + 1, "retry_at": None, "claimed_at": now}
            taken |= {"claimed_by": holder, "claim_epoch": epochs[row.shard], "first_attempt": row.first_attempt or now}
        except codec.UnreadableError as error:  # saved from a damaged file: it must not block its successors for ever
            taken = {"state": DeliveryState.REJECTED.value, "error": f"unreadable: {error}"[:ERROR_LENGTH]}
        await connection.execute(update(outbox).where(outbox.c.seq == row.seq).values(taken))
    return deliveries


async def record(connection: AsyncConnection, delivery: Delivery, values: Mapping[str, Any], credential: str) -> None:
    """Write what came of an attempt; a row that has come to its end stays as it is.

    An opening keeps its credential whatever came of it, for it may have arrived; any other notice only once it was accepted.
    """
    written = dict(values)
    ours = outbox.c.id == delivery.id
    if delivery.epoch is not None and values["state"] in _PENDING:  # whoever claimed it since knows better how it stands
        ours = and_(ours, or_(outbox.c.claim_epoch == delivery.epoch, outbox.c.claim_epoch.is_(None)))
    if credential and (delivery.kind.value in OPENING or values["state"] == DeliveryState.ACCEPTED.value):
        written["credential"] = credential
    await connection.execute(update(outbox).where(ours, outbox.c.state.in_(_PENDING)).values(written))


def outcome_values(state: DeliveryState, now: float, retry_at: float | None, error: str) -> dict[str, Any]:
    """Columns that an attempt's outcome changes."""
    delivered = now if state is DeliveryState.ACCEPTED else None
    return {"state": state.value, "retry_at": retry_at, "error": error[:ERROR_LENGTH], "delivered_at": delivered}


async def read_backlog(connection: AsyncConnection) -> Mapping[str, Backlog]:
    """Undelivered rows by channel."""
    query = select(outbox.c.channel, func.count().label("depth"), func.min(outbox.c.created).label("oldest"))
    rows = await connection.execute(query.where(outbox.c.state.in_(_PENDING)).group_by(outbox.c.channel))
    return {row.channel: Backlog(row.depth, row.oldest) for row in rows}


def _rows_of_keys(keys: Iterable[str]) -> Any:  # noqa: ANN401  # a Select of all columns
    return select(outbox).where(outbox.c.key.in_(sorted(keys))).order_by(outbox.c.seq).with_for_update()


def _is_untouched(group: Sequence[Row[Any]]) -> bool:
    never_claimed = all(row.state == _QUEUED and row.attempts == 0 for row in group)
    return never_claimed and any(row.kind in OPENING for row in group)


def _is_mine(connection: AsyncConnection, holder: str, shards: Collection[int] | None) -> ColumnElement[bool]:
    held = and_(lease.c.holder == holder, lease.c.expires > read_clock(connection))
    mine = outbox.c.shard.in_(select(lease.c.shard).where(held))
    return mine if shards is None else and_(mine, outbox.c.shard.in_(sorted(shards)))


async def _note_doubts(connection: AsyncConnection, holder: str, rows: Sequence[Row[Any]]) -> None:
    """Openings that another process claimed and never recorded: what it sent may still arrive, after a resolve even."""
    doubtful = [
        {"notice": row.id, "incident": row.incident, "channel": row.channel, "route": row.route, "key": row.key}
        for row in rows
        if row.kind in OPENING and row.state == _CLAIMED and row.retry_at is None and row.claimed_by not in {None, holder}
    ]
    await _add_doubts(connection, doubtful)


async def doubt_sent(connection: AsyncConnection, notices: Iterable[Notice]) -> None:
    """As above for what left from memory: another process may have resolved it before it arrived."""
    rows = [
        {"notice": each.id, "incident": each.incident, "channel": each.channel, "route": each.route, "key": each.key}
        for each in notices
    ]
    await _add_doubts(connection, rows)


async def _add_doubts(connection: AsyncConnection, doubtful: Sequence[Mapping[str, Any]]) -> None:
    if doubtful and connection.dialect.name == "postgresql":  # on SQLite whoever claimed it is dead
        await write_rows(connection, add_rows("postgresql", doubt), doubtful)


def _due_rows(channel: str, now: float, limit: int, mine: ColumnElement[bool]) -> Any:  # noqa: ANN401  # a Select of all columns
    earlier = outbox.alias()
    blocked = exists().where(
        earlier.c.incident == outbox.c.incident,
        earlier.c.channel == outbox.c.channel,
        earlier.c.route == outbox.c.route,
        earlier.c.state.in_(_PENDING),
        earlier.c.seq < outbox.c.seq,
    )
    query = select(outbox).where(outbox.c.channel == channel, outbox.c.state.in_(_PENDING), mine, _is_due(now), ~blocked)
    return (
        query.order_by(outbox.c.rank.desc(), outbox.c.created, outbox.c.seq)
        .limit(limit)
        .with_for_update(of=outbox, skip_locked=True)
    )


def _is_due(now: float) -> ColumnElement[bool]:
    clock_set_back = outbox.c.claimed_at > now + SKEW_SECONDS
    waited = or_(outbox.c.retry_at <= now, clock_set_back)
    same_holder = exists().where(lease.c.shard == outbox.c.shard, lease.c.epoch == outbox.c.claim_epoch)
    abandoned = or_(~same_holder, outbox.c.claimed_at < now - CLAIM_SECONDS, clock_set_back)
    never_tried = and_(outbox.c.retry_at.is_(None), or_(outbox.c.state == _QUEUED, abandoned))
    return or_(never_tried, and_(outbox.c.retry_at.is_not(None), waited))


async def _read_credentials(connection: AsyncConnection, channel: str, keys: Iterable[str]) -> dict[tuple[str, str], str]:
    """Credential by (route, key): of the last notice that was accepted, else of the first opening that may have been."""
    is_accepted = outbox.c.state == DeliveryState.ACCEPTED.value
    accepted_first = case((is_accepted, 0), else_=1)
    newest_of_accepted = case((is_accepted, -outbox.c.seq), else_=outbox.c.seq)
    query = select(outbox.c.route, outbox.c.key, outbox.c.credential)
    query = query.where(outbox.c.channel == channel, outbox.c.key.in_(sorted(keys)), outbox.c.credential.is_not(None))
    found: dict[tuple[str, str], str] = {}
    for row in await connection.execute(query.order_by(accepted_first, newest_of_accepted)):
        found.setdefault((row.route, row.key), row.credential)
    return found


def _make_delivery(row: Row[Any], credential: str | None, epoch: int | None = None) -> Delivery:
    notice = codec.decode_notice(row.document)
    return deliver(notice, attempts=row.attempts, first_attempt=row.first_attempt, credential=credential, epoch=epoch)
