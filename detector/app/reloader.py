"""Loads rule files and makes a good set the one that runs; a bad one changes nothing.

Called at start, by SIGHUP, POST and the file watcher. A good set is stored, so that a start with findings has one to run. Alerts of
a removed rule wait five minutes for its return before they end as "rule removed".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.domain.advance import end_alerts
from detector.domain.alert import EndReason
from detector.ports.error import OutsideError
from detector.ports.rulefile import Finding, Load, RuleFilesError
from detector.ports.store import AlertRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.app.track import Track
    from detector.domain.rule import Rule
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.rulefile import RuleFiles
    from detector.ports.store import Store

GRACE_SECONDS = 300.0
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StartReport:
    """How the start found the rules. With findings it is the last good set that runs."""

    findings: tuple[Finding, ...] = ()
    used_last_good: bool = False
    notes: tuple[str, ...] = ()


class Reloader:
    """The only one who changes which rules run. `on_rules` are told of every set, e.g. the poller and the baselines."""

    def __init__(
        self,
        files: RuleFiles,
        store: Store,
        roster: Roster,
        committer: Committer,
        clock: Clock,
        observer: Observer,
        on_rules: Sequence[Callable[[Sequence[Rule]], None]],
        *,
        is_ours: Callable[[str], bool] = lambda _rule: True,
    ) -> None:
        self._is_ours = is_ours
        self._files = files
        self._store = store
        self._roster = roster
        self._committer = committer
        self._clock = clock
        self._observer = observer
        self._on_rules = tuple(on_rules)
        self._lock = asyncio.Lock()
        self._saved = ""

    async def start(self) -> StartReport:
        """Run the files' set, or with findings the last good one. Raises RuleFilesError when there is none either."""
        async with self._lock:
            try:
                load = await asyncio.to_thread(self._files.load)
            except RuleFilesError as fault:
                self._observer.rules_refused([str(finding) for finding in fault.findings])
                self._adopt(await self._load_last_good(fault), None)
                return StartReport(fault.findings, used_last_good=True, notes=self._roster.rule_set.notes)
            self._adopt(load, self._clock.now())
            await self._save(load)
            return StartReport(notes=load.rules.notes)

    async def reload(self) -> tuple[Finding, ...]:
        """Load anew; returns the findings for which the old set goes on, none when the new one runs."""
        async with self._lock:
            try:
                load = await asyncio.to_thread(self._files.load, routed=True)
            except RuleFilesError as fault:
                self._observer.rules_refused([str(finding) for finding in fault.findings])
                return fault.findings
            self._adopt(load, self._clock.now())
            await self._save(load)
            return ()

    async def run(self) -> None:
        """End the alerts of rules that left for good. Guard this."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.end_orphans()

    async def end_orphans(self) -> None:
        """Commit the end of every alert whose rule has been gone for the grace."""
        oldest = self._clock.monotonic() - GRACE_SECONDS
        for track in self._roster.orphans():
            if track.orphaned is not None and track.orphaned <= oldest:
                await self._end(track)

    async def _end(self, track: Track) -> None:
        if not self._is_ours(track.name):
            return  # another replica ends them
        ended = end_alerts(track.name, track.states, self._clock.now(), EndReason.REMOVED.value)
        rows = [AlertRecord(track.name, labels, None) for labels in track.stored | track.dirty | ended.dropped]
        await self._committer.submit(rows, ended.transitions, lambda: self._roster.forget(track.name))

    async def _load_last_good(self, fault: RuleFilesError) -> Load:
        try:
            files = await self._store.load_rules()
        except OutsideError as unanswered:
            self._observer.trouble("last good rules", describe_fault(unanswered))
            raise fault from unanswered
        if files is None:
            raise fault
        try:
            return await asyncio.to_thread(self._files.compile, files)
        except RuleFilesError as outdated:
            self._observer.trouble("last good rules", describe_fault(outdated))
            raise fault from outdated

    def _adopt(self, load: Load, at: float | None) -> None:
        self._roster.adopt(load.rules, self._clock.monotonic())
        for tell in self._on_rules:
            tell(load.rules.rules)
        self._observer.rules_loaded(load.rules.rules, at)
        for rule in load.rules.rules:  # what was restored is counted before the first evaluation, which may be long in coming
            self._observer.alerts_counted(rule.name, self._roster.counts(rule.name))

    async def _save(self, load: Load) -> None:
        if load.rules.digest == self._saved:
            return
        try:
            await self._store.save_rules(load.rules.digest, load.files, self._clock.now())
        except OutsideError as fault:
            self._observer.trouble("save rules", describe_fault(fault))
        else:
            self._saved = load.rules.digest
