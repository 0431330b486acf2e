"""Drives the rules of the path over a past that a real Prometheus holds: the daemon's decisions without its clock.

Rules come from the real loader, samples through the real source, decisions from `advance` and `correlate`; only the order of the
steps is written here. Evaluations stand on one grid, baselines are asked once a minute, as the daemon does. The medians of a day
and a week ago, which count once an alert has been open for an hour, are not asked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from detector.adapters.template import TemplateRenderer
from detector.app.evaluation import list_values
from detector.app.transaction import fold_book
from detector.domain.advance import advance
from detector.domain.alert import AlertState, Change, Transition
from detector.domain.baseline import plan_baselines, plan_history, read_baselines
from detector.domain.correlate import correlate
from detector.domain.incident import Book, Incident, Notice
from detector.domain.judgement import Evaluation
from detector.domain.label import Labels
from detector.domain.ledger import Paging
from detector.domain.outcome import Outcome, QueryFailed
from detector.domain.reading import plan_queries, read_signals
from detector.domain.rule import Rule, RuleSet
from detector.domain.severity import Severity
from detector.ports.source import SampleSource

BASELINE_EVERY_SECONDS = 60.0
DEADLINE_SECONDS = 30.0


@dataclass
class Replay:
    """One replay; what happened is kept in order. `failures`: queries that the source refused."""

    source: SampleSource
    rules: RuleSet
    paging: Paging = field(default_factory=Paging)
    transitions: list[Transition] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    failures: dict[str, QueryFailed] = field(default_factory=dict)
    unfilled: list[str] = field(default_factory=list)
    states: dict[str, dict[Labels, AlertState]] = field(default_factory=dict)
    severities: list[tuple[float, str, Severity]] = field(default_factory=list)
    _book: Book = field(default_factory=Book)
    _baselines: dict[str, Mapping[str, Mapping[Labels, float]]] = field(default_factory=dict)
    _answering: bool = False

    async def run(self, start: float, end: float, step_seconds: float) -> None:
        """Evaluate every rule at each step of [start, end]; durations count only when `every` of the rules is the step."""
        renderer = TemplateRenderer(lambda template, why: self.unfilled.append(f"{template}: {why}"))
        at = start
        while at <= end:
            if (at - start) % BASELINE_EVERY_SECONDS == 0:
                await self._ask_baselines(at)
            outcomes = await self._ask_plans(at)
            answering = False
            told: list[Transition] = []
            for rule in self.rules.rules:
                found, answers = self._advance(rule, outcomes, at)
                answering = answering or answers
                told += [self._fill(renderer, transition) for transition in found]
            self._answering = answering
            self._decide(told, at)
            at += step_seconds

    def of(self, service: str, *changes: Change) -> list[Transition]:
        """Transitions of a service, all or of those kinds."""
        return [found for found in self.transitions if found.service == service and (not changes or found.change in changes)]

    def incident(self, service: str) -> Incident:
        """The only incident of a service."""
        found = [incident for incident in self.incidents.values() if incident.service == service]
        assert len(found) == 1, f"{service}: {[(incident.rules, incident.opened) for incident in found]}"
        return found[0]

    def fired(self, rule: str) -> set[str]:
        """Services that the rule fired for."""
        return {found.service for found in self.transitions if found.rule == rule and found.change is Change.FIRED}

    def state(self, rule: str, service: str) -> AlertState:
        """The state of the rule's only alert about the service (by label `service` or `job`) at the end."""
        named = self.rules.find(rule)
        assert named is not None, rule
        states = [state for labels, state in self.states.get(rule, {}).items() if named.service_of(labels) == service]
        assert len(states) == 1, states
        return states[0]

    async def _ask(self, queries: Iterable[str], at: float) -> dict[str, Outcome]:
        distinct = list(dict.fromkeys(queries))
        answers = await asyncio.gather(*(self.source.query(query, at, deadline_seconds=DEADLINE_SECONDS) for query in distinct))
        outcomes = dict(zip(distinct, answers, strict=True))
        self.failures |= {query: answer for query, answer in outcomes.items() if isinstance(answer, QueryFailed)}
        return outcomes

    async def _ask_plans(self, at: float) -> dict[str, Outcome]:
        plain = (query for rule in self.rules.rules for query in plan_queries(rule))
        severe = (query for rule in self.rules.rules for query in plan_queries(rule, severity=True))
        return await self._ask((*plain, *severe), at)

    async def _ask_baselines(self, at: float) -> None:
        rules = [rule for rule in self.rules.rules if rule.baselines]
        outcomes = await self._ask((query for rule in rules for query in plan_baselines(rule).values()), at)
        self._baselines = {rule.name: read_baselines(rule, outcomes) for rule in rules}

    def _advance(self, rule: Rule, outcomes: Mapping[str, Outcome], at: float) -> tuple[tuple[Transition, ...], bool]:
        readings = read_signals(rule, outcomes)
        states = self.states.setdefault(rule.name, {})
        evaluation = Evaluation(
            rule,
            self.rules.catalogue,
            readings,
            at,
            severity_readings=read_signals(rule, outcomes, severity=True),
            baselines=self._baselines.get(rule.name, {}),
            answering=not readings.empty or self._answering,
        )
        found = advance(evaluation, [*states, *sorted(key for key in readings.keys if key not in states)], states)
        states |= found.states
        for labels in found.dropped:
            states.pop(labels, None)
        return found.transitions, not readings.empty

    def _fill(self, renderer: TemplateRenderer, transition: Transition) -> Transition:
        return replace(transition, summary=renderer.render(transition.summary, list_values(transition)))

    def _decide(self, told: list[Transition], at: float) -> None:
        decision = correlate(self._book, told, self.rules.catalogue, self.paging, at)
        self._book = fold_book(self._book, decision)
        self.transitions += told
        self.notices += decision.notices
        for incident in decision.incidents:
            self.incidents[incident.id] = incident
            self.severities.append((at, incident.service, incident.severity))


async def try_queries(source: SampleSource, rules: RuleSet, at: float) -> dict[str, Outcome]:
    """Every query that the rules may ever ask, asked once."""
    queries: dict[str, None] = {}
    for rule in rules.rules:
        queries |= dict.fromkeys((*plan_queries(rule), *plan_queries(rule, severity=True), *plan_baselines(rule).values()))
        queries |= dict.fromkeys(query for past in plan_history(rule).values() for query in past)
    return {query: await source.query(query, at, deadline_seconds=DEADLINE_SECONDS) for query in queries}
