"""A picture of a backtest: for every rule its signal, the thresholds of `open`, and the incidents over time. SVG, no scripts."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from detector.app.survey import list_columns
from detector.cli.table import clean, show_time
from detector.domain.label import Labels
from detector.domain.plot import Frame, choose_watched, fit_values
from detector.domain.quantity import format_count, format_signal
from detector.domain.rule import Rule
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.app.stretch import Stretch
    from detector.domain.rule import RuleSet
    from detector.domain.verdict import Finding, Verdict

_BUCKETS = 900
_LEFT, _RIGHT, _TOP = 90, 220, 72
_PANEL, _SPACE = 150, 64
_MOST_LINES = 8
_COLOURS = ("#1f6fb4", "#2b8a5f", "#8a4fb0", "#b0672f", "#3d8f9e", "#a23a6a", "#5c6b2f", "#4a4a8f")
_BANDS = {Severity.CRITICAL: "#b00020", Severity.HIGH: "#e0562b", Severity.MEDIUM: "#e8a33d", Severity.LOW: "#9aa5b1"}
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f} .title{font-size:15px;font-weight:600} .faint{fill:#57606a;font-size:11px} "
    ".frame{fill:none;stroke:#d0d7de} .limit{stroke:#b00020;stroke-dasharray:5 4;stroke-width:1.2} "
    ".line{fill:none;stroke-width:1.3} .rest{fill:none;stroke:#c4ccd4;stroke-width:1}"
)


@dataclass(slots=True)
class _Panel:
    """One rule: the worst value of its signal in each bucket, by alert."""

    rule: Rule
    signal: str
    falling: bool
    limits: tuple[float, ...]
    lines: dict[Labels, array[float]] = field(default_factory=dict)

    def add(self, labels: Labels, bucket: int, value: float) -> None:
        line = self.lines.get(labels)
        if line is None:
            line = self.lines[labels] = array("d", [math.nan]) * _BUCKETS
        known = line[bucket]
        if known != known or (value < known if self.falling else value > known):  # noqa: PLR0124 - NaN
            line[bucket] = value


class Canvas:
    """Takes in every stretch of a backtest, then draws. Memory is bounded by buckets, however long the past."""

    def __init__(self, rules: RuleSet, begin: float, end: float) -> None:
        self._begin, self._end = begin, max(end, begin + 1.0)
        self._panels = [
            _Panel(rule, watched.signal, watched.falling, watched.limits)
            for rule in rules.rules
            if (watched := choose_watched(rule)) is not None
        ]

    def add_stretch(self, stretch: Stretch) -> None:
        """Take in the values of a stretch."""
        scale = (_BUCKETS - 1) / (self._end - self._begin)
        buckets = [int((stretch.time_of(step) - self._begin) * scale) for step in range(stretch.count)]
        for panel in self._panels:
            for labels, column in list_columns(panel.rule, panel.signal, stretch).items():
                for step, value in column.items():
                    panel.add(labels, buckets[step], value)

    def render(self, verdict: Verdict, *, page: bool) -> str:
        """The picture as SVG; with `page` inside an HTML page."""
        height = _TOP + len(self._panels) * (_PANEL + _SPACE)
        width = _LEFT + _BUCKETS + _RIGHT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>Backtest {show_time(verdict.begin)} to {show_time(verdict.end)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text class="title" x="{_LEFT}" y="24">{escape(_head(verdict))}</text>',
            *_draw_key(),
        ]
        for number, panel in enumerate(self._panels):
            findings = [finding for finding in verdict.findings if finding.rule == panel.rule.name]
            parts += self._draw(panel, findings, _TOP + number * (_PANEL + _SPACE))
        parts.append("</svg>")
        picture = "\n".join(parts)
        if not page:
            return picture + "\n"
        title = f"Backtest {show_time(verdict.begin)} to {show_time(verdict.end)}"
        head = f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        return f'{head}<body style="margin:1rem">\n{picture}\n</body>\n</html>\n'

    def _draw(self, panel: _Panel, findings: Sequence[Finding], top: int) -> Iterator[str]:
        shown = self._choose(panel, findings)
        values = [value for line in panel.lines.values() for value in line if value == value]  # noqa: PLR0124 - NaN
        yield f'<text x="{_LEFT}" y="{top + 4}">{escape(clean(f"{panel.rule.name}: {panel.signal}"))}</text>'
        base = top + 12
        frame = Frame(0.0, _BUCKETS, *fit_values(values, panel.limits), _BUCKETS, _PANEL, _LEFT, base)
        for finding in findings:
            left, right = self._place(finding.opened), self._place(finding.resolved or self._end)
            told = f"{finding.service} {finding.severity.value} {show_time(finding.opened)}"
            yield (
                f'<rect x="{left:.1f}" y="{base}" width="{max(1.5, right - left):.1f}" height="{_PANEL}" '
                f'fill="{_BANDS[finding.severity]}" fill-opacity="0.18"><title>{escape(clean(told))}</title></rect>'
            )
        rest = [line for labels, line in panel.lines.items() if labels not in shown]
        if rest:
            worst = min if panel.falling else max
            envelope = array("d", (_join_bucket(worst, [line[bucket] for line in rest]) for bucket in range(_BUCKETS)))
            yield from _draw_line(envelope, frame, 'class="rest"')
            yield _legend(f"worst of {len(rest)} others", "#8b949e", base, len(shown))
        for number, labels in enumerate(shown):
            colour = _COLOURS[number % len(_COLOURS)]
            yield from _draw_line(panel.lines[labels], frame, f'class="line" stroke="{colour}"')
            yield _legend(", ".join(value for _, value in labels) or "all", colour, base, number)
        for limit in panel.limits:
            height = frame.y(limit)
            yield f'<line class="limit" x1="{_LEFT}" x2="{_LEFT + _BUCKETS}" y1="{height:.1f}" y2="{height:.1f}"/>'
            yield _label(format_signal(panel.signal, limit), height)
        yield f'<rect class="frame" x="{_LEFT}" y="{base}" width="{_BUCKETS}" height="{_PANEL}"/>'
        yield _label(format_signal(panel.signal, frame.ceiling), base + 8)
        yield from self._draw_times(base + _PANEL + 16)

    def _choose(self, panel: _Panel, findings: Sequence[Finding]) -> list[Labels]:
        """Alerts with a line of their own: those with incidents first."""
        broken = dict.fromkeys(finding.labels for finding in findings if finding.labels in panel.lines)
        order = [*broken, *(labels for labels in panel.lines if labels not in broken)]
        return order[:_MOST_LINES] if len(order) > _MOST_LINES else order

    def _draw_times(self, height: int) -> Iterator[str]:
        span = self._end - self._begin
        form = "%H:%M" if span <= 86_400 else "%m-%d %H:%M"  # noqa: PLR2004 - a day
        for number in range(7):
            at = self._begin + span * number / 6
            words = datetime.fromtimestamp(at, UTC).strftime(form)
            yield f'<text class="faint" x="{self._place(at):.1f}" y="{height}" text-anchor="middle">{words}</text>'

    def _place(self, at: float) -> float:
        share = (at - self._begin) / (self._end - self._begin)
        return _LEFT + _BUCKETS * min(1.0, max(0.0, share))


def _draw_key() -> Iterator[str]:
    """What the colours mean."""
    place = _LEFT
    for severity, colour in _BANDS.items():
        yield f'<rect x="{place}" y="34" width="10" height="10" fill="{colour}"/>'
        yield f'<text class="faint" x="{place + 14}" y="43">{severity.value}</text>'
        place += 64
    yield f'<text class="faint" x="{place}" y="43">incident, by its worst severity; dashed: threshold; times are UTC</text>'


def _head(verdict: Verdict) -> str:
    return (
        f"{format_count(len(verdict.findings), 'incident')}, {verdict.pages_per_week:.1f} pages a week, "
        f"{format_count(verdict.flaps, 'flap')} "
        f"({show_time(verdict.begin)} to {show_time(verdict.end)})"
    )


def _join_bucket(worst: object, values: Sequence[float]) -> float:
    known = [value for value in values if value == value]  # noqa: PLR0124 - NaN
    return math.nan if not known else (min(known) if worst is min else max(known))


def _draw_line(line: array[float], frame: Frame, style: str) -> Iterator[str]:
    """One path a stretch of known values; holes of a few buckets, wider than the step, are bridged."""
    points = [(float(bucket), value) for bucket, value in enumerate(line) if value == value]  # noqa: PLR0124 - NaN
    if points:
        yield f'<path {style} d="{frame.trace(points, _BUCKETS / 20)}"/>'


def _legend(text: str, colour: str, base: int, number: int) -> str:
    height = base + 10 + 15 * number
    words = escape(clean(text if len(text) <= 30 else f"{text[:29]}…"))  # noqa: PLR2004 - what fits
    return f'<text class="faint" x="{_LEFT + _BUCKETS + 8}" y="{height}" style="fill:{colour}">{words}</text>'


def _label(text: str, height: float) -> str:
    return f'<text class="faint" x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{escape(text)}</text>'
