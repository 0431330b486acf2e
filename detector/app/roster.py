"""What the daemon holds in memory of its rules: the set that runs, alert states, progress and health.

Written by `evaluation` (after the commit) and `reloader`; read by the API, the metrics and the checkpoint. Alerts are kept by rule
name, so that a reload or a moved file changes none of them. Everything here happens between two awaits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.track import Track, deserves_row
from detector.domain.alert import AlertState, Phase, RuleProgress
from detector.domain.blind import RuleHealth
from detector.domain.catalogue import Catalogue
from detector.domain.reception import find_service, is_received
from detector.domain.rule import RuleSet
from detector.ports.query import LiveAlert, RuleReport
from detector.ports.store import AlertRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.domain.label import Labels
    from detector.domain.rule import Rule
    from detector.ports.store import Memory

FORGET_AFTER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Dirty:
    """What a checkpoint writes."""

    progress: tuple[RuleProgress, ...]
    alerts: tuple[AlertRecord, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.progress or self.alerts)


class Roster:
    """All rules in memory, by name."""

    def __init__(self) -> None:
        self.rule_set = RuleSet(rules=(), catalogue=Catalogue(), digest="")
        self._rules: dict[str, Rule] = {}
        self._tracks: dict[str, Track] = {}
        self._tally: Counter[RuleHealth] = Counter()  # of the rules that run

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue that runs."""
        return self.rule_set.catalogue

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that run."""
        return self.rule_set.rules

    def rule(self, name: str) -> Rule | None:
        """The rule of that name if it runs."""
        return self._rules.get(name)

    def restore(self, memory: Memory, now: float) -> None:
        """Take over what the last process left; alerts that ended over a day ago may no longer relapse and go."""
        for name, states in memory.alerts.items():
            track = self.track(name)
            track.stored = set(states)
            kept = {
                labels: state
                for labels, state in states.items()
                if state.phase is not Phase.INACTIVE
                or state.missing_seconds is not None
                or now - (state.ended or 0.0) < FORGET_AFTER_SECONDS
            }
            track.swap(kept, ())
            track.dirty = track.stored - kept.keys()
        for name, progress in memory.progress.items():
            self.track(name).progress = progress

    def replace(self, name: str, memory: Memory) -> None:
        """Make what the store holds of a rule the present: another replica wrote it."""
        track = self.track(name)
        states = memory.alerts.get(name, {})
        track.swap(states, track.states.keys() - states.keys())
        track.stored, track.dirty = set(states), set()
        track.progress = memory.progress.get(name, track.progress)
        track.progress_dirty = False
        track.health, track.outcome = RuleHealth.IDLE, "idle"

    def adopt(self, rule_set: RuleSet, monotonic: float) -> None:
        """Run this set from now on; rules that are in it no more become orphans, returned ones go on."""
        self.rule_set = rule_set
        self._rules = {rule.name: rule for rule in rule_set.rules}
        for name in self._rules:
            self.track(name).orphaned = None
        for track in list(self._tracks.values()):
            if track.name in self._rules or is_received(track.name):
                continue
            if not track.states and not track.dirty:
                del self._tracks[track.name]
            elif track.orphaned is None:
                track.orphaned = monotonic
        self._tally = Counter()
        for name, track in self._tracks.items():
            track.count_in(self._tally if name in self._rules else Counter())

    def track(self, name: str) -> Track:
        """The rule's memory, made if there is none."""
        found = self._tracks.get(name)
        if found is None:
            found = self._tracks[name] = Track(name, RuleProgress(name))
            if name in self._rules:
                found.count_in(self._tally)
        return found

    def received(self) -> list[Track]:
        """Alerts that came from elsewhere, by name."""
        return [track for name, track in self._tracks.items() if is_received(name)]

    def orphans(self) -> list[Track]:
        """Rules that left the set and whose alerts wait for the grace to pass."""
        return [track for track in self._tracks.values() if track.orphaned is not None]

    def forget(self, name: str) -> None:
        """Drop a rule that left the set; one that returned meanwhile begins anew."""
        gone = self._tracks.pop(name, None)
        if gone is not None:
            gone.count_in(Counter())
        if name in self._rules:
            self.track(name)

    def states(self, name: str) -> Mapping[Labels, AlertState]:
        """Alert states of a rule, live; empty for an unknown one."""
        found = self._tracks.get(name)
        return {} if found is None else found.states

    def progress(self, name: str) -> RuleProgress:
        """How far a rule has come, and why it last failed."""
        found = self._tracks.get(name)
        return RuleProgress(name) if found is None else found.progress

    def counts(self, name: str) -> Mapping[str, int]:
        """Alerts of a rule by phase."""
        found = self._tracks.get(name)
        return dict.fromkeys((phase.value for phase in Phase), 0) if found is None else found.counts

    def live_state(self, rule: str, labels: Labels) -> AlertState | None:
        """State of one alert as the last evaluation left it."""
        return self.states(rule).get(labels)

    def live_alerts(self) -> list[LiveAlert]:
        """Alerts that are pending or firing, by rule and labels; those of a removed rule until its grace has passed."""
        found = []
        for name in sorted(name for name, track in self._tracks.items() if track.hot):
            rule = self._rules.get(name)
            for labels, state in sorted(self._tracks[name].states.items()):
                if state.phase is not Phase.INACTIVE:
                    service = find_service(name, labels) if is_received(name) else name
                    found.append(LiveAlert(name, service if rule is None else rule.service_of(labels), state))
        return found

    def rule_reports(self) -> list[RuleReport]:
        """How every rule that runs fares, in the set's order."""
        return [self._report(rule) for rule in self.rules]

    def _report(self, rule: Rule) -> RuleReport:
        track = self.track(rule.name)
        progress = track.progress
        return RuleReport(
            name=rule.name,
            health=track.outcome,
            every_seconds=rule.every_seconds,
            last_evaluation=progress.last_evaluation,
            last_success=progress.last_success,
            last_error=progress.failure,
            alerts=dict(track.counts),
            evaluation_seconds=track.seconds,
        )

    def health(self) -> frozenset[RuleHealth]:
        """What the last evaluations of the rules that run brought."""
        return frozenset([health for health, count in self._tally.items() if count])

    def answering(self) -> bool:
        """Whether some rule has series now."""
        return self._tally[RuleHealth.OK] > 0

    def note_progress(self, track: Track, at: float, failure: str, *, series: bool) -> None:
        """Remember how an evaluation at slot `at` ended; `failure` is empty when it succeeded."""
        before = track.progress
        success = before.last_success if failure else at
        track.progress = RuleProgress(before.rule, success, at, before.seen_series or series, failure)
        track.progress_dirty = True

    def dirty(self, is_ours: Callable[[str], bool] = lambda _name: True) -> Dirty:
        """Everything of our rules whose row is behind."""
        tracks = [track for name, track in self._tracks.items() if is_ours(name)]
        return Dirty(
            tuple(track.progress for track in tracks if track.progress_dirty),
            tuple(record for track in tracks if track.dirty for record in track.behind()),
        )

    def forget_rows(self) -> None:
        """The store lost its rows: everything that deserves one is behind."""
        for track in self._tracks.values():
            track.stored.clear()
            track.dirty = {labels for labels, state in track.states.items() if deserves_row(state)}
            track.progress_dirty = True

    def mark_clean(self, dirty: Dirty) -> None:
        """These rows are written."""
        for progress in dirty.progress:
            track = self._tracks.get(progress.rule)
            if track is not None and track.progress is progress:
                track.progress_dirty = False
        self.mark_stored(dirty.alerts)

    def mark_stored(self, records: Iterable[AlertRecord]) -> None:
        """These alert rows are written."""
        by_rule: dict[str, list[AlertRecord]] = {}
        for record in records:
            by_rule.setdefault(record.rule, []).append(record)
        for name, found in by_rule.items():
            track = self._tracks.get(name)
            if track is not None:
                track.mark_stored(found)
