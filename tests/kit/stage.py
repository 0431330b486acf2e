"""The whole application path on virtual time: a scripted source, a store in memory that can fail, and everything that was told.

`Stage` joins the real poller, evaluator, committer, sentinel, baselines, reloader and, where it is given channels, dispatchers;
only the outside is acted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from detector.adapters.calendar import RuleCalendar
from detector.app.ailment import Complaint
from detector.app.baseline import BaselineKeeper
from detector.app.cache import Plan, QueryCache
from detector.app.committer import Committer
from detector.app.dispatcher import Dispatcher
from detector.app.evaluation import Evaluator
from detector.app.guard import guard
from detector.app.muteboard import MuteBoard
from detector.app.poller import Poller
from detector.app.reloader import Reloader
from detector.app.roster import Roster
from detector.app.sentinel import Sentinel
from detector.domain.catalogue import Catalogue
from detector.domain.condition import Bindings, Comparison
from detector.domain.label import make_labels
from detector.domain.ledger import Paging
from detector.domain.outcome import FailureReason, Outcome, QueryFailed, RangeOutcome, RangeSamples, Samples
from detector.domain.rule import Instant, Location, Policy, Recovery, Rule, RuleSet, Rung
from detector.domain.severity import Severity
from detector.ports.channel import Channel
from detector.ports.error import OutsideError, TemporaryError
from detector.ports.rulefile import Load, RuleFilesError
from tests.kit.clock import VirtualClock
from tests.kit.memorystore import MemoryStore

if TYPE_CHECKING:
    from detector.domain.alert import AlertState, RuleProgress, Transition
    from detector.domain.incident import Decision, Notice
    from detector.domain.maintenance import MaintenanceWindow
    from detector.ports.store import AlertRecord, Committed, Decide

HUNG = "hung"


@dataclass(frozen=True)
class Comparing:
    """A condition made of one comparison; unknown when a name is missing."""

    comparison: Comparison

    @property
    def text(self) -> str:
        """As a rule file would have it."""
        return f"{self.comparison.signal} {self.comparison.operator} {self.comparison.factor}"

    @property
    def names(self) -> frozenset[str]:
        """The signal, and what it is compared with."""
        return frozenset({self.comparison.signal} | ({self.comparison.reference} if self.comparison.reference else set()))

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The one comparison."""
        return (self.comparison,)

    def evaluate(self, bindings: Bindings) -> bool | None:
        """Three-valued."""
        if self.comparison.signal not in bindings or self.comparison.bound(bindings) is None:
            return None
        return self.comparison.holds(bindings)


def compare(signal: str, operator: str, factor: float, reference: str | None = None) -> Comparing:
    """A condition `signal operator factor [* reference]`."""
    return Comparing(Comparison(signal, operator, factor, reference))


def make_rule(name: str, query: str = "errors", **changes: Any) -> Rule:
    """A rule `error_rate > 0.01` by service every 5 s; `policy_*` changes its policy."""
    recover = compare("error_rate", "<=", 0.001)
    policy = Policy(
        open=compare("error_rate", ">", 0.01),
        recover=Recovery("error_rate <= 0.001", ((recover,),)),
        severity=(Rung(Severity.HIGH, compare("error_rate", ">", 0.05)),),
        recover_for_seconds=10.0,
    )
    policy = replace(policy, **{key.removeprefix("policy_"): value for key, value in changes.items() if key.startswith("policy_")})
    rule = Rule(name, (Instant("error_rate", query),), policy, Location("rules.yaml", 1), by=("service",))
    return replace(rule, **{key: value for key, value in changes.items() if not key.startswith("policy_")})


def series(**values: float) -> Samples:
    """One sample a service."""
    return Samples({make_labels({"service": name}): value for name, value in values.items()})


FAILED = QueryFailed(FailureReason.CONNECT, "refused")
Answer = Outcome | str | Callable[[float], Outcome]


class ScriptedSource:
    """Answers by query text; `HUNG` answers only at the deadline. Keeps what was asked."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.answers: dict[str, Answer] = {}
        self.default: Answer = FAILED
        self.asked: list[tuple[str, float]] = []

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """The scripted answer."""
        self.asked.append((expr, at))
        answer = self.answers.get(expr, self.default)
        if isinstance(answer, str):
            await self._clock.sleep(deadline_seconds)
            return QueryFailed(FailureReason.TIMEOUT, "no answer")
        return answer(at) if callable(answer) else answer

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """Nothing."""
        del expr, start, end, step_seconds, deadline_seconds
        return RangeSamples()


class StageStore(MemoryStore):
    """The store in memory; `fault` fails every call, `hold_seconds` delays commits. Survives a restart of the rest."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.hold_seconds = 0.0
        self.commits = 0
        self.checkpoints = 0

    @property
    def fault(self) -> OutsideError | None:
        """What every call raises."""
        return self.disk.failure

    @fault.setter
    def fault(self, fault: OutsideError | None) -> None:
        self.disk.failure = fault

    @property
    def notices(self) -> dict[str, Notice]:
        """The outbox by id."""
        return {identity: row.notice for identity, row in self.disk.outbox.items()}

    async def commit(self, alerts: Sequence[AlertRecord], decide: Decide, now: float, **options: Any) -> Committed:
        """Held, and counted."""
        if self.hold_seconds:
            await self._clock.sleep(self.hold_seconds)
        committed = await super().commit(alerts, decide, now, **options)
        self.commits += 1
        return committed

    async def checkpoint(self, progress: Sequence[RuleProgress], alerts: Sequence[AlertRecord], **options: Any) -> None:
        """Counted."""
        await super().checkpoint(progress, alerts, **options)
        self.checkpoints += 1


class Ear:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.evaluated: list[tuple[str, str, float]] = []
        self.missed: dict[str, int] = {}
        self.transitions: list[Transition] = []
        self.decisions: list[Decision] = []
        self.troubles: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.refused: list[Sequence[str]] = []
        self.loaded: list[Sequence[Rule]] = []
        self.counts: dict[str, Mapping[str, int]] = {}

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """Remember."""
        del seconds, detail
        self.evaluated.append((rule, outcome, at))

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """Remember each."""
        del seconds
        self.evaluated += [(rule, "ok", at) for rule in rules]

    def page_cut(self, part: str) -> None:
        """No PagerDuty here."""

    def slots_missed(self, rule: str, count: int) -> None:
        """Add up."""
        self.missed[rule] = self.missed.get(rule, 0) + count

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """Remember."""
        self.transitions += transitions

    def decision_committed(self, decision: Decision) -> None:
        """Remember."""
        self.decisions.append(decision)

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Remember."""
        self.counts[rule] = counts

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """Remember what came from the files."""
        if at is not None:
            self.loaded.append(rules)

    def rules_refused(self, findings: Sequence[str]) -> None:
        """Remember."""
        self.refused.append(findings)

    def trouble(self, what: str, detail: str) -> None:
        """Remember."""
        self.troubles.append((what, detail))

    def note(self, event: str, **_: object) -> None:
        """Remember what, without its facts."""
        self.notes.append(event)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Anything else is heard and forgotten."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None

    def times(self, rule: str) -> list[float]:
        """Slots at which the rule was evaluated."""
        return [at for name, _, at in self.evaluated if name == rule]


class ActedFiles:
    """Rule files whose next load is set by the test; the stored text is the names of the rules."""

    def __init__(self, rules: Sequence[Rule], catalogue: Catalogue | None = None) -> None:
        self.catalogue = catalogue or Catalogue()
        self.maintenance: tuple[MaintenanceWindow, ...] = ()
        self.known = {rule.name: rule for rule in rules}
        self.rules: Sequence[Rule] = rules
        self.fault: RuleFilesError | None = None

    def load(self, *, routed: bool = False) -> Load:  # noqa: ARG002 - the port's name; routes are not known here
        """The set, or the fault."""
        if self.fault is not None:
            raise self.fault
        return self._make(self.rules)

    def compile(self, files: Mapping[str, str]) -> Load:
        """The set whose names were stored."""
        return self._make([self.known[name] for name in files["names"].split()])

    def _make(self, rules: Sequence[Rule]) -> Load:
        names = " ".join(rule.name for rule in rules)
        return Load(RuleSet(tuple(rules), self.catalogue, digest=names, maintenance=self.maintenance), {"names": names})


class PlainRenderer:
    """str.format, for tests only."""

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text with the values filled in."""
        return template.format(**values)


@dataclass
class Stage:
    """Everything joined. `restart` throws memory away as kill -9 does, and keeps clock, source, store, files and channels.

    With a `plan` queries are merged.
    """

    rules: Sequence[Rule]
    catalogue: Catalogue | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    channels: Sequence[Channel] = ()
    paging: Paging = field(default_factory=Paging)
    plan: Plan | None = None
    make_source: Callable[[VirtualClock], ScriptedSource] = ScriptedSource

    def __post_init__(self) -> None:
        self.source = self.make_source(self.clock)
        self.store = StageStore(self.clock)
        self.files = ActedFiles(self.rules, self.catalogue)
        self.ear = Ear()
        self.offered: list[Notice] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._build()

    def _build(self) -> None:
        ear: Any = self.ear
        self.roster = Roster()
        self.cache = QueryCache(self.source, self.clock, self.plan)
        self.board = MuteBoard(self.store, RuleCalendar(), self.roster, self.clock, ear)
        self.committer = Committer(
            self.store,
            self.clock,
            ear,
            self.roster,
            self.board,
            paging=self.paging,
            offer=self._offer,
            on_commit=self._on_commit,
        )
        self.dispatchers = [Dispatcher(channel, self.store, ear, self.clock) for channel in self.channels]
        self.complaint = Complaint(self.committer, self.clock)
        self.sentinel = Sentinel(self.roster, self.committer)
        self.baselines = BaselineKeeper(self.cache, self.roster, self.clock, ear)
        self.evaluator = Evaluator(
            self.cache, self.roster, self.committer, self.sentinel, self.baselines, PlainRenderer(), self.clock, ear
        )
        self.poller = Poller(self.evaluator, self.clock, ear, self.cache.name_query)
        told = (self.cache.set_rules, self.poller.set_rules, self.baselines.set_rules)
        self.reloader = Reloader(self.files, self.store, self.roster, self.committer, self.clock, ear, told)

    async def __aenter__(self) -> Self:
        """Start as the daemon does."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left running."""
        await self.kill()

    async def start(self) -> None:
        """Restore, load, run."""
        await self.store.open()
        memory = await self.store.load()
        self.roster.restore(memory, self.clock.now())
        self.committer.remember(memory.incidents)
        self.sentinel.restore(memory.incidents)
        await self.board.refresh()
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "committer": self.committer.run,
            "checkpoints": self.committer.run_checkpoints,
            "orphans": self.reloader.run,
            "lag": self.poller.run_lag,
            "silences": self.board.run,
            "store watch": self.complaint.watch_store,
        }
        for number, dispatcher in enumerate(self.dispatchers):
            loops[f"dispatcher {number}"] = dispatcher.run
        ear: Any = self.ear
        self._tasks = [asyncio.create_task(guard(name, work, self.clock, ear), name=name) for name, work in loops.items()]
        self.report = await self.reloader.start()

    async def kill(self) -> None:
        """Stop at once; memory is gone, nothing more is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for dispatcher in self.dispatchers:
            await _kill_dispatcher(dispatcher)
        await self.committer.close()
        await self.poller.stop(patience_seconds=0.0)
        await self.baselines.stop()
        await self.cache.close()

    async def restart(self) -> None:
        """Kill -9 and start."""
        await self.kill()
        self._build()
        await self.start()

    def _offer(self, notices: Sequence[Notice]) -> None:
        self.offered += notices
        for dispatcher in self.dispatchers:
            dispatcher.offer(notices)

    def _on_commit(self, decision: Committed) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.committed(decision.notices, decision.collapsed)

    def state(self, rule: str, service: str) -> AlertState | None:
        """The alert in memory."""
        return self.roster.states(rule).get(make_labels({"service": service}))

    @property
    def kinds(self) -> list[str]:
        """Kinds of the notices in the outbox, in order."""
        return [notice.kind.value for notice in self.store.notices.values()]


async def _kill_dispatcher(dispatcher: Dispatcher) -> None:
    """What it had under way is gone, wherever it was."""
    flying = [flight.task for flight in dispatcher._flights.values()]
    tasks = [task for task in (dispatcher._claim, dispatcher._record, *flying) if task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def store_fault() -> TemporaryError:
    """What a store raises that cannot answer now."""
    return TemporaryError("disk full")
