"""The samples of an incident's page: bounded in what they ask of Prometheus, never in the way of the page."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from detector.adapters.postmortem import FileArchive
from detector.app import plotter
from detector.app.darkroom import Darkroom
from detector.app.plotter import LivePlotter
from detector.domain.incident import Status
from detector.domain.label import make_labels
from detector.domain.outcome import FailureReason, QueryFailed, RangeOutcome, RangeSamples
from detector.domain.postmortem import Curve, Facts
from tests.kit.stage import ScriptedSource, Stage, make_rule, series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from detector.domain.incident import Incident


class PastSource(ScriptedSource):
    """Answers range queries by `past`, once `gate` is open; keeps what was asked."""

    past: RangeOutcome = RangeSamples()

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.ranges: list[tuple[str, float, float, float]] = []

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """As scripted."""
        assert deadline_seconds == plotter.DEADLINE_SECONDS
        self.ranges.append((expr, start, end, step_seconds))
        await self.gate.wait()
        if not isinstance(self.past, RangeSamples):
            return self.past
        points = tuple((start + step_seconds * n, 0.2) for n in range(int((end - start) / step_seconds) + 1))
        return RangeSamples({make_labels({"service": "shop"}): points, make_labels({"service": "other"}): ((start, 9.0),)})


@asynccontextmanager
async def draw(tmp_path: Path) -> AsyncIterator[tuple[Stage, PastSource, LivePlotter, Incident]]:
    """A stage with one open incident, and a plotter of it."""
    async with Stage([make_rule("errors")]) as stage:
        stage.source.answers["errors"] = series(shop=0.2)
        await stage.clock.run(11)
        (incident,) = stage.committer.book.incidents.values()
        source = PastSource(stage)
        made = LivePlotter(Darkroom(source), stage.store, FileArchive(tmp_path), stage.roster, stage.clock)
        yield stage, source, made, incident
        await made.stop()


async def test_an_open_incident_is_drawn_until_now(tmp_path: Path) -> None:
    """Its own series only, with its threshold, from before the breach to now; once for everybody, again after some seconds."""
    async with draw(tmp_path) as (stage, source, made, incident):
        plots = await asyncio.gather(*(made.plot(incident) for _ in range(20)))
        assert len(source.ranges) == 1
        plot = plots[0]
        assert all(other == plot for other in plots)
        assert (plot.fault, plot.end) == ("", stage.clock.now())
        assert plot.begin <= incident.opened - 60
        (curve,) = plot.curves
        assert (curve.signal, curve.threshold, {value for _, value in curve.points}) == ("error_rate", 0.01, {0.2})
        assert {mark.word for mark in plot.marks} >= {"breach"}
        stage.clock.advance(plotter.KEEP_SECONDS - 0.5)
        await made.plot(incident)
        assert len(source.ranges) == 1
        stage.clock.advance(1)
        await made.plot(incident)
        assert len(source.ranges) == 2


async def test_a_failed_query_is_a_reason(tmp_path: Path) -> None:
    """Nothing is raised, and the marks stand; a curve that was drawn before stands too, and ends where it ended."""
    async with draw(tmp_path) as (stage, source, made, incident):
        source.past = failed = QueryFailed(FailureReason.CONNECT, "connection refused")
        plot = await made.plot(incident)
        assert (plot.fault, plot.curves) == ("connect connection refused", ())
        assert plot.marks
        stage.clock.advance(plotter.KEEP_SECONDS)
        source.past = RangeSamples()
        good = await made.plot(incident)
        assert (good.fault, len(good.curves)) == ("", 1)
        source.past = failed
        for _ in range(3):
            stage.clock.advance(60)
            plot = await made.plot(incident)
            assert (plot.fault, plot.curves, plot.end) == ("connect connection refused", good.curves, stage.clock.now())


async def test_a_prometheus_that_hangs_delays_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is answered after its patience, however often it is asked; one query is under way; the next look has the answer."""
    monkeypatch.setattr(plotter, "PATIENCE_SECONDS", 0.01)
    async with draw(tmp_path) as (stage, source, made, incident):
        source.gate.clear()
        for _ in range(5):
            assert "still asking" in (await made.plot(incident)).fault
            stage.clock.advance(plotter.KEEP_SECONDS + 1)
        assert len(source.ranges) == 1
        source.gate.set()
        monkeypatch.setattr(plotter, "PATIENCE_SECONDS", 60.0)
        assert (await made.plot(incident)).curves


async def test_many_incidents_are_read_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many queries at once; beyond the room for plots the reason is said; none is kept for ever."""
    monkeypatch.setattr(plotter, "PATIENCE_SECONDS", 0.01)
    async with draw(tmp_path) as (_, source, made, incident):
        source.gate.clear()
        many = [replace(incident, id=f"i{number}") for number in range(plotter.MOST_INCIDENTS + 1)]
        plots = await asyncio.gather(*(made.plot(each) for each in many))
        assert len(source.ranges) == plotter.MOST_AT_ONCE
        assert ["too many plots" in plot.fault for plot in plots].count(True) == 1
        source.gate.set()
        monkeypatch.setattr(plotter, "PATIENCE_SECONDS", 60.0)
        for each in many:
            assert (await made.plot(each)).curves


async def test_a_closed_incident_is_drawn_from_what_was_kept(tmp_path: Path) -> None:
    """Prometheus is not asked; where nothing was kept, or it cannot be read, it is."""
    async with draw(tmp_path) as (_, source, made, incident):
        closed = replace(incident, status=Status.CLOSED, resolved=incident.opened + 60, closed=incident.opened + 100)
        kept = Curve("errors", "error_rate", "{}", ((incident.opened - 5, 0.1), (incident.opened + 60, 0.0)), 0.01)
        path = FileArchive(tmp_path).write(Facts(closed, (), (), 0.0, (kept,)))
        plot = await made.plot(closed)
        assert (plot.curves, source.ranges, plot.end) == ((kept,), [], incident.opened + 60)
        assert "recovery" in {mark.word for mark in plot.marks}
        (tmp_path / path).with_suffix(".curves.json").write_text('[{"points": 3}]')
        assert (await made.plot(closed)).curves[0].points[0][1] == 0.2
        assert len(source.ranges) == 1


async def test_an_incident_of_no_rule_of_ours_has_marks_only(tmp_path: Path) -> None:
    """What was received, or whose rule is gone, is asked of nobody."""
    async with draw(tmp_path) as (_, source, made, incident):
        plot = await made.plot(replace(incident, rules=("received/Down",), alerts={}))
        assert (plot.curves, plot.fault, source.ranges) == ((), "", [])
        assert plot.marks
