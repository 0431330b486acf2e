"""Tries the queries of rule files on a real Prometheus, and how the rules fared there, for `detector check --prometheus`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from detector.adapters.prometheus import PrometheusSource
from detector.app.audit import audit_rules
from detector.domain.label import format_labels
from detector.domain.outcome import FailureReason, NoData, QueryFailed, Samples
from detector.ports.rulefile import Finding
from detector.transport.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from detector.adapters.rulefile import Query
    from detector.app.audit import Fare
    from detector.domain.outcome import Outcome
    from detector.domain.rule import Rule, RuleSet
    from detector.transport.exchange import ExchangeOption

DEADLINE_SECONDS = 30.0
_ABOUT_THE_QUERY = frozenset(
    {FailureReason.BAD_QUERY, FailureReason.RESULT_TYPE, FailureReason.DUPLICATE, FailureReason.TOO_LARGE, FailureReason.TIMEOUT}
)


@dataclass(frozen=True, slots=True)
class Tryout:
    """Queries that failed; those that matched no series now, and rules that would hardly end or never begin."""

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def try_rules(queries: Sequence[Query], rules: RuleSet, url: str, access: ExchangeOption | None) -> Tryout:
    """Ask every distinct query once. A server that cannot be asked is one finding, not one for each query."""
    outcomes, fares = asyncio.run(_ask(sorted({query.text for query in queries}), rules, url, access))
    findings: list[Finding] = []
    warnings: list[str] = []
    faulty_server = False
    for query in queries:
        place = query.location
        match outcomes[query.text]:
            case QueryFailed(reason=reason, detail=detail) if reason in _ABOUT_THE_QUERY:
                findings.append(Finding(place.file, place.line, place.column, f"Prometheus: {reason.value}: {detail}"))
            case QueryFailed(reason=reason, detail=detail):
                if not faulty_server:
                    message = f"Prometheus did not answer this query ({reason.value}: {detail}); is --prometheus right?"
                    findings.append(Finding(place.file, place.line, place.column, message))
                faulty_server = True
            case NoData():
                warnings.append(f"{place.file}:{place.line}:{place.column}: the query matches no series there now")
            case Samples():
                pass
            case unreachable:
                assert_never(unreachable)
    return Tryout(tuple(findings), (*warnings, *(line for fare in fares for line in _tell(fare))))


def _place(rule: Rule) -> tuple[str, int]:
    return rule.source.file, rule.source.line


def _tell(fare: Fare) -> Iterator[str]:
    place = f"{fare.rule.source.file}:{fare.rule.source.line}: rule {fare.rule.name}"
    if not fare.seen:
        yield f"{place} matched no series in the last day; it can open nothing until its metrics are there"
    elif stuck := fare.stuck:
        worst = stuck[0]
        more = f", and of {len(stuck) - 1} more of {len(fare.seen)} alerts under half" if len(stuck) > 1 else ""
        yield (
            f"{place}: `recover` held at {fare.held[worst]} of {fare.seen[worst]} moments of the last day "
            f"for {format_labels(worst)}{more}; an incident would not resolve as things usually are, so ask less of `recover`"
        )


async def _ask(
    texts: Sequence[str], rules: RuleSet, url: str, access: ExchangeOption | None
) -> tuple[Mapping[str, Outcome], Sequence[Fare]]:
    async with Exchange(access) as exchange:
        source = PrometheusSource(exchange, url)
        now = time.time()
        outcomes = await asyncio.gather(*(source.query(text, now, deadline_seconds=DEADLINE_SECONDS) for text in texts))
        answered = any(isinstance(outcome, Samples) for outcome in outcomes)
        fares = await audit_rules(sorted(rules.rules, key=_place), rules.catalogue, source, now) if answered else []
    return dict(zip(texts, outcomes, strict=True)), fares
