"""Step 2 of the path: each distinct (query, time) is asked once, whoever needs it. Samples go to `evaluation`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.domain.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.ports.clock import Clock
    from detector.ports.source import SampleSource

KEEP_SECONDS = 1.0  # batches on the same slot start within milliseconds of each other


@dataclass(frozen=True, slots=True)
class _Asked:
    answer: asyncio.Task[Outcome]
    asked: float


class QueryCache:
    """Shares answers among the rules of a slot; an asker that is cancelled takes nothing from the others."""

    def __init__(self, source: SampleSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._asked: dict[tuple[str, float], _Asked] = {}

    async def ask(self, query: str, at: float, deadline_seconds: float) -> Outcome:
        """The answer to one query at unix seconds `at`."""
        self._forget()
        found = self._asked.get((query, at))
        if found is None:
            answer = asyncio.create_task(self._request(query, at, deadline_seconds), name="query")
            found = _Asked(answer, self._clock.monotonic())
            self._asked[query, at] = found
        return await asyncio.shield(found.answer)

    async def ask_all(self, queries: Iterable[str], at: float, deadline_seconds: float) -> dict[str, Outcome]:
        """The answers to all queries, asked together."""
        texts = tuple(queries)
        answers = await asyncio.gather(*(self.ask(text, at, deadline_seconds) for text in texts))
        return dict(zip(texts, answers, strict=True))

    async def close(self) -> None:
        """Give up what is still asked."""
        pending = [asked.answer for asked in self._asked.values() if not asked.answer.done()]
        for answer in pending:
            answer.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._asked.clear()

    async def _request(self, query: str, at: float, deadline_seconds: float) -> Outcome:
        return await self._source.query(query, at, deadline_seconds=deadline_seconds)

    def _forget(self) -> None:
        oldest = self._clock.monotonic() - KEEP_SECONDS
        done = [key for key, asked in self._asked.items() if asked.answer.done() and asked.asked < oldest]
        for key in done:
            del self._asked[key]
