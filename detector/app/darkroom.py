"""Reads the samples behind an incident that is over: its signals as curves, and the raw series of a rule test.

Asked of a source of its own, so that no rule waits. What can't be read is said in place of the curve; nothing here raises.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.domain.label import Labels, format_labels
from detector.domain.outcome import NoData, QueryFailed, RangeSamples
from detector.domain.postmortem import Curve
from detector.domain.reading import fill_window, signal_queries
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
        alerts = sorted(incident.alerts.values(), key=lambda alert: (alert.breached, alert.key))
        by_name = {rule.name: rule for rule in rules}
        wanted = [(by_name[alert.rule], alert) for alert in alerts if alert.rule in by_name]
        end = incident.resolved or incident.detected
        asked = [(rule, alert, signal) for rule, alert in wanted for signal in rule.signals][:MOST_CURVES]
        curves = await asyncio.gather(*(self._trace(incident, *one, end) for one in asked))
        return curves, await self._write_test(incident, by_name, end)

    async def _trace(self, incident: Incident, rule: Rule, alert: JoinedAlert, signal: Signal, end: float) -> Curve:
        span = choose_span(incident.opened - _lead_in(incident, end) - rule.window_seconds, end, rule.every_seconds)
        queries = [fill_window(query, rule.window_seconds) for query in signal_queries(signal)]
        threshold = alert.threshold if signal.name == alert.signal else None
        found: list[Points] = []
        fault = ""
        for query in queries:
            answer = await self._ask(query, span)
            fault = fault or (answer if isinstance(answer, str) else "")
            found.append(() if isinstance(answer, str) else _pick(answer, alert.labels))
        points = _divide(*found) if isinstance(signal, Ratio) else found[0]
        return Curve(rule.name, signal.name, format_labels(alert.labels), () if fault else points, threshold, fault)

    async def _write_test(self, incident: Incident, rules: Mapping[str, Rule], end: float) -> str:
        alert = lead_alert(incident)
        rule = None if alert is None else rules.get(alert.rule)
        if alert is None or rule is None:
            return ""
        lead_in = _lead_in(incident, end) + rule.window_seconds
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
        return write_test(f"incident {incident.id}", (rule.source.file,), span, series, opening)

    async def _ask(self, query: str, span: Span) -> Mapping[Labels, Points] | str:
        """Points by labels; or why there are none."""
        end = span.start + (span.count - 1) * span.step_seconds
        answer = await self._source.query_range(query, span.start, end, span.step_seconds, deadline_seconds=DEADLINE_SECONDS)
        match answer:
            case RangeSamples(series):
                return series
            case NoData():
                return {}
            case QueryFailed(reason, detail):
                return f"{reason.value} {detail}".strip()


def _lead_in(incident: Incident, end: float) -> float:
    """How much is shown from before it: as long as it took, within bounds."""
    return min(MOST_BEFORE_SECONDS, max(LEAST_BEFORE_SECONDS, end - incident.opened))


def _pick(series: Mapping[Labels, Points], wanted: Labels) -> Points:
    """The series of the alert: the first whose labels hold all of the alert's."""
    return next((points for labels, points in series.items() if set(wanted) <= set(labels)), ())


def _divide(numerator: Points, denominator: Points) -> Points:
    """A missing numerator beside a denominator is 0, as when it is judged."""
    above = dict(numerator)
    return tuple((at, above.get(at, 0.0) / below) for at, below in denominator if below)
