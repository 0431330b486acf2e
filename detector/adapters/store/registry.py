"""The Registry port over SQL: how several replicas on one database divide the work and see each other's commits.

`store` makes one on its own session; `lease` holds the statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from detector.adapters.store import ledger
from detector.adapters.store.lease import be_gone, beat, extend, forget, give_up, is_any_free, take_share
from detector.adapters.store.schema import doubt, outbox
from detector.domain.incident import NoticeKind
from detector.ports.lease import Doubt, Tenure
from detector.ports.store import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from detector.adapters.store.session import Session
    from detector.domain.incident import Incident
    from detector.domain.share import Roll, Share
    from detector.ports.store import Memory

MOST_DOUBTS = 100


class SqlRegistry:
    """Registry on a session. `tell` hears of rows that were passed over."""

    def __init__(self, session: Session, holder: str, tell: Callable[[str], None]) -> None:
        self._session = session
        self._holder = holder
        self._tell = tell

    @property
    def exclusive(self) -> bool:
        """Whether the database is this process's alone."""
        return self._session.exclusive

    @property
    def holder(self) -> str:
        """The name of this process in the leases."""
        return self._holder

    async def keep(
        self,
        plan: Callable[[Roll], Share],
        ttl_seconds: float,
        *,
        give: Collection[int] = (),
        blind: bool = False,
        going: bool = False,
    ) -> Tenure:
        """One round; see the port."""

        async def run() -> Tenure:
            async with self._session.writing() as connection:
                if going:
                    await be_gone(connection, self._holder)
                else:
                    await beat(connection, self._holder, ttl_seconds, blind=blind)
                if give:
                    await give_up(connection, self._holder, give)
                await extend(connection, self._holder, ttl_seconds)
                return await take_share(connection, self._holder, plan, ttl_seconds)

        return await self._session.run("keeping the leases", run)

    async def release(self) -> None:
        """Give everything up at once."""

        async def run() -> None:
            async with self._session.writing() as connection:
                await forget(connection, self._holder)

        if not self.exclusive:
            await self._session.run("releasing the leases", run)

    async def load_alerts(self, rules: Collection[str] | str) -> Memory:
        """Alert states and progress of these rules, of one moment."""

        async def run() -> Memory:
            async with self._session.reading(snapshot=True) as connection:
                return await ledger.read_alerts(connection, rules, self._tell)

        return await self._session.run("reading alert states", run)

    async def read_sign(self) -> tuple[int, bool]:
        """How often anybody committed, and whether a shard is free."""

        async def run() -> tuple[int, bool]:
            async with self._session.reading() as connection:
                return await ledger.read_revision(connection), await is_any_free(connection)

        return await self._session.run("reading the revision", run)

    async def read_book(self) -> tuple[int, Mapping[str, Incident]]:
        """Revision and incidents of one moment."""

        async def run() -> tuple[int, Mapping[str, Incident]]:
            async with self._session.reading(snapshot=True) as connection:
                revision = await ledger.read_revision(connection)
                return revision, (await ledger.read_book(connection, self._tell)).incidents

        return await self._session.run("reading the incidents", run)

    async def list_doubts(self, resolved_before: float) -> Sequence[Doubt]:
        """Openings in doubt whose key was resolved before that moment, the oldest first."""
        same_key = (outbox.c.channel == doubt.c.channel) & (outbox.c.route == doubt.c.route) & (outbox.c.key == doubt.c.key)
        resolved = (outbox.c.kind == NoticeKind.RESOLVE.value) & (outbox.c.state == DeliveryState.ACCEPTED.value)
        query = select(doubt.c.notice, doubt.c.incident, doubt.c.key).join(outbox, same_key)
        query = query.where(resolved, outbox.c.delivered_at <= resolved_before).order_by(outbox.c.delivered_at).limit(MOST_DOUBTS)

        async def run() -> Sequence[Doubt]:
            async with self._session.reading() as connection:
                return [Doubt(row.notice, row.incident, row.key) for row in await connection.execute(query)]

        return await self._session.run("reading doubts", run)

    async def settle_doubts(self, notices: Collection[str]) -> None:
        """Forget them."""

        async def run() -> None:
            async with self._session.writing() as connection:
                await connection.execute(delete(doubt).where(doubt.c.notice.in_(sorted(notices))))

        await self._session.run("settling doubts", run)
