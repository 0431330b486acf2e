"""Tries the queries of rule files on a real Prometheus, for `detector check --prometheus`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from detector.adapters.prometheus import PrometheusSource
from detector.domain.outcome import FailureReason, NoData, QueryFailed, Samples
from detector.ports.rulefile import Finding
from detector.transport.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.adapters.rulefile import Query
    from detector.domain.outcome import Outcome

DEADLINE_SECONDS = 30.0
_ABOUT_THE_QUERY = frozenset(
    {FailureReason.BAD_QUERY, FailureReason.RESULT_TYPE, FailureReason.DUPLICATE, FailureReason.TOO_LARGE, FailureReason.TIMEOUT}
)


@dataclass(frozen=True, slots=True)
class Tryout:
    """Queries that failed, and those that matched no series now."""

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def try_queries(queries: Sequence[Query], url: str) -> Tryout:
    """Ask every distinct query once. A server that cannot be asked is one finding, not one for each query."""
    outcomes = asyncio.run(_ask(sorted({query.text for query in queries}), url))
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
    return Tryout(tuple(findings), tuple(warnings))


async def _ask(texts: Sequence[str], url: str) -> Mapping[str, Outcome]:
    exchange = _make_exchange(url)
    try:
        source = PrometheusSource(exchange, url)
        now = time.time()
        outcomes = await asyncio.gather(*(source.query(text, now, deadline_seconds=DEADLINE_SECONDS) for text in texts))
    finally:
        await exchange.close()
    return dict(zip(texts, outcomes, strict=True))


def _make_exchange(url: str) -> Exchange:
    """With the settings' credentials where they are for this very address; no other server gets to see them."""
    from detector.adapters.settings import WrongSettingsError, load_settings

    try:
        settings = load_settings()
    except WrongSettingsError:
        return Exchange()
    if url.rstrip("/") != settings.prometheus_url.rstrip("/"):
        return Exchange()
    from detector.adapters.settings.policy import make_exchange_option

    return Exchange(make_exchange_option(settings))
