"""The last two hours of every service that a cause may lie in: what the rules' signals said, asked again as ranges.

Before it: the diagnosis names a service and a moment. After it: `domain.suspect` ranks. Each signal is one query over all services,
all of them at once; a query that fails leaves its signal out.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from detector.domain.course import HISTORY_STEPS, STEP_SECONDS, Course
from detector.domain.dependency import list_dependencies
from detector.domain.duration import parse_duration
from detector.domain.label import Labels, project_labels
from detector.domain.outcome import Matrix, QueryFailed, Trace
from detector.domain.reading import fill_window, list_filled, signal_queries
from detector.domain.rule import Instant, Ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from detector.domain.outcome import MatrixOutcome
    from detector.domain.rule import Rule, RuleSet, Signal
    from detector.ports.source import PastSource

    Planned: TypeAlias = tuple[Rule, Signal, tuple[str, ...]]

SHARP_SECONDS = 300.0
MINUTE_SECONDS = 60.0
LONGEST_SECONDS = 900.0
_OFFSET = re.compile(r"\boffset\b|@\s*(?:\d|start|end)")
_RANGE = re.compile(r"\[([0-9a-z]+)[\]:]")


@dataclass(frozen=True, slots=True)
class Courses:
    """What the signals did. `failed`: why some could not be asked, so that nothing may be said to be absent; else empty."""

    known: tuple[Course, ...] = ()
    failed: str = ""


async def gather_courses(source: PastSource, rules: RuleSet, service: str, at: float, *, deadline_seconds: float) -> Courses:
    """Courses of the service and of everything it depends on, up to `at`."""
    wanted = frozenset((service, *list_dependencies(rules.catalogue, service)))
    plan = plan_signals(rules.rules)
    queries = list(dict.fromkeys(query for _, _, texts in plan for query in texts))
    start = at - HISTORY_STEPS * STEP_SECONDS
    answers = await asyncio.gather(
        *(
            source.query_matrix(query, start, HISTORY_STEPS + 1, STEP_SECONDS, deadline_seconds=deadline_seconds)
            for query in queries
        )
    )
    outcomes = dict(zip(queries, answers, strict=True))
    known = tuple(course for rule, signal, texts in plan for course in read_courses(rule, signal, texts, outcomes, wanted))
    fault = next((answer for answer in answers if isinstance(answer, QueryFailed)), None)
    return Courses(known, "" if fault is None else f"{fault.reason.value}: {fault.detail}".removesuffix(": "))


def plan_signals(rules: Sequence[Rule]) -> list[Planned]:
    """Every signal worth looking at with its queries as asked; the same signal of several rules once.

    Left out: what tells of another time (`offset`), what looks back so far that it cannot show when a change began, unless there is
    nothing sharper, and Prometheus alerting rules, which hold their condition in their query and so have no history.
    """
    found: dict[tuple[object, ...], Planned] = {}
    for rule in rules:
        for signal in () if rule.vector else rule.signals:
            texts = list_filled(rule, signal)
            if not any(_OFFSET.search(text) for text in texts):
                found.setdefault((signal.name, texts, rule.by, rule.service), (rule, signal, texts))
    for longest_seconds in (SHARP_SECONDS, LONGEST_SECONDS):
        planned = [plan for plan in found.values() if max(map(_find_longest, plan[2])) <= longest_seconds]
        if planned:
            return planned
    return []


def read_courses(
    rule: Rule, signal: Signal, texts: Sequence[str], outcomes: Mapping[str, MatrixOutcome], wanted: frozenset[str]
) -> Iterator[Course]:
    """The courses of one signal, of wanted services only."""
    tables: list[Matrix] = []
    for text in texts:
        outcome = outcomes[text]
        if isinstance(outcome, QueryFailed):
            return
        tables.append(outcome)
    parts = [_index(table, rule) for table in tables]
    for labels, trace in parts[-1].items():
        service = rule.service_of(labels)
        if service not in wanted:
            continue
        match signal:
            case Instant():
                yield Course(service, signal.name, _lay_out(trace))
            case Ratio():
                sharp = fill_window(signal_queries(signal)[-1], min(rule.window_seconds, MINUTE_SECONDS))
                yield replace(_divide(service, signal.name, parts[0].get(labels, Trace()), trace, texts[-1], labels), sharp=sharp)
            case _:
                assert_never(signal)


def _divide(service: str, name: str, numerator: Trace, denominator: Trace, query: str, labels: Labels) -> Course:
    """A missing numerator beside a present denominator is 0, as everywhere."""
    totals = _lay_out(denominator)
    shares = tuple(numerator.values.get(step, 0.0) / total if total else None for step, total in enumerate(totals))
    return Course(service, name, shares, totals, query, labels)


def _index(table: Matrix, rule: Rule) -> Mapping[Labels, Trace]:
    if rule.by is None:
        return table.series
    return {project_labels(labels, rule.by): trace for labels, trace in table.series.items()}


def _lay_out(trace: Trace) -> tuple[float | None, ...]:
    return tuple(trace.values.get(step) for step in range(HISTORY_STEPS + 1))


def _find_longest(query: str) -> float:
    return max((parse_duration(found) or 0.0 for found in _RANGE.findall(query)), default=0.0)
