"""The plot of a post-mortem: every signal over the incident with its moments marked. SVG, no scripts, every text escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from detector.domain.quantity import format_signal
from detector.domain.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.domain.postmortem import Curve, Facts, Mark

_WIDTH, _LEFT, _RIGHT, _TOP = 720, 80, 20, 40
_PANEL, _SPACE, _WORDS = 140, 40, 16
_HOLE_SHARE = 0.05  # of the whole span: and two steps: wider gaps are not bridged
_MOST = 12
_COLOURS = {"breach": "#b00020", "page": "#8a4fb0", "acknowledge": "#1f6fb4", "recovery": "#2b8a5f", "relapse": "#b00020"}
_MITIGATION = "#b0672f"
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f} .faint{fill:#57606a;font-size:11px} .frame{fill:none;stroke:#d0d7de} "
    ".line{fill:none;stroke:#1f6fb4;stroke-width:1.4} .limit{stroke:#b00020;stroke-dasharray:5 4}"
)


def draw_plot(facts: Facts) -> str:
    """The whole picture."""
    curves = [curve for curve in facts.curves if curve.points][:_MOST]
    marks = facts.marks
    moments = [at for curve in curves for at, _ in curve.points] + [mark.at for mark in marks]
    begin, end = min(moments), max(*moments, min(moments) + 1.0)
    top = _TOP + _WORDS * len(marks)
    height = top + max(1, len(curves)) * (_PANEL + _SPACE) + 10
    width = _LEFT + _WIDTH + _RIGHT
    place = _Place(begin, end)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{_text(f'Incident {facts.incident.id}')}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20">{_text(facts.incident.summary)}</text>',
        *_draw_words(marks, place),
    ]
    if not curves:
        parts.append(f'<text class="faint" x="{_LEFT}" y="{top + 40}">No samples could be read.</text>')
    for number, curve in enumerate(curves):
        parts += _draw_curve(curve, marks, place, top + number * (_PANEL + _SPACE))
    return "\n".join((*parts, "</svg>")) + "\n"


class _Place:
    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end

    def x(self, at: float) -> float:
        return _LEFT + _WIDTH * (at - self.begin) / (self.end - self.begin)


def _draw_words(marks: Sequence[Mark], place: _Place) -> Iterator[str]:
    """One line of words each, so that moments close to each other can be read."""
    for number, mark in enumerate(marks):
        x, y = place.x(mark.at), _TOP + _WORDS * number
        anchor = "end" if x > _LEFT + _WIDTH * 0.7 else "start"
        words = f"{mark.word} {datetime.fromtimestamp(mark.at, UTC):%H:%M:%S}"
        shift = -5 if anchor == "end" else 5
        yield f'<text class="faint" x="{x + shift:.1f}" y="{y + 4}" text-anchor="{anchor}">{_text(words)}</text>'
        yield f'<circle cx="{x:.1f}" cy="{y}" r="3" fill="{_colour(mark)}"/>'


def _draw_curve(curve: Curve, marks: Sequence[Mark], place: _Place, top: int) -> Iterator[str]:
    base = top + 12
    values = [value for _, value in curve.points]
    limits = [] if curve.threshold is None else [curve.threshold]
    ceiling = max([*values, *(1.25 * limit for limit in limits), 0.0]) or 1.0
    floor = min([*values, 0.0])
    scale = _PANEL / (ceiling - floor)
    yield f'<text x="{_LEFT}" y="{top + 4}">{_text(f"{curve.rule}: {curve.signal} {curve.labels}")}</text>'
    yield f'<rect class="frame" x="{_LEFT}" y="{base}" width="{_WIDTH}" height="{_PANEL}"/>'
    for mark in marks:
        x = place.x(mark.at)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + _PANEL}" stroke="{_colour(mark)}" stroke-opacity="0.6"/>'
    for limit in limits:
        y = base + _PANEL - (limit - floor) * scale
        yield f'<line class="limit" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _label(format_signal(curve.signal, limit), y)
    yield f'<path class="line" d="{_trace(curve, place, base, floor, scale)}"/>'
    yield _label(format_signal(curve.signal, ceiling), base + 4)
    if all(abs(limit - floor) * scale > _WORDS for limit in limits):  # else both labels would stand on each other
        yield _label(format_signal(curve.signal, floor), base + _PANEL)
    for at, anchor in ((place.begin, "start"), (place.end, "end")):
        words = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
        yield f'<text class="faint" x="{place.x(at):.1f}" y="{base + _PANEL + 14}" text-anchor="{anchor}">{words}</text>'


def _trace(curve: Curve, place: _Place, base: int, floor: float, scale: float) -> str:
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(curve.points)]
    hole = max((place.end - place.begin) * _HOLE_SHARE, 2.5 * min(gaps, default=0.0))
    last = float("-inf")
    steps = []
    for at, value in curve.points:
        steps.append(f"{'M' if at - last > hole else 'L'}{place.x(at):.1f} {base + _PANEL - (value - floor) * scale:.1f}")
        last = at
    return "".join(steps)


def _label(text: str, y: float) -> str:
    return f'<text class="faint" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_text(text)}</text>'


def _colour(mark: Mark) -> str:
    return _COLOURS.get(mark.word, _MITIGATION)


def _text(text: str) -> str:
    line = clean_line(text)
    return escape(line if len(line) <= 110 else f"{line[:109]}…")  # noqa: PLR2004 - what fits
