"""Drives the rules of the path over a past that a real Prometheus holds, slot by slot: what was told, and how it ended.

Rules come from the real loader, samples through the real source; the steps are those of `detector.app.replay`.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.template import TemplateRenderer
from detector.app import replay as path
from detector.domain.alert import AlertState, Change, Transition
from detector.domain.baseline import plan_baselines, plan_history
from detector.domain.incident import Incident, Notice
from detector.domain.label import Labels
from detector.domain.ledger import Paging
from detector.domain.outcome import Outcome, QueryFailed
from detector.domain.reading import plan_queries
from detector.domain.rule import RuleSet
from detector.domain.severity import Severity
from detector.ports.source import SampleSource
from detector.transport.exchange import Exchange
from tests.kit.history import History
from tests.kit.prometheus import Prometheus

DEADLINE_SECONDS = 30.0


@dataclass
class Replay:
    """One replay; what happened is kept in order. `failures`: queries that the source refused."""

    source: SampleSource
    rules: RuleSet
    paging: Paging = field(default_factory=Paging)
    transitions: list[Transition] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    failures: dict[str, QueryFailed] = field(default_factory=dict)
    unfilled: list[str] = field(default_factory=list)
    course: path.Replay = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has happened yet."""
        self.course = self._begin(1.0)

    async def run(self, start: float, end: float, step_seconds: float) -> None:
        """Evaluate every rule at each step of [start, end]."""
        self.course = self._begin(step_seconds)
        count = int((end - start) / step_seconds) + 1
        self.failures |= await path.replay_slots(self.course, self.source, start, count)

    def _begin(self, step_seconds: float) -> path.Replay:
        renderer = TemplateRenderer(lambda template, why: self.unfilled.append(f"{template}: {why}"))
        told, heard = self.transitions.append, self.notices.append
        return path.Replay(self.rules, self.paging, renderer, step_seconds, listen=told, heed=heard)

    @property
    def incidents(self) -> dict[str, Incident]:
        """Every incident there was, as it ended."""
        return self.course.incidents

    @property
    def states(self) -> dict[str, dict[Labels, AlertState]]:
        """Alert states at the end."""
        return self.course.states

    @property
    def severities(self) -> list[tuple[float, str, Severity]]:
        """(when, service, severity) of every severity that an alert took."""
        told = {Change.FIRED, Change.ROSE, Change.FELL}
        return [
            (found.at, found.service, found.state.severity or Severity.LOW) for found in self.transitions if found.change in told
        ]

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


async def try_queries(source: SampleSource, rules: RuleSet, at: float) -> dict[str, Outcome]:
    """Every query that the rules may ever ask, asked once."""
    queries: dict[str, None] = {}
    for rule in rules.rules:
        queries |= dict.fromkeys((*plan_queries(rule), *plan_queries(rule, severity=True), *plan_baselines(rule).values()))
        queries |= dict.fromkeys(query for past in plan_history(rule).values() for query in past)
    return {query: await source.query(query, at, deadline_seconds=DEADLINE_SECONDS) for query in queries}


def judge_past(
    folder: Path, history: History, begin: float, end: float, step_seconds: float, *, asked_at: float
) -> tuple[Replay, dict[str, Outcome]]:
    """Have the rules in folder/rules judge a history that a real Prometheus holds; and every query of theirs, asked once.

    Loaded history has no staleness markers; the short lookback ends a series one scrape after its last sample, as they do.
    """
    prometheus = Prometheus(folder / "prometheus", options=["--query.lookback-delta=20s"])
    prometheus.load_openmetrics(history.render())
    rules = RuleDirectory(folder / "rules", every_seconds=step_seconds).load().rules

    async def replay() -> tuple[Replay, dict[str, Outcome]]:
        async with Exchange() as exchange:
            made = Replay(PrometheusSource(exchange, prometheus.url), rules)
            await made.run(begin, end, step_seconds)
            return made, await try_queries(made.source, rules, asked_at)

    with prometheus:
        return asyncio.run(replay())
