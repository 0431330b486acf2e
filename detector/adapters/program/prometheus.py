"""A real Prometheus on given series, without scraping: for rule tests, whose time is virtual.

Series are written as OpenMetrics, made into blocks by promtool, and served on a free port of this machine. Staleness markers follow
by remote write. Before it: `binary` has found the programs. After it: `adapters.prometheus` asks it like any other.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from detector.adapters.program.child import Child, Port, ProgramError
from detector.adapters.program.remotewrite import HEADERS, write_stale
from detector.domain.notation import Mark, Series
from detector.transport.exchange import Exchange, Request
from detector.transport.fault import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

_READY_SECONDS = 30.0
_EXCHANGE_SECONDS = 5.0
_PROMTOOL_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_OK = 200
_NO_CONTENT = 204
_CONFIGURATION = """global: {scrape_interval: 1m}
storage:
  tsdb: {out_of_order_time_window: 100y}  # staleness markers come after the blocks that hold the samples before them
"""
_OPTIONS = (
    "--storage.tsdb.retention.time=200y",
    "--storage.tsdb.min-block-duration=1d",  # nothing is to be compacted
    "--storage.tsdb.max-block-duration=1d",
    "--web.enable-remote-write-receiver",
    "--log.level=warn",
)


@dataclass(frozen=True, slots=True)
class Course:
    """Series whose samples lie `interval_seconds` apart from unix seconds `start` on."""

    start: float
    interval_seconds: float
    series: tuple[Series, ...]


class LocalPrometheus:
    """Enter it to load the courses and start; leave it and it is gone. Raises ProgramError."""

    def __init__(self, prometheus: Path, promtool: Path, folder: Path, courses: Iterable[Course]) -> None:
        """`folder` must exist and be empty; it is not removed."""
        self._promtool = promtool
        self._folder = folder
        self._data = folder / "data"
        self._courses = tuple(courses)
        self._port = Port()
        configuration = folder / "prometheus.yml"
        configuration.write_text(_CONFIGURATION)
        argv = (
            prometheus,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self._data}",
            f"--web.listen-address=127.0.0.1:{self._port.number}",
            *_OPTIONS,
        )
        self._child = Child("prometheus", argv, log=folder / "prometheus.log", env=os.environ, cwd=folder)
        self._exchange = Exchange()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port.number}"

    async def __aenter__(self) -> Self:
        try:
            await self._make_blocks()
            await self._child.start()
            async with asyncio.timeout(_READY_SECONDS):
                while await self._exchange_with("GET", "/-/ready") != _OK:
                    self._child.check()
                    await asyncio.sleep(_LOOK_SECONDS)
            await self._mark_stale()
        except TimeoutError:
            await self._close()
            raise ProgramError(f"prometheus was not ready within {_READY_SECONDS:g} s; its log: {self._child.log}") from None
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._exchange.close()
        await self._child.stop()
        self._port.close()

    async def _make_blocks(self) -> None:
        text = render_courses(self._courses)
        if not text:
            return
        source = self._folder / "series.om"
        source.write_text(f"{text}\n# EOF\n")
        words = ("tsdb", "create-blocks-from", "--quiet", "openmetrics", "--max-block-duration=24h", source, self._data)
        log = self._folder / "promtool.log"
        promtool = Child("promtool", (self._promtool, *words), log=log, env=os.environ, cwd=self._folder)
        await promtool.start()
        try:
            async with asyncio.timeout(_PROMTOOL_SECONDS):
                code = await promtool.wait()
        finally:
            await promtool.stop()
        if code:
            raise ProgramError(f"promtool could not load the series: exit code {code}: {promtool.last_line()}")

    async def _mark_stale(self) -> None:
        marks = [
            (series.name, series.labels, course.start + index * course.interval_seconds)
            for course in self._courses
            for series in course.series
            for index, sample in enumerate(series.samples)
            if sample is Mark.STALE
        ]
        if marks and (status := await self._exchange_with("POST", "/api/v1/write", HEADERS, write_stale(marks))) != _NO_CONTENT:
            raise ProgramError(f"prometheus did not take the staleness markers (HTTP {status}); 2.39 or later is needed")

    async def _exchange_with(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> int:
        """Status of the answer; 0 for none."""
        request = Request(method=method, url=self.url + path, deadline_seconds=_EXCHANGE_SECONDS, headers=headers or {}, body=body)
        try:
            return (await self._exchange.send(request)).status
        except ExchangeError:
            return 0


def render_courses(courses: Iterable[Course]) -> str:
    """OpenMetrics text of all samples; the series of a metric stand together, as the format wants it."""
    families: dict[str, list[str]] = {}
    for course in courses:
        for series in course.series:
            pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in series.labels)
            lines = families.setdefault(series.name, [])
            for index, sample in enumerate(series.samples):
                if not isinstance(sample, Mark):
                    lines.append(f"{series.name}{{{pairs}}} {sample!r} {course.start + index * course.interval_seconds:.3f}")
    return "\n".join(line for lines in families.values() for line in lines)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
