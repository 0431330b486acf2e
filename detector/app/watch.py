"""Looks at the signals of an incident's services while it is watched: what looks odd is said in its thread, and pages nobody.

Before it: the incident was resolved. After it: `response.note_oddities`, at most once a signal in each watch. What is usual was
measured over the hour before the first breach (`domain.oddity`), asked of the source once for incidents of the same minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from detector.app.guard import describe_fault
from detector.domain import response
from detector.domain.incident import Status
from detector.domain.label import Labels
from detector.domain.oddity import Usual, find_oddities, read_past
from detector.domain.outcome import QueryFailed
from detector.domain.reading import plan_queries, read_signals
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.cache import QueryCache
    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import Incident
    from detector.domain.ledger import Paging
    from detector.domain.oddity import Oddity
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.source import SampleSource
    from detector.ports.store import Store

EVERY_SECONDS = 60.0
PAST_SECONDS = 3600.0
STEP_SECONDS = 60.0
SHARED_SECONDS = 300.0  # incidents that began within the same five minutes share one past, which ends before all of them
DEADLINE_SECONDS = 10.0
KIND = "odd"


Past: TypeAlias = Mapping[str, Mapping[Labels, Usual]]
_PastKey: TypeAlias = tuple[str, tuple[str, ...], float]


class SignalWatch:
    """`source` is asked for the past, `cache` for the present, so that a slot that rules share costs no second request."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        source: SampleSource,
        cache: QueryCache,
    ) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._source = source
        self._cache = cache
        self._said: dict[tuple[str, int], set[str]] = {}
        self._past: dict[_PastKey, Past] = {}

    async def run(self) -> None:
        """Look until cancelled. Guard this."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """One look at every incident that is watched."""
        watched = [one for one in self._committer.own_incidents if self._is_watched(one)]
        kept, ends = {(one.id, one.episode) for one in watched}, {_end_past(one) for one in watched}
        self._said = {key: said for key, said in self._said.items() if key in kept}
        self._past = {key: past for key, past in self._past.items() if key[-1] in ends}
        for incident in watched:
            try:
                await self._look_at(incident)
            except (OutsideError, response.ResponseError) as fault:
                self._observer.trouble("watch", f"{incident.id}: {describe_fault(fault)}")

    def _is_watched(self, incident: Incident) -> bool:
        """Resolved, and over by its metrics: while an alert still fires, that it looks odd is no news."""
        firing = any(alert.firing for alert in incident.alerts.values())
        return incident.status is Status.RESOLVED and not firing and not incident.own

    async def _look_at(self, incident: Incident) -> None:
        said = self._said.setdefault((incident.id, incident.episode), set())
        news: list[Oddity] = []
        for rule in self._roster.rules:
            if rule.vector:  # its condition lies in its query: the values it shows are never usual
                continue
            news += [oddity for oddity in await self._compare(rule, incident) if oddity.name not in said]
        if news:
            await self._say(incident, said, news)

    async def _compare(self, rule: Rule, incident: Incident) -> Sequence[Oddity]:
        past = await self._take_past(rule, incident)
        if not any(rule.service_of(labels) in incident.services for usual in past.values() for labels in usual):
            return ()
        at = self._clock.now() - rule.offset_seconds
        outcomes = await self._cache.ask_all(plan_queries(rule), at, DEADLINE_SECONDS)
        return find_oddities(rule, past, read_signals(rule, outcomes), incident.services)

    async def _take_past(self, rule: Rule, incident: Incident) -> Past:
        """What was usual then; a failed query is asked again at the next look."""
        queries, end = plan_queries(rule), _end_past(incident)
        key = (rule.name, queries, end)
        if key in self._past:
            return self._past[key]
        last = end - rule.offset_seconds
        outcomes = {
            query: await self._source.query_range(query, last - PAST_SECONDS, last, STEP_SECONDS, deadline_seconds=DEADLINE_SECONDS)
            for query in queries
        }
        past = read_past(rule, outcomes)
        if not any(isinstance(outcome, QueryFailed) for outcome in outcomes.values()):
            self._past[key] = past
        return past

    async def _say(self, incident: Incident, said: set[str], news: Sequence[Oddity]) -> None:
        if not said:  # perhaps the last process said some of it
            since = incident.resolved or 0.0
            lines = [event.message for event in await self._store.timeline(incident.id) if event.kind == KIND and event.at >= since]
            said |= {oddity.name for oddity in news if any(f"{oddity.name} is " in line for line in lines)}
        texts = [oddity.text for oddity in news if oddity.name not in said]
        if not texts:
            return
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        await self._committer.submit_action(lambda book: response.note_oddities(book, catalogue, paging, incident.id, texts, now))
        said |= {oddity.name for oddity in news}


def _end_past(incident: Incident) -> float:
    return incident.opened // SHARED_SECONDS * SHARED_SECONDS
