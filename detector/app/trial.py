"""Runs one rule test over a source that holds its series: replay up to every expectation, look, compare.

Before it: the test's series lie in the source from `start` on. After it: `detector test` tells what was missed, with the values
around. The rules are judged by the same replay as a backtest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detector.app.backtest import Backtest
from detector.app.replay import DEADLINE_SECONDS, Replay
from detector.app.stretch import PastError
from detector.domain.alert import Phase
from detector.domain.label import Labels
from detector.domain.outcome import Matrix, QueryFailed, cut_moment
from detector.domain.reading import plan_queries, read_signals
from detector.domain.trial import MOMENTS, Expectation, Item, Miss, Situation, judge
from detector.domain.view import Json, merge_live, view_alert, view_incident

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.domain.catalogue import Service
    from detector.domain.incident import Notice
    from detector.domain.ledger import Paging
    from detector.domain.rule import Rule, RuleSet
    from detector.domain.trial import Trial
    from detector.ports.calendar import Calendar
    from detector.ports.source import PastSource
    from detector.ports.template import Renderer

_AROUND = 2


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal of one alert around a moment: (seconds after the beginning, value or None)."""

    rule: str
    labels: Labels
    signal: str
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A missed expectation with the signals around it."""

    miss: Miss
    signals: tuple[SignalLine, ...]


async def run_trial(
    trial: Trial, rules: RuleSet, source: PastSource, start: float, paging: Paging, renderer: Renderer, calendar: Calendar
) -> tuple[Failure, ...]:
    """Run it; nothing comes back when everything was as expected. Raises PastError when a query fails."""
    notices: list[Item] = []
    replay = Replay(rules, paging, renderer, trial.interval_seconds, calendar=calendar)
    replay.heed = lambda notice: notices.append(_view_notice(notice, start))
    past = Backtest(source, [replay], start, trial.interval_seconds)
    failures: list[Failure] = []
    for expectation in trial.expectations:
        await past.run(1 + math.floor(expectation.at_seconds / trial.interval_seconds))
        for miss in judge(expectation, _look(replay, notices, start)):
            lines = [
                line for rule in replay.rules.rules for line in await _list_signals(rule, source, start, trial, expectation, miss)
            ]
            failures.append(Failure(miss, tuple(lines)))
    return tuple(failures)


def _look(replay: Replay, notices: list[Item], start: float) -> Situation:
    live = [
        merge_live(incident, lambda rule, labels: replay.states.get(rule, {}).get(labels)) for incident in replay.incidents.values()
    ]
    alerts = [
        view_alert(rule.name, rule.service_of(state.labels), state)
        for rule in replay.rules.rules
        for state in replay.states[rule.name].values()
        if state.phase is not Phase.INACTIVE
    ]
    summaries = {(alert.rule, alert.labels): alert.summary for incident in live for alert in incident.alerts.values()}
    shown = [{**alert, "summary": summaries.get((str(alert["rule"]), _labels_of(alert)), "")} for alert in alerts]
    active = [incident.severity for incident in live if incident.status.active]
    return Situation(
        alerts=tuple(_count_from(alert, start) for alert in shown),
        incidents=tuple(_count_from(view_incident(incident), start) for incident in live),
        notices=tuple(notices),
        severity=max(active).value if active else "none",
        pages=len(replay.pages),
    )


def _labels_of(alert: Mapping[str, Json]) -> Labels:
    labels = alert["labels"]
    return tuple(sorted((name, str(value)) for name, value in labels.items())) if isinstance(labels, dict) else ()


def _view_notice(notice: Notice, start: float) -> Item:
    return {
        "kind": notice.kind.value,
        "channel": notice.channel,
        "route": notice.route,
        "severity": notice.severity.value,
        "service": notice.values.get("service"),
        "summary": notice.values.get("title"),
        "at": notice.at - start,
    }


def _count_from(item: Mapping[str, Json], start: float) -> Item:
    return {key: value - start if key in MOMENTS and isinstance(value, int | float) else value for key, value in item.items()}


async def _list_signals(
    rule: Rule, source: PastSource, start: float, trial: Trial, expectation: Expectation, miss: Miss
) -> list[SignalLine]:
    """Signals of the alerts that the miss concerns, of all alerts of its rules where it names none."""
    if miss.alerts and rule.name not in {name for name, _ in miss.alerts}:
        return []
    interval = trial.interval_seconds
    middle = math.floor(expectation.at_seconds / interval)
    first, count = max(0, middle - _AROUND), min(middle, _AROUND) + _AROUND + 1
    matrices: dict[str, Matrix] = {}
    for query in plan_queries(rule):
        moment = start + first * interval - rule.offset_seconds
        outcome = await source.query_matrix(query, moment, count, interval, deadline_seconds=DEADLINE_SECONDS)
        if isinstance(outcome, QueryFailed):
            raise PastError(query, outcome)
        matrices[query] = outcome
    readings = [
        read_signals(rule, {query: cut_moment(matrix.series, step) for query, matrix in matrices.items()}) for step in range(count)
    ]
    wanted = {labels for name, labels in miss.alerts if name == rule.name}
    known = {labels for reading in readings for labels in reading.keys}
    keys = sorted((known & wanted) or known)
    return [
        SignalLine(
            rule.name,
            labels,
            name,
            tuple(((first + step) * interval, reading.columns[name].values.get(labels)) for step, reading in enumerate(readings)),
        )
        for labels in keys
        for name in readings[0].columns
    ]


def add_services(rules: RuleSet, services: Mapping[str, Service]) -> RuleSet:
    """The rules with a test's own catalogue on top of theirs."""
    catalogue = replace(rules.catalogue, services={**rules.catalogue.services, **services})
    return replace(rules, catalogue=catalogue)
