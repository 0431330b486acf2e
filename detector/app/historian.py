"""Drafts the post-mortem of every incident that is resolved, and reminds of it until somebody has finished it.

Before it: the committer told of the end. After it: the archive holds the document; where it stands lies in the store.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.app.shelf import submit_on
from detector.domain import postmortem
from detector.domain.amendment import compare_terms, list_terms
from detector.domain.disclosure import is_person
from detector.domain.incident import Status
from detector.domain.ledger import CONFIG
from detector.domain.postmortem import Curve, Facts, Lesson, RuleFact
from detector.domain.response import ResponseError
from detector.ports.error import OutsideError
from detector.ports.store import IncidentFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.committer import Committer
    from detector.app.darkroom import Darkroom
    from detector.app.roster import Roster
    from detector.domain.amendment import Terms
    from detector.domain.incident import Decision, Event, Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.postmortem import Archive, FollowUp
    from detector.ports.store import Store

LOOK_SECONDS = 1.0
REMIND_SECONDS = 60.0
RETRY_SECONDS = 30.0
MOST_LESSONS = 1000
LESSONS = "post-mortems"  # the duty that one replica has
MISSED_SECONDS = 15.0
MISSED = 50  # incidents looked at when we start: they may have ended while nobody drafted


class Historian:
    """One draft after the other; nothing of the path waits for it."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        darkroom: Darkroom,
        archive: Archive,
    ) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._darkroom = darkroom
        self._archive = archive
        self._waiting: dict[str, float] = {}
        self._late: dict[str, list[Event]] = {}  # what people said after the end, by incident
        self._terms: dict[str, dict[str, Terms]] = {}
        self._last_reminded = float("-inf")
        committer.listen(self._hear)

    async def run(self) -> None:
        """Draft and remind until cancelled. Guard this."""
        looked = float("-inf")
        while True:
            again = not self._committer.alone and self._clock.monotonic() - looked >= MISSED_SECONDS
            if again or looked == float("-inf"):  # what another replica ended nobody tells
                await self._find_missed()
                looked = self._clock.monotonic()
            await self._draft_waiting()
            await self._amend_late()
            await self._remind()
            self._forget_terms()
            await self._clock.sleep(LOOK_SECONDS)

    async def read(self, incident: str) -> tuple[str | None, str | None, Lesson | None]:
        """Document, plot, and where it stands. Raises TemporaryError."""
        text = await asyncio.to_thread(self._archive.read, incident)
        plot = await asyncio.to_thread(self._archive.draw, incident)
        return text, plot, await self._store.find_lesson(incident)

    async def finish(self, incident: str, by: str) -> Lesson:
        """Somebody has filled it in. Raises ResponseError, TemporaryError."""
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        lesson = postmortem.finish(await self._store.find_lesson(incident), incident, by, now)
        await self._store.save_lesson(lesson)
        await submit_on(
            self._committer,
            self._store,
            incident,
            lambda book: postmortem.note_finish(book, catalogue, paging, incident, by, now),
        )
        return lesson

    async def list_follow_ups(self) -> Sequence[FollowUp]:
        """Of all documents. Raises TemporaryError."""
        return await asyncio.to_thread(self._archive.list_follow_ups)

    def _hear(self, decision: Decision) -> None:
        for incident in decision.incidents:
            if incident.status.active and not incident.own:
                self._keep_terms(incident)
        ended = {event.incident for event in decision.events if event.kind == "resolved"}
        for incident in decision.incidents:
            if (
                self._committer.follows_up(incident.id)
                and incident.id in ended
                and incident.resolved is not None
                and not incident.own
            ):
                self._waiting[incident.id] = self._clock.now()
        for event in decision.events:
            if event.kind in postmortem.SAID and is_person(event.actor) and not self._is_active(event.incident):
                self._late.setdefault(event.incident, []).append(event)

    def _is_active(self, incident: str) -> bool:
        known = self._committer.book.incidents.get(incident)
        return known is not None and known.status.active

    def _forget_terms(self) -> None:
        """Of what is closed, once its draft is written: a draft that could not be for long is no reason to keep them for ever."""
        known = self._committer.book.incidents
        for incident in self._terms.keys() - self._waiting.keys():
            if incident not in known or known[incident].status is Status.CLOSED:
                del self._terms[incident]

    async def _find_missed(self) -> None:
        now = self._clock.now()
        page = await self._store.list_incidents(IncidentFilter(("resolved", "closed"), limit=MISSED))
        for incident in page.incidents:
            recent = incident.resolved is not None and now - incident.resolved < postmortem.DUE_SECONDS
            recent = recent and self._committer.follows_up(incident.id) and incident.id not in self._waiting
            if recent and not incident.own and await self._store.find_lesson(incident.id) is None:
                self._waiting.setdefault(incident.id, now)

    async def _draft_waiting(self) -> None:
        for incident, due in list(self._waiting.items()):
            if due > self._clock.now():
                continue
            try:
                await self._draft(incident)
            except (OutsideError, ResponseError) as fault:
                self._observer.trouble("post-mortem", f"{incident}: {describe_fault(fault)}; tried again")
                self._waiting[incident] = self._clock.now() + RETRY_SECONDS
            else:
                self._waiting.pop(incident, None)

    async def _amend_late(self) -> None:
        """A cause is often found the day after; a draft that somebody edits already is theirs."""
        for incident in self._late.keys() - self._waiting.keys():
            events = self._late.pop(incident)
            try:
                await asyncio.to_thread(self._archive.amend, incident, events)
            except OutsideError as fault:
                self._observer.trouble("post-mortem", f"{incident}: what was said later is not in it: {describe_fault(fault)}")

    async def _draft(self, identity: str) -> None:
        incident = await self._store.find_incident(identity)
        if incident is None or incident.resolved is None or incident.status not in {Status.RESOLVED, Status.CLOSED}:
            return
        facts = await self._gather(incident)
        where = await asyncio.to_thread(self._archive.write, facts)
        await self._store.save_lesson(Lesson(identity, facts.due))
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        await submit_on(
            self._committer,
            self._store,
            identity,
            lambda book: postmortem.note_draft(book, catalogue, paging, identity, where, now),
        )
        self._observer.note("post-mortem drafted", incident=identity, path=where)

    async def _gather(self, incident: Incident) -> Facts:
        rules = [rule for name in incident.rules if (rule := self._roster.rule(name)) is not None]
        curves: Sequence[Curve]
        curves, test = await self._darkroom.develop(incident, rules)
        events = tuple(await self._store.timeline(incident.id))
        return Facts(
            incident,
            events,
            tuple(await self._store.list_hops(incident.id)),
            (incident.resolved or self._clock.now()) + postmortem.DUE_SECONDS,
            tuple(curves),
            tuple(self._describe_rule(incident, name) for name in incident.rules),
            self._roster.rule_set.digest,
            _find_version(events),
            test,
            tuple((role.replace("_", " "), name) for role, name in incident.responders.items() if name),
        )

    def _keep_terms(self, incident: Incident) -> None:
        """What the rules of its alerts say as they fire, for the diff; after a restart only the alert's own condition is known."""
        known = self._terms.setdefault(incident.id, {})
        missing = {name for name in incident.rules if name not in known}
        for alert in incident.alerts.values() if missing else ():
            rule = self._roster.rule(alert.rule)
            if alert.rule in missing and rule is not None:
                known[alert.rule] = list_terms(rule, alert.labels)
                missing.discard(alert.rule)
        known |= {name: {} for name in missing}

    def _describe_rule(self, incident: Incident, name: str) -> RuleFact:
        alert = next((one for one in incident.alerts.values() if one.rule == name), None)
        rule = self._roster.rule(name)
        if rule is None or alert is None:
            return RuleFact(name, "", 0, alert.condition if alert is not None else "", removed=rule is None)
        after = list_terms(rule, alert.labels)
        known = {"open": alert.condition} if alert.condition else {"open": after["open"]}
        before = self._terms.get(incident.id, {}).get(name) or {**after, **known}
        return RuleFact(name, rule.source.file, rule.source.line, after["open"], compare_terms(before, after))

    async def _remind(self) -> None:
        now = self._clock.now()
        if now - self._last_reminded < REMIND_SECONDS or not self._committer.follows_up(LESSONS):
            return
        self._last_reminded = now
        catalogue, paging = self._roster.catalogue, self._paging
        try:
            for lesson in postmortem.list_due(await self._store.list_lessons(MOST_LESSONS), now):
                identity = lesson.incident
                decide = partial(postmortem.remind, catalogue=catalogue, paging=paging, incident_id=identity, now=now)
                await submit_on(self._committer, self._store, identity, decide)
                await self._store.save_lesson(replace(lesson, reminded=now))
        except (OutsideError, ResponseError) as fault:
            self._observer.trouble("post-mortem", f"reminder: {describe_fault(fault)}")


def _find_version(events: Sequence[Event]) -> str:
    """Of the rule files by which it was opened; empty where the timeline is of a time when that was not written down."""
    return next((event.message.rpartition(" ")[2] for event in events if event.kind == CONFIG), "")
