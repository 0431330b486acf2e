"""Step 2 of the path: each distinct (query, time) is asked once, whoever needs it. Samples go to `evaluation`.

Queries that differ only in one label's value are asked as one and split again (`domain.family`). Where the merged query fails for
a reason of its own, `division` asks in parts, down to the single queries.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from detector.app.division import Descent, Division, divide_family
from detector.domain.family import Merged, Parts, blames_merging, split_answer
from detector.domain.outcome import NoData, Outcome, QueryFailed
from detector.domain.reading import plan_queries

if TYPE_CHECKING:
    from detector.domain.outcome import Samples
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.source import SampleSource

Plan: TypeAlias = Callable[[Iterable[Iterable[str]]], Mapping[str, Merged]]

KEEP_SECONDS = 1.0  # batches on the same slot start within milliseconds of each other
FORGET_EVERY_SECONDS = 0.25


@dataclass(slots=True)
class _Asked:
    """A query under way or answered. `parts`: a merged answer split, by whether the label is taken away."""

    answer: asyncio.Future[Outcome]
    asked: float
    parts: dict[bool, Parts] = field(default_factory=dict)


class Asking(NamedTuple):
    """What one asker waits for: its queries under way, each with what it was merged into."""

    at: float
    deadline_seconds: float
    begun: Mapping[str, tuple[_Asked, Merged | None]]

    @property
    def answers(self) -> tuple[asyncio.Future[Outcome], ...]:
        """The requests themselves: the same for all who wait for the same."""
        return tuple([asked.answer for asked, _ in self.begun.values()])


class QueryCache:
    """Shares answers among the rules of a slot; an asker that is cancelled takes nothing from the others."""

    def __init__(self, source: SampleSource, clock: Clock, plan: Plan | None = None) -> None:
        self._source = source
        self._clock = clock
        self._plan = plan
        self._merged: Mapping[str, Merged] = {}
        self._divisions: dict[str, Division] = {}
        self._descents: dict[tuple[str, float], Descent] = {}
        self._asked: dict[tuple[str, float], _Asked] = {}
        self._forget_next = float("-inf")

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Find what these rules ask together: queries of rules with the same `every` and `offset`, which are asked at one time."""
        groups: dict[tuple[float, float], list[str]] = defaultdict(list)
        for rule in rules:
            groups[rule.every_seconds, rule.offset_seconds].extend(plan_queries(rule))
        self._merged = self._plan(groups.values()) if self._plan is not None else {}
        self._divisions.clear()

    def name_query(self, query: str) -> str:
        """What is asked for it: itself, or the query that it is merged into."""
        merged = self._merged.get(query)
        return query if merged is None else merged.query

    async def ask(self, query: str, at: float, deadline_seconds: float) -> Outcome:
        """The answer to one query at unix seconds `at`."""
        return (await self.ask_all((query,), at, deadline_seconds))[query]

    async def ask_all(self, queries: Iterable[str], at: float, deadline_seconds: float) -> dict[str, Outcome]:
        """The answers to all queries, asked together."""
        return await self.hear(self.begin(queries, at, deadline_seconds))

    def begin(self, queries: Iterable[str], at: float, deadline_seconds: float) -> Asking:
        """Have all queries under way; `hear` their answers."""
        monotonic = self._clock.monotonic()
        if monotonic >= self._forget_next:  # not for each of thousands of askers: what hangs is walked over every time
            self._forget(monotonic)
        return Asking(at, deadline_seconds, {query: self._begin(query, at, deadline_seconds, monotonic) for query in queries})

    async def hear(self, asking: Asking) -> dict[str, Outcome]:
        """The answers, once all are there; at once where they are."""
        answers: dict[str, Outcome] = {}
        alone: dict[str, asyncio.Future[Outcome]] = {}
        for query, (asked, merged) in asking.begun.items():
            answer = asked.answer
            outcome = answer.result() if answer.done() else await asyncio.shield(answer)
            if merged is None:
                answers[query] = outcome
            elif isinstance(outcome, QueryFailed):
                if blames_merging(outcome):
                    alone[query] = self._divide(merged, outcome, asking).answer(query, merged)
                else:
                    answers[query] = outcome
            else:
                answers[query] = _find_part(asked, merged, outcome)
        for query, answer in alone.items():
            answers[query] = await asyncio.shield(answer)
        return answers

    def is_silent(self, asking: Asking) -> bool:
        """Whether all its answers are there, and none holds a series: `hear` would give `NoData` for each."""
        for asked, merged in asking.begun.values():
            if not asked.answer.done() or asked.answer.cancelled():
                return False
            outcome = asked.answer.result()
            if isinstance(outcome, QueryFailed):
                return False
            found = outcome if merged is None else _find_part(asked, merged, outcome)
            if not isinstance(found, NoData) or found.undefined:
                return False
        return True

    async def close(self) -> None:
        """Give up what is still asked."""
        pending = [asked.answer for asked in self._asked.values() if not asked.answer.done()]
        for answer in pending:
            answer.cancel()
        await asyncio.gather(*pending, *(descent.close() for descent in self._descents.values()), return_exceptions=True)
        self._asked.clear()
        self._descents.clear()

    def _begin(self, query: str, at: float, deadline_seconds: float, monotonic: float) -> tuple[_Asked, Merged | None]:
        merged = self._merged.get(query)
        division = None if merged is None else self._divisions.get(merged.query)
        if merged is not None and division is not None and monotonic < division.whole_at:
            descent = self._descend(merged, division, at, deadline_seconds)
            return _Asked(descent.answer(query, merged), monotonic), None
        text = query if merged is None else merged.query
        found = self._asked.get((text, at))
        if found is None:
            answer = asyncio.create_task(self._request(text, at, deadline_seconds), name="query")
            found = self._asked[text, at] = _Asked(answer, monotonic)
            if division is not None:
                answer.add_done_callback(partial(self._note_whole, text))
        return found, merged

    def _divide(self, merged: Merged, failure: QueryFailed, asking: Asking) -> Descent:
        """After the merged query has failed at this slot; what that means for the next ones is noted once."""
        monotonic, division = self._clock.monotonic(), self._divisions.get(merged.query)
        known = self._descents.get((merged.query, asking.at))
        if known is not None:
            return known
        if division is None:
            division = self._divisions[merged.query] = divide_family(merged.family, failure, monotonic)
        elif monotonic >= division.whole_at:
            division.fail_again(failure, monotonic)
        return self._descend(merged, division, asking.at, asking.deadline_seconds)

    def _note_whole(self, query: str, answer: asyncio.Future[Outcome]) -> None:
        """The whole of a divided family was tried again."""
        if not answer.cancelled() and answer.exception() is None and not isinstance(answer.result(), QueryFailed):
            self._divisions.pop(query, None)

    def _descend(self, merged: Merged, division: Division, at: float, deadline_seconds: float) -> Descent:
        found = self._descents.get((merged.query, at))
        if found is None:
            found = Descent(division, self._source, self._clock, at, deadline_seconds)
            self._descents[merged.query, at] = found
        return found

    async def _request(self, query: str, at: float, deadline_seconds: float) -> Outcome:
        return await self._source.query(query, at, deadline_seconds=deadline_seconds)

    def _forget(self, monotonic: float) -> None:
        self._forget_next = monotonic + FORGET_EVERY_SECONDS
        oldest = monotonic - KEEP_SECONDS
        old = takewhile(lambda item: item[1].asked < oldest, self._asked.items())  # they lie in the order they were asked in
        for key in [key for key, asked in old if asked.answer.done()]:
            del self._asked[key]
        for key in [key for key, descent in self._descents.items() if descent.begun < oldest and descent.done]:
            del self._descents[key]


_NOTHING = NoData()


def _find_part(asked: _Asked, merged: Merged, outcome: Samples | NoData) -> Samples | NoData:
    parts = asked.parts.get(merged.strips)
    if parts is None:  # `sum(x)` and `sum by (label) (x)` are the same query once merged
        parts = asked.parts[merged.strips] = split_answer(outcome, merged.label, strips=merged.strips)
    return parts.get(merged.value, _NOTHING)
