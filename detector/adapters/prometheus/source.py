"""Asks Prometheus and gives back an outcome, whatever happens out there.

Before it: the poller, with one distinct (query, time). After it: `answer`, which reads the bytes. Nothing is tried again here:
the next slot is the next try, so a Retry-After of hours changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, assert_never
from urllib.parse import quote, urlencode

from detector.adapters.prometheus import answer
from detector.domain.outcome import FailureReason, MatrixOutcome, Outcome, QueryFailed, RangeOutcome
from detector.transport.exchange import MAX_BODY_BYTES, Exchange, Request
from detector.transport.fault import ExchangeError, Fault

DEFAULT_DEADLINE_SECONDS = 10.0
DEFAULT_PERMITS = 16
_OK = 200
_LEAST_SECONDS = 0.02  # less is no time to ask anything

WarningListener: TypeAlias = Callable[[str, str], None]


class PrometheusSource:
    """The port `SampleSource`, and what `init` and `doctor` ask beside it. Never raises for outside faults.

    At most `permits` requests run at once, and waiting for a permit counts in the deadline. A hung query holds its permit until
    its own deadline, so others are delayed only while `permits` queries hang at the same time; they then fail with TIMEOUT.
    The exchange should allow at least `permits` connections per host. Its credentials and CA file are its own matter.
    """

    def __init__(
        self,
        exchange: Exchange,
        base_url: str,
        *,
        permits: int = DEFAULT_PERMITS,
        max_bytes: int = MAX_BODY_BYTES,
        on_warning: WarningListener | None = None,
    ) -> None:
        """Ask below `base_url`, whose path prefix is kept. `on_warning(query, text)` hears of harmless annotations."""
        self._exchange = exchange
        self._base_url = base_url.rstrip("/")
        self._permits = asyncio.Semaphore(permits)
        self._max_bytes = max_bytes
        self._on_warning = on_warning
        self._reader = answer.AnswerReader()

    async def query(self, expr: str, at: float, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS) -> Outcome:
        """Instant query at unix seconds `at`."""
        body = await self._ask("query", {"query": expr, "time": _write_time(at)}, deadline_seconds)
        if isinstance(body, QueryFailed):
            return body
        outcome, annotations = self._reader.read_instant(body)
        self._pass_on(expr, annotations)
        return outcome

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    ) -> RangeOutcome:
        """Range query over [start, end]; Prometheus itself refuses more than 11,000 points a series (BAD_QUERY)."""
        span = {"start": _write_time(start), "end": _write_time(end), "step": _write_time(step_seconds)}
        body = await self._ask("query_range", {"query": expr, **span}, deadline_seconds)
        if isinstance(body, QueryFailed):
            return body
        outcome, annotations = self._reader.read_range(body)
        self._pass_on(expr, annotations)
        return outcome

    async def query_matrix(
        self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    ) -> MatrixOutcome:
        """What `count` instant queries would answer, as one range query; non-finite values keep their place."""
        end = start + (count - 1) * step_seconds
        span = {"start": _write_time(start), "end": _write_time(end), "step": _write_time(step_seconds)}
        body = await self._ask("query_range", {"query": expr, **span}, deadline_seconds)
        if isinstance(body, QueryFailed):
            return body
        outcome, annotations = self._reader.read_matrix(body, start, count, step_seconds)
        self._pass_on(expr, annotations)
        return outcome

    async def series(
        self, match: Sequence[str], start: float, end: float, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    ) -> tuple[dict[str, str], ...] | QueryFailed:
        """Label sets, `__name__` included, of the series that match any selector and have samples in [start, end]."""
        span = {"start": _write_time(start), "end": _write_time(end)}
        body = await self._ask("series", {"match[]": list(match), **span}, deadline_seconds)
        return body if isinstance(body, QueryFailed) else answer.read_label_sets(body)

    async def label_values(
        self, label: str, start: float, end: float, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    ) -> tuple[str, ...] | QueryFailed:
        """Values of a label in [start, end]; of `__name__`: the metrics there are."""
        span = urlencode({"start": _write_time(start), "end": _write_time(end)})
        body = await self._ask(f"label/{quote(label, safe='')}/values?{span}", None, deadline_seconds)
        return body if isinstance(body, QueryFailed) else answer.read_names(body)

    async def build_info(self, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS) -> dict[str, str] | QueryFailed:
        """Version, revision and so on of the server."""
        body = await self._ask("status/buildinfo", None, deadline_seconds)
        return body if isinstance(body, QueryFailed) else answer.read_build(body)

    async def _ask(self, path: str, form: Mapping[str, str | list[str]] | None, deadline_seconds: float) -> bytes | QueryFailed:
        """Body of the answer with status 200. POST where there is a form: a long query does not fit into a URL."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._permits.acquire()
        except TimeoutError:
            return _give_up(deadline_seconds)
        try:
            remaining_seconds = deadline_seconds - (time.monotonic() - started)
            if remaining_seconds < _LEAST_SECONDS:  # its permit came from one that hung as long
                return _give_up(deadline_seconds)
            reply = await self._exchange.send(self._make_request(path, form, remaining_seconds))
        except ExchangeError as error:
            return QueryFailed(_translate_fault(error.fault), error.detail)
        finally:
            self._permits.release()
        return reply.body if reply.status == _OK else answer.read_error(reply.status, reply.body)

    def _make_request(self, path: str, form: Mapping[str, str | list[str]] | None, remaining_seconds: float) -> Request:
        # Compression costs both sides more than the bytes do on the way to a Prometheus near by.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        body = b""
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            # The server gives up when we do, instead of computing for nobody.
            timeout = {"timeout": _write_time(max(remaining_seconds, 0.001))}
            body = urlencode({**form, **timeout}, doseq=True, errors="replace").encode("ascii")
        return Request(
            method="GET" if form is None else "POST",
            url=f"{self._base_url}/api/v1/{path}",
            deadline_seconds=remaining_seconds,
            headers=headers,
            body=body,
            max_bytes=self._max_bytes,
            repeatable=True,
        )

    def _pass_on(self, expr: str, annotations: tuple[str, ...]) -> None:
        if self._on_warning is not None:
            for text in annotations:
                self._on_warning(expr, text)


def _give_up(deadline_seconds: float) -> QueryFailed:
    return QueryFailed(FailureReason.TIMEOUT, f"waited {deadline_seconds:g} s behind other queries that hang")


def _write_time(seconds: float) -> str:
    return f"{seconds:.3f}"


def _translate_fault(fault: Fault) -> FailureReason:
    match fault:
        case Fault.INVALID | Fault.DENIED | Fault.CONNECT:
            return FailureReason.CONNECT
        case Fault.DNS:
            return FailureReason.DNS
        case Fault.TLS:
            return FailureReason.TLS
        case Fault.TIMEOUT:
            return FailureReason.TIMEOUT
        case Fault.TOO_LARGE:
            return FailureReason.TOO_LARGE
        case Fault.CUT:
            return FailureReason.CUT
        case Fault.PROTOCOL:
            return FailureReason.NOT_JSON
        case Fault.REDIRECT:
            return FailureReason.REDIRECT
        case _:
            assert_never(fault)
