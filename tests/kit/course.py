"""Runs rules through scripted evaluations, without a clock, a loop or a store: `advance`, then `correlate`, step by step.

Rules are the text of a rule file, read by the real loader with real CEL. A query is answered by the name of the metric in it:
`course.step(5, errors={"shop": 0.2})` lets five seconds pass and answers every query of `errors` with one series a service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.adapters.rulefile import RuleDirectory
from detector.app.transaction import fold_book
from detector.domain.advance import Advanced, advance
from detector.domain.alert import AlertState, Transition
from detector.domain.correlate import correlate
from detector.domain.incident import Book, Decision, Event, Incident, Notice
from detector.domain.judgement import Evaluation
from detector.domain.label import Labels, make_labels
from detector.domain.ledger import Paging
from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, Samples
from detector.domain.reading import plan_queries, read_signals

if TYPE_CHECKING:
    from detector.domain.rule import Rule

FAILED = QueryFailed(FailureReason.TIMEOUT, "scripted")
GONE = NoData()

Answer: TypeAlias = "Outcome | Mapping[str, float]"


def shop(name: str = "shop", **labels: str) -> Labels:
    """The label set of a service."""
    return make_labels({"service": name, **labels})


def to_outcome(answer: Answer) -> Outcome:
    """One series a service; an outcome is left as it is."""
    return Samples({shop(name): value for name, value in answer.items()}) if isinstance(answer, Mapping) else answer


def to_values(table: Mapping[str, Mapping[str, float]] | None) -> dict[str, dict[Labels, float]]:
    """Baselines by signal and service as `Evaluation` wants them."""
    return {name: {shop(service): value for service, value in values.items()} for name, values in (table or {}).items()}


@dataclass(frozen=True)
class Step:
    """What one step brought."""

    at: float
    transitions: tuple[Transition, ...]
    decision: Decision

    @property
    def changes(self) -> list[str]:
        """What happened to alerts."""
        return [transition.change.value for transition in self.transitions]

    @property
    def notices(self) -> list[str]:
        """Kinds of the notices queued."""
        return [notice.kind.value for notice in self.decision.notices]

    @property
    def messages(self) -> list[str]:
        """Lines added to timelines."""
        return [event.message for event in self.decision.events]


@dataclass
class Course:
    """The rules, and how far they have come."""

    text: str
    paging: Paging = field(default_factory=Paging)
    now: float = 1_000_000.0
    states: dict[str, dict[Labels, AlertState]] = field(default_factory=dict)
    book: Book = field(default_factory=Book)
    incidents: dict[str, Incident] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = RuleDirectory(Path("rules")).compile({"rules.yaml": self.text}).rules

    @property
    def rule(self) -> Rule:
        """The first rule."""
        return self.rules.rules[0]

    @property
    def incident(self) -> Incident:
        """The only incident there ever was."""
        (incident,) = self.incidents.values()
        return incident

    def state(self, name: str = "shop", rule: str = "") -> AlertState:
        """State of a service's alert."""
        return self.states[rule or self.rule.name][shop(name)]

    def phase(self, name: str = "shop") -> str:
        """Phase of a service's alert of the first rule; an alert that was forgotten is "none"."""
        state = self.states.get(self.rule.name, {}).get(shop(name))
        return "none" if state is None else state.phase.value

    def step(
        self,
        seconds: float = 5.0,
        *,
        recent: Mapping[str, Answer] | None = None,
        earlier: Mapping[str, Answer] | None = None,
        baselines: Mapping[str, Mapping[str, float]] | None = None,
        history: Mapping[str, Mapping[str, float]] | None = None,
        answering: bool = True,
        **answers: Answer,
    ) -> Step:
        """Let `seconds` pass and evaluate every rule. `recent`: other answers over a severity window of 1m.

        `earlier`: what that window said a quarter of it ago, when it is asked; without it, the same as now.
        """
        self.now += seconds
        transitions: list[Transition] = []
        for rule in self.rules.rules:
            evaluation = replace(
                self.read(rule, recent=recent, **answers),
                baselines=to_values(baselines),
                history=to_values(history),
                answering=answering,
            )
            states = self.states.setdefault(rule.name, {})
            keys = [*states, *sorted(evaluation.readings.keys - states.keys())]
            advanced = advance(replace(evaluation, severity_readings=None), keys, states)
            if advanced.wants_severity:
                advanced = advance(evaluation, keys, states)
            if advanced.wants_earlier:
                before = self.read(rule, recent=earlier if earlier is not None else recent, **answers)
                evaluation = replace(evaluation, earlier_readings=before.severity_readings)
                advanced = advance(evaluation, keys, states)
            self._swap(states, advanced)
            transitions += advanced.transitions
        return self.tell(*transitions)

    def run(self, seconds: float, **answers: Any) -> list[Step]:
        """Step every five seconds for `seconds`."""
        return [self.step(5.0, **answers) for _ in range(round(seconds / 5))]

    def tell(self, *transitions: Transition, seconds: float = 0.0) -> Step:
        """Correlate these transitions, after `seconds`; with none, only the timers."""
        self.now += seconds
        decision = correlate(self.book, transitions, self.rules.catalogue, self.paging, self.now)
        return Step(self.now, transitions, self.accept(decision))

    def accept(self, decision: Decision) -> Decision:
        """Commit a decision to the book in memory."""
        self.book = fold_book(self.book, decision)
        self.incidents |= {incident.id: incident for incident in decision.incidents}
        self.events += decision.events
        self.notices += decision.notices
        return decision

    def read(self, rule: Rule, *, recent: Mapping[str, Answer] | None = None, **answers: Answer) -> Evaluation:
        """What an evaluation of the rule knows now, severity included."""
        queries = (*plan_queries(rule), *plan_queries(rule, severity=True))
        outcomes = {query: _answer(query, answers, recent or {}) for query in queries}
        readings, severity = read_signals(rule, outcomes), read_signals(rule, outcomes, severity=True)
        return Evaluation(rule, self.rules.catalogue, readings, self.now, severity)

    @staticmethod
    def _swap(states: dict[Labels, AlertState], advanced: Advanced) -> None:
        states.update(advanced.states)
        for labels in advanced.dropped:
            states.pop(labels, None)


def _answer(query: str, answers: Mapping[str, Answer], recent: Mapping[str, Answer]) -> Outcome:
    words = re.findall(r"\w+", query)
    if "[1m]" in query and (given := [recent[word] for word in words if word in recent]):
        return to_outcome(given[0])
    return to_outcome(next((answers[word] for word in words if word in answers), GONE))
