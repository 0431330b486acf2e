"""Notices kept in memory: those that could not be committed, and those whose retry is waiting, should the store fail meanwhile.

Before it: the committer offers, the dispatcher puts back what failed. After it: the dispatcher sends. Per lane, (incident, route),
only the oldest may leave, so that a resolve never overtakes its trigger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.store import Delivery

if TYPE_CHECKING:
    from collections.abc import Collection


SPARE_LIMIT = 1000
UNWRITTEN_MOST = 64  # outcomes; beyond it one row is claimed for each that is written: a dead destination fails faster than that

Lane: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True, slots=True)
class Spare:
    """One notice in memory, to be sent from `due` on (unix seconds).

    `stored`: its row is in the outbox. `held`: that row brings it back, so it leaves from here only while the store fails.
    """

    delivery: Delivery
    due: float
    stored: bool = False
    held: bool = False
    order: int = 0

    @property
    def lane(self) -> Lane:
        """What keeps its order."""
        return lane_of(self.delivery)


class SpareQueue:
    """At most `limit` notices that are not held, and as many that are; beyond it the least urgent, newest one goes.

    Its row comes with the store, or is there already: a destination that is dead for days fills no memory.
    """

    def __init__(self, limit: int = SPARE_LIMIT) -> None:
        self._limit = limit
        self._spares: dict[str, Spare] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._spares)

    def find(self, notice: str) -> Spare | None:
        """The notice with this id."""
        return self._spares.get(notice)

    def put(self, spare: Spare) -> Delivery | None:
        """Keep it; returns what had to go for it, which may be itself. One that was here before keeps its place in its lane."""
        if spare.order == 0 and not spare.held:
            self._order += 1
            spare = replace(spare, order=self._order)
        self._spares[spare.delivery.id] = spare
        alike = [each for each in self._spares.values() if each.held == spare.held]
        if len(alike) <= self._limit:
            return None
        least = max(alike, key=_rank_loss)
        del self._spares[least.delivery.id]
        return None if least.held else least.delivery

    def discard(self, notice: str) -> None:
        """Forget the notice, where it is here."""
        self._spares.pop(notice, None)

    def withdraw(self, key: str) -> None:
        """Forget openings of that key that have no row."""
        gone = [name for name, each in self._spares.items() if each.delivery.key == key and not each.stored]
        for name in gone:
            del self._spares[name]

    def forget_held(self, before: float) -> None:
        """Forget the held that were due before that moment: the store answers, and did not give them back."""
        self._spares = {name: each for name, each in self._spares.items() if not (each.held and each.due < before)}

    def take(self, now: float, limit: int, busy: Collection[Lane], *, with_held: bool) -> list[Spare]:
        """Remove and return what may leave now: the most severe first, then the oldest; one a lane, none of a busy one."""
        due = [each for each in self._heads() if each.due <= now and each.lane not in busy and (with_held or not each.held)]
        due.sort(key=lambda each: (-each.delivery.severity.rank, each.delivery.created, each.order))
        taken = due[:limit]
        for each in taken:
            del self._spares[each.delivery.id]
        return taken

    def next_due(self, *, with_held: bool) -> float | None:
        """When the next one may leave, lanes in use not counted."""
        return min((each.due for each in self._heads() if with_held or not each.held), default=None)

    def _heads(self) -> list[Spare]:
        """The oldest of every lane. What the store gave out is the oldest of its lane: held ones have order 0."""
        heads: dict[Lane, Spare] = {}
        for each in self._spares.values():
            head = heads.get(each.lane)
            if head is None or (each.order, each.delivery.created) < (head.order, head.delivery.created):
                heads[each.lane] = each
        return list(heads.values())


def lane_of(delivery: Delivery) -> Lane:
    """What keeps its order: the notices of one incident to one route."""
    return delivery.incident, delivery.route


def _rank_loss(spare: Spare) -> tuple[bool, int, int, float]:
    """The highest is missed least: not urgent, not severe, new."""
    delivery = spare.delivery
    return not _is_urgent(delivery), -delivery.severity.rank, spare.order, delivery.created


def _is_urgent(delivery: Delivery) -> bool:
    return delivery.severity is Severity.CRITICAL or delivery.kind is NoticeKind.RESOLVE
