"""Step 1 of the path: when which rules are evaluated. Pure: times come in as numbers.

Rules with the same `every` and `offset` that share a query form a batch. Its slots lie at k * every + phase; the phase is a stable
hash of the batch's smallest normalised query, so that load is spread and the same after every restart. The poller comes after.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.domain.reading import plan_queries
from detector.domain.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


JUMP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Slots at k * every + phase, in whole milliseconds of unix time."""

    every_ms: int
    phase_ms: int

    def index_at(self, wall: float) -> int:
        """Number of the newest slot at or before `wall`."""
        return (round(wall * 1000) - self.phase_ms) // self.every_ms

    def time_of(self, index: int) -> float:
        """Unix seconds of that slot."""
        return (index * self.every_ms + self.phase_ms) / 1000


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What makes a batch the same one after a reload."""

    every_ms: int
    offset_ms: int
    query: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rules evaluated at the same slots."""

    key: BatchKey
    grid: Grid
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a grid's reader stands: the wall clock's lead over the monotonic one, and the last slot run or given up."""

    lead_seconds: float
    last: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do now: run `slot` (unix seconds) if there is one, count `missed`, look again after `wait_seconds`."""

    slot: float | None
    missed: int
    wait_seconds: float


def make_grid(every_seconds: float, seed: str) -> Grid:
    """The grid of a text: its phase is the same in every process."""
    every_ms = max(1, round(every_seconds * 1000))
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
    return Grid(every_ms, int.from_bytes(digest[:8], "big") % every_ms)


def normalise_query(query: str) -> str:
    """The query with every run of white space as one blank."""
    return " ".join(query.split())


def keep_text(query: str) -> str:
    """The query itself: what is asked where nothing is merged."""
    return query


def make_batches(rules: Iterable[Rule], name_query: Callable[[str], str] = keep_text) -> tuple[Batch, ...]:
    """Join rules of the same `every` and `offset` that share a query, directly or through a third one.

    `name_query` gives what is asked for a query: rules whose queries are merged share that one.
    """
    groups: dict[tuple[int, int], list[Rule]] = defaultdict(list)
    for rule in rules:
        groups[max(1, round(rule.every_seconds * 1000)), round(rule.offset_seconds * 1000)].append(rule)
    batches = []
    for (every_ms, offset_ms), members in groups.items():
        for queries, joined in _join(members, name_query):
            smallest = min(queries, default=joined[0].name)
            batches.append(Batch(BatchKey(every_ms, offset_ms, smallest), make_grid(every_ms / 1000, smallest), tuple(joined)))
    return tuple(batches)


def start_position(grid: Grid, wall: float, monotonic: float, *, catch_up: bool) -> Position:
    """Begin with the next slot, or with the newest one that has passed."""
    return Position(wall - monotonic, grid.index_at(wall) - catch_up)


def take_turn(grid: Grid, position: Position, wall: float, monotonic: float) -> tuple[Position, Turn]:
    """Only the newest slot that has passed is run; older ones were missed. A wall clock that was set misses nothing.

    After a jump of the wall clock the slots are those of the new time, so that one set back an hour stops nothing.
    """
    newest = grid.index_at(wall)
    last = position.last
    lead = wall - monotonic
    if abs(lead - position.lead_seconds) > JUMP_SECONDS and newest != last:
        last = newest - 1
    wait_seconds = max(0.001, grid.time_of(max(newest, last) + 1) - wall)
    if newest <= last:
        return Position(lead, last), Turn(None, 0, wait_seconds)
    return Position(lead, newest), Turn(grid.time_of(newest), newest - last - 1, wait_seconds)


def _join(rules: list[Rule], name_query: Callable[[str], str]) -> list[tuple[set[str], list[Rule]]]:
    """Connected groups of rules by shared normalised queries, in the order of their first rules."""
    home: dict[str, int] = {}
    groups: dict[int, tuple[set[str], list[Rule]]] = {}
    for number, rule in enumerate(rules):
        queries = {normalise_query(name_query(query)) for query in plan_queries(rule)}
        found = sorted({home[query] for query in queries if query in home})
        first = found[0] if found else number
        group = groups.setdefault(first, (set(), []))
        for other in found[1:]:
            texts, members = groups.pop(other)
            group[0].update(texts)
            group[1].extend(members)
            home.update(dict.fromkeys(texts, first))
        group[0].update(queries)
        group[1].append(rule)
        home.update(dict.fromkeys(queries, first))
    return list(groups.values())
