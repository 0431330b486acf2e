"""Silences and leases: kept, changed, ended early, listed. They stay after their end, so that what was muted can be explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, or_, select, update

from detector.adapters.store import codec
from detector.adapters.store.schema import mute
from detector.adapters.store.statement import replace_rows
from detector.domain.mute import Mute, MuteKind
from detector.domain.silence import KeptMute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


async def save_mute(connection: AsyncConnection, kept: KeptMute) -> None:
    """Write it; one of the same id is replaced."""
    row = {
        "id": kept.mute.id,
        "kind": kept.mute.kind.value,
        "matchers": codec.encode(kept.mute.matchers),
        "starts": kept.mute.starts,
        "ends": kept.mute.ends,
        "author": kept.mute.author,
        "reason": kept.mute.reason,
        "created": kept.created,
        "expired_at": kept.expired,
        "expired_by": kept.expired_by or None,
    }
    await connection.execute(replace_rows(connection.dialect.name, mute), [row])


async def find_mute(connection: AsyncConnection, identity: str) -> KeptMute | None:
    """One by its id."""
    row = (await connection.execute(select(mute).where(mute.c.id == identity))).first()
    return None if row is None else _read(row)


async def expire_mute(connection: AsyncConnection, identity: str, by: str, now: float) -> KeptMute | None:
    """End it unless it has ended; as it stands after that."""
    going = and_(mute.c.id == identity, mute.c.expired_at.is_(None), mute.c.ends > now)
    await connection.execute(update(mute).where(going).values(expired_at=now, expired_by=by))
    return await find_mute(connection, identity)


async def list_mutes(
    connection: AsyncConnection, now: float, *, ended: bool, limit: int, unreadable: Callable[[str], None]
) -> Sequence[KeptMute]:
    """Those that have ended, or those that have not, newest first; a row that cannot be read is told of and passed over."""
    over = or_(mute.c.expired_at.is_not(None), mute.c.ends <= now)
    query = select(mute).where(over if ended else ~over).order_by(mute.c.created.desc(), mute.c.id).limit(limit)
    found = []
    for row in await connection.execute(query):
        try:
            found.append(_read(row))
        except (codec.UnreadableError, ValueError) as fault:
            unreadable(f"mute {row.id} cannot be read, it mutes nothing: {fault}")
    return found


def _read(row: Row[Any]) -> KeptMute:
    matchers = codec.decode_matchers(row.matchers)
    held = Mute(row.id, MuteKind(row.kind), matchers, row.starts, row.ends, row.author, row.reason)
    return KeptMute(held, row.created, row.expired_at, row.expired_by or "")
