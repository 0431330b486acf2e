"""Reads the samples behind an incident: its signals as curves, and once it is over the raw series of a rule test.

Asked beside the path, so that no rule waits. What can't be read is said in place of the curve; nothing here raises.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.domain.label import Labels, format_labels
from detector.domain.outcome import NoData, QueryFailed, RangeSamples
from detector.domain.postmortem import Curve
from detector.domain.reading import list_filled, signal_queries
from detector.domain.reproduction import Opening, choose_span, write_test
from detector.domain.rule import Ratio
from detector.domain.selector import find_selectors
from detector.domain.ticket import lead_alert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.domain.incident import Incident, JoinedAlert
    from detector.domain.reproduction import Span
    from detector.domain.rule import Rule, Signal
    from detector.ports.source import SampleSource

DEADLINE_SECONDS = 20.0
LEAST_BEFORE_SECONDS, MOST_BEFORE_SECONDS = 60.0, 900.0
MOST_CURVES = 12
SEEN_STEPS = 5
MOST_QUERIES = 12

Points = tuple[tuple[float, float], ...]


class Darkroom:
    """Asks `source` for the past."""

    def __init__(self, source: SampleSource) -> None:
        self._source = source

    async def develop(self, incident: Incident, rules: Sequence[Rule]) -> tuple[Sequence[Curve], str]:
        """Curves of its alerts, and the text of a rule test, empty where none can be written."""
        end = incident.resolved or incident.detected
        curves = await self.trace(incident, rules, end)
        return curves, await self._write_test(incident, {rule.name: rule for rule in rules}, end)

    async def trace(
        self,
        incident: Incident,
        rules: Sequence[Rule],
        end: float,
        *,
        most: int = MOST_CURVES,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Sequence[Curve]:
        """At most `most` curves until `end`: the lead alert's first, of each alert what broke its threshold first."""
        by_name, lead = {rule.name: rule for rule in rules}, lead_alert(incident)
        alerts = sorted(incident.alerts.values(), key=lambda alert: (alert is not lead, alert.breached, alert.key))
        wanted = [
            (by_name[alert.rule], alert, signal)
            for alert in alerts
            if alert.rule in by_name
            for signal in _list_signals(by_name[alert.rule], alert)
        ][:most]
        spans = {
            rule.name: choose_span(choose_begin(incident, end) - rule.window_seconds, end, rule.every_seconds) for rule in rules
        }
        asked = dict.fromkeys((query, spans[rule.name]) for rule, _, signal in wanted for query in list_filled(rule, signal))
        told = await asyncio.gather(*(self._ask(query, span, deadline_seconds) for query, span in asked))
        answers = dict(zip(asked, told, strict=True))
        return [_make_curve(*one, [answers[query, spans[one[0].name]] for query in list_filled(one[0], one[2])]) for one in wanted]

    async def _write_test(self, incident: Incident, rules: Mapping[str, Rule], end: float) -> str:
        alert = lead_alert(incident)
        rule = None if alert is None else rules.get(alert.rule)
        if alert is None or rule is None:
            return ""
        lead_in = incident.opened - choose_begin(incident, end) + rule.window_seconds
        if any(name.endswith("_baseline") for name in rule.policy_for(alert.labels).open.names):
            lead_in += rule.baseline.over_seconds + rule.baseline.ago_seconds
        # it reproduces the opening: what came later is left out, so that the samples lie as dense as the rule looked
        until = min(end, incident.detected + max(rule.window_seconds, SEEN_STEPS * rule.every_seconds))
        span = choose_span(incident.opened - lead_in, until, rule.every_seconds)
        series: dict[tuple[str, Labels], Points] = {}
        selectors = dict.fromkeys(
            found for signal in rule.signals for query in signal_queries(signal) for found in find_selectors(query)
        )
        for metric, matchers in list(selectors)[:MOST_QUERIES]:
            own = ", ".join(format_labels((pair,))[1:-1] for pair in alert.labels)
            answer = await self._ask(f"{metric}{{{', '.join(filter(None, (matchers, own)))}}}", span)
            if not isinstance(answer, str):
                series |= {(metric, labels): points for labels, points in answer.items()}
        opening = Opening(rule.name, incident.service, incident.detected)
        return write_test(f"incident {incident.id}", (rule.source.file.rpartition("/")[2],), span, series, opening)

    async def _ask(self, query: str, span: Span, deadline_seconds: float = DEADLINE_SECONDS) -> Mapping[Labels, Points] | str:
        """Points by labels; or why there are none."""
        end = span.start + (span.count - 1) * span.step_seconds
        answer = await self._source.query_range(query, span.start, end, span.step_seconds, deadline_seconds=deadline_seconds)
        match answer:
            case RangeSamples(series):
                return series
            case NoData():
                return {}
            case QueryFailed(reason, detail):
                return f"{reason.value} {detail}".strip()


def choose_begin(incident: Incident, end: float) -> float:
    """Where a picture begins: as long before it as it took, within bounds."""
    return incident.opened - min(MOST_BEFORE_SECONDS, max(LEAST_BEFORE_SECONDS, end - incident.opened))


def _list_signals(rule: Rule, alert: JoinedAlert) -> list[Signal]:
    return sorted(rule.signals, key=lambda signal: signal.name != alert.signal)


def _make_curve(rule: Rule, alert: JoinedAlert, signal: Signal, answers: Sequence[Mapping[Labels, Points] | str]) -> Curve:
    threshold = alert.threshold if signal.name == alert.signal else None
    fault = next((answer for answer in answers if isinstance(answer, str)), "")
    found = [_pick(answer, alert.labels) for answer in answers if not isinstance(answer, str)]
    points = () if fault else _divide(*found) if isinstance(signal, Ratio) else found[0]
    return Curve(rule.name, signal.name, format_labels(alert.labels), points, threshold, fault)


def _pick(series: Mapping[Labels, Points], wanted: Labels) -> Points:
    """The series of the alert: the first whose labels hold all of the alert's."""
    return next((points for labels, points in series.items() if set(wanted) <= set(labels)), ())


def _divide(numerator: Points, denominator: Points) -> Points:
    """A missing numerator beside a denominator is 0, as when it is judged."""
    above = dict(numerator)
    return tuple((at, above.get(at, 0.0) / below) for at, below in denominator if below)
