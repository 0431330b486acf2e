"""What becomes of a merged query that failed for a reason of its own: it is asked in parts, down to the single queries.

Before it: `cache`. After it: each single query has its answer, or has failed at this slot. To ask for thousands of values one by
one would bury a source that is slow already and take the others' turns. So one value alone is asked for first, and while that
brings no answer, nothing more. Then parts, a few at a time, those that answered last time first, so that what hangs costs the
others no turn; a part that fails is halved. All of that has the time of one query. What was learned of the parts is kept for the
next slots; the whole is tried again after a while, which doubles as long as it fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from detector.domain.family import Family, Merged, cut_values, is_answered, split_answer
from detector.domain.outcome import NoData, Outcome, QueryFailed

if TYPE_CHECKING:
    from collections.abc import Collection

    from detector.ports.clock import Clock
    from detector.ports.source import SampleSource

Part: TypeAlias = tuple[str, ...]
REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 960.0
ABREAST = 3  # parts under way at once
MOST_FAILURES = 50  # of parts in one slot
FEW = 8  # values that are asked for by themselves, whatever the parts are
_PROOFS = 2  # single queries of which one must answer before parts are asked for
_LEAST_SECONDS = 0.05  # less is no time to ask anything
_PART_SECONDS = 1.0  # a part gets half of the time that is left, so that its halves have some, but no less than this
_NOTHING = NoData()


@dataclass(slots=True)
class Division:
    """A family whose merged query failed. `whole_at`: monotonic seconds from which it is tried as a whole again.

    `parts`: in the order in which they are asked for. `answering`: whether one of them answered when they were asked for last.
    """

    family: Family
    failure: QueryFailed
    whole_at: float
    rest_seconds: float = REST_SECONDS
    parts: list[Part] = field(default_factory=list)
    answering: bool = False
    turn: int = 0

    def __post_init__(self) -> None:
        """Cut for the first time."""
        self.parts = cut_values(self.family.values)

    def fail_again(self, failure: QueryFailed, monotonic: float) -> None:
        """The whole has failed once more; its parts stay as they are."""
        self.failure = failure
        self.rest_seconds = min(2 * self.rest_seconds, LONGEST_REST_SECONDS)
        self.whole_at = monotonic + self.rest_seconds


def divide_family(family: Family, failure: QueryFailed, monotonic: float) -> Division:
    """The division of a family whose merged query has failed for the first time."""
    return Division(family, failure, monotonic + REST_SECONDS)


class Descent:
    """A divided family at one slot. Asks for what somebody wants; everyone waits for his own answer alone."""

    def __init__(self, division: Division, source: SampleSource, clock: Clock, at: float, deadline_seconds: float) -> None:
        self._division = division
        self._source = source
        self._clock = clock
        self._at = at
        self._deadline_seconds = deadline_seconds
        self._ends = 0.0
        self._failure = division.failure
        self._wanted: dict[str, dict[str, Merged]] = {}
        self._answers: dict[str, asyncio.Future[Outcome]] = {}
        self._task: asyncio.Task[None] | None = None
        self.begun = clock.monotonic()

    def answer(self, query: str, merged: Merged) -> asyncio.Future[Outcome]:
        """The answer to a query of the family, under way."""
        found = self._answers.get(query)
        if found is None:
            found = self._answers[query] = asyncio.get_running_loop().create_future()
            self._wanted.setdefault(merged.value, {})[query] = merged
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name="divided query")
        return found

    @property
    def done(self) -> bool:
        """Whether nothing is under way."""
        return self._task is None or self._task.done()

    async def close(self) -> None:
        """Give up what is still asked; it has failed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            known = 0
            while known < len(self._answers):  # who asks together comes in crowds
                known = len(self._answers)
                await asyncio.sleep(0)
            while pending := self._list_pending():
                await self._serve(pending)
                self._fail(pending)
        finally:
            self._fail(self._wanted)

    def _list_pending(self) -> list[str]:
        return [value for value, queries in self._wanted.items() if any(not self._answers[query].done() for query in queries)]

    def _fail(self, values: Collection[str]) -> None:
        for value in values:
            for query in self._wanted[value]:
                self._settle(query, self._failure)

    async def _serve(self, values: list[str]) -> None:
        """Ask for these values; those that are not answered after it are given up."""
        division, self._ends = self._division, self._clock.monotonic() + self._deadline_seconds
        if len(values) <= FEW:
            await asyncio.gather(*(self._ask_alone(value, self._left) for value in values))
            return
        proven = not division.answering and await self._prove(values)
        if not proven and not division.answering:
            return
        parts, answered = await self._ask_parts({*values})
        division.answering = answered
        if answered or proven:  # else it is the source that does not answer, whatever it is asked for
            division.parts = parts

    async def _prove(self, values: list[str]) -> bool:
        """Whether the source answers at all: one value, or another one, by itself; others in the next slot."""
        for _ in range(_PROOFS):
            self._division.turn += 1
            value = values[self._division.turn % len(values)]
            await self._ask_alone(value, self._left / 2)
            if any(is_answered(self._answers[query].result()) for query in self._wanted[value]):
                return True
        return False

    async def _ask_parts(self, values: Collection[str]) -> tuple[list[Part], bool]:
        """The parts in the order for the next slot, cut where they failed, and whether one of them answered."""
        wanted = [part for part in self._division.parts if any(value in values for value in part)]
        aside = [part for part in self._division.parts if part not in wanted]
        waiting, answered, failed = deque(wanted), list[Part](), list[Part]()
        left = MOST_FAILURES

        async def work() -> None:
            nonlocal left
            while waiting and left > 0 and self._left > _LEAST_SECONDS:
                part = waiting.popleft()
                if await self._ask_part(part):
                    answered.append(part)
                    continue
                left -= 1
                if len(part) > 1:
                    waiting.extend(cut_values(part))
                else:
                    failed.append(part)

        await asyncio.gather(*(work() for _ in range(ABREAST)))
        return [*answered, *aside, *waiting, *failed], bool(answered)

    async def _ask_part(self, part: Part) -> bool:
        if len(part) == 1:
            return await self._ask_alone(part[0], self._left)
        family = self._division.family
        deadline_seconds = min(self._left, max(self._left / 2, _PART_SECONDS))
        outcome = await self._source.query(family.write(part), self._at, deadline_seconds=deadline_seconds)
        if isinstance(outcome, QueryFailed):
            self._failure = outcome
            return False
        split = {strips: split_answer(outcome, family.label, strips=strips) for strips in (False, True)}
        for value in part:
            for query, merged in self._wanted.get(value, {}).items():
                self._settle(query, split[merged.strips].get(value, _NOTHING))
        return True

    async def _ask_alone(self, value: str, deadline_seconds: float) -> bool:
        """The single queries of a value as they are written; whether all of them have answers."""

        async def ask(query: str) -> None:
            if not self._answers[query].done():
                self._settle(query, await self._source.query(query, self._at, deadline_seconds=deadline_seconds))

        queries = list(self._wanted[value])
        await asyncio.gather(*(ask(query) for query in queries))
        return not any(isinstance(self._answers[query].result(), QueryFailed) for query in queries)

    def _settle(self, query: str, outcome: Outcome) -> None:
        if not self._answers[query].done():
            self._answers[query].set_result(outcome)

    @property
    def _left(self) -> float:
        return self._ends - self._clock.monotonic()
