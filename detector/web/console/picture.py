"""Plots and sparklines as they stand in a page: the SVG of `domain.plot`, coloured by the page's style sheet.

Their words may come from outside: `domain.plot` escapes all of them, and what is added here is escaped by Markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from detector.domain.plot import ROW, draw_panel, draw_spark, draw_words, place_words
from detector.domain.quantity import format_signal, format_span
from detector.domain.text import clean_line

if TYPE_CHECKING:
    from detector.domain.postmortem import Curve
    from detector.ports.plot import Plot
    from detector.ports.query import RuleTrail

_PANEL, _TIMES = 150, 20
_SPARK_WIDTH, _SPARK_HEIGHT = 150, 34


def draw_curve(plot: Plot, curve: Curve, *, first: bool) -> Markup:
    """One signal; the first of them has the words of the marks above it."""
    top = ROW * (max(place_words(plot.marks, plot.begin, plot.end), default=-1) + 1) + 4 if first else 4
    words = draw_words(plot.marks, plot.begin, plot.end) if first else ()
    inside = Markup("").join(Markup(part) for part in (*words, *draw_panel(curve, plot.marks, plot.begin, plot.end, _PANEL, top)))  # noqa: S704 - domain.plot escapes
    frame = Markup('<svg class="panel" width="100%" height="{}" role="img" aria-label="{}">{}</svg>')
    return frame.format(top + _PANEL + _TIMES, _describe(plot, curve), inside)


def draw_trail(trail: RuleTrail) -> Markup:
    """One rule's last hour; nothing where it has no value yet."""
    if not trail.points:
        return Markup("")
    drawn = draw_spark(trail.points, trail.begin, trail.end, trail.limits, _SPARK_WIDTH, _SPARK_HEIGHT)
    values = [value for _, value in trail.points]
    least, most = (format_signal(trail.signal, value, *values) for value in (min(values), max(values)))
    words = f"the last {format_span(trail.end - trail.begin)}: {least} to {most}"
    frame = Markup('<svg class="spark" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>')
    return frame.format(_SPARK_WIDTH, _SPARK_HEIGHT, words, Markup("").join(Markup(part) for part in drawn))  # noqa: S704 - numbers


def _describe(plot: Plot, curve: Curve) -> str:
    values = [value for _, value in curve.points]
    beside = [*values, *([] if curve.threshold is None else [curve.threshold])]
    least, most, last = (format_signal(curve.signal, value, *beside) for value in (min(values), max(values), values[-1]))
    words = [f"{clean_line(curve.signal)}: {least} to {most}", f"last {last}"]
    if curve.threshold is not None:
        words.append(f"threshold {format_signal(curve.signal, curve.threshold, *beside)}")
    return ", ".join([*words, *(clean_line(mark.word) for mark in plot.marks)])
