"""How signals are drawn over time, for every picture there is: geometry, and the parts of SVG that do not depend on a width. Pure.

Used by the console, the post-mortem and the backtest. A panel is drawn in shares of its width: numbers stay as large as they are
on a phone as on a wall, only the curve is stretched. Colours and strokes are the style sheet's of whoever shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import TypeAlias

from detector.domain.postmortem import Curve, Mark
from detector.domain.quantity import format_signal
from detector.domain.rule import Rule
from detector.domain.text import clean_line

Points: TypeAlias = Sequence[tuple[float, float]]

CURVE_WIDTH = 1000  # of a curve before it is stretched
ROW = 17  # height of one row of words
_NARROWEST, _GLYPH, _GAP = 300.0, 6.7, 14.0  # pixels: the least width of a panel, of a letter, between words in one row
_HEADROOM = 1.25  # the space over a threshold
_HOLE_SHARE = 0.05  # of the whole span: and two steps: wider gaps are not bridged
_ANCHOR_END = 0.6  # words of a mark that lies further right stand on its left
_KINDS = frozenset({"breach", "page", "acknowledge", "recovery", "relapse"})


@dataclass(frozen=True, slots=True)
class Frame:
    """Where moments in [begin, end] and values in [floor, ceiling] lie: from `left` across `width`, from `top` down `height`."""

    begin: float
    end: float
    floor: float
    ceiling: float
    width: float
    height: float
    left: float = 0.0
    top: float = 0.0

    def x(self, at: float) -> float:
        """Within the frame, whatever the moment."""
        return self.left + self.width * share(at, self.begin, self.end)

    def y(self, value: float) -> float:
        """Within the frame, whatever the value."""
        return self.top + self.height * (1.0 - share(value, self.floor, self.ceiling))

    def trace(self, points: Points, hole_seconds: float) -> str:
        """Path data; a gap wider than `hole_seconds` is not bridged."""
        steps, last = [], -math.inf
        for at, value in points:
            steps.append(f"{'M' if at - last > hole_seconds else 'L'}{self.x(at):.1f} {self.y(value):.1f}")
            last = at
        return "".join(steps)


@dataclass(frozen=True, slots=True)
class Watched:
    """The signal that a rule is about, and whether low values are the bad ones; `limits` are the numbers it is compared with."""

    signal: str
    falling: bool = False
    limits: tuple[float, ...] = ()


def choose_watched(rule: Rule) -> Watched | None:
    """The signal of `open` that recovery is judged by as well, else the first of `open`, else the rule's first; None without one.

    `requests >= 100` only says from when on a rule counts. Bounds relative to a baseline move and are no limits.
    """
    names = {signal.name for signal in rule.signals}
    if not names:
        return None
    compared = [bound for bound in rule.policy.open.comparisons if bound.signal in names]
    about = {name for term in rule.policy.recover.terms for condition in term for name in condition.names}
    first = next((bound for bound in compared if bound.signal in about), compared[0] if compared else None)
    if first is None:
        return Watched(rule.signals[0].name)
    limits = {bound.factor for bound in compared if bound.signal == first.signal and bound.reference is None}
    return Watched(first.signal, first.operator.startswith("<"), tuple(sorted(limit for limit in limits if limit is not None)))


def share(value: float, least: float, most: float) -> float:
    """How far along [least, most] it lies, 0 to 1."""
    return min(1.0, max(0.0, (value - least) / (most - least))) if most > least else 0.0


def fit_values(values: Sequence[float], limits: Sequence[float]) -> tuple[float, float]:
    """Floor and ceiling of a frame that shows all of them, and zero."""
    floor = min([*values, *limits, 0.0])
    ceiling = max([*values, *(_HEADROOM * limit for limit in limits), 0.0])
    return (floor, ceiling) if ceiling > floor else (floor, floor + 1.0)


def find_hole(points: Points, span_seconds: float) -> float:
    """From which width on a gap is one."""
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(points)]
    return max(span_seconds * _HOLE_SHARE, 2.5 * min(gaps, default=0.0))


def place_words(marks: Sequence[Mark], begin: float, end: float) -> tuple[int, ...]:
    """The row of each mark's words, so that none stand on each other, however narrow the panel is."""
    rows: list[list[tuple[float, float]]] = []
    placed = []
    for mark in marks:
        at, length = _NARROWEST * share(mark.at, begin, end), _GLYPH * len(_word_mark(mark)) + _GAP
        span = (at - length, at) if _stands_left(mark, begin, end) else (at, at + length)
        row = next((n for n, taken in enumerate(rows) if all(span[1] <= a or b <= span[0] for a, b in taken)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(span)
        placed.append(row)
    return tuple(placed)


def draw_words(marks: Sequence[Mark], begin: float, end: float) -> Iterator[str]:
    """What each mark is and when it was, over a panel that begins ROW pixels below the last row."""
    for mark, row in zip(marks, place_words(marks, begin, end), strict=True):
        x, y = f"{100 * share(mark.at, begin, end):.2f}%", ROW * row + 12
        left = _stands_left(mark, begin, end)
        yield (
            f'<circle class="{_kind(mark)}" cx="{x}" cy="{y - 4}" r="3.5"/><text class="faint" x="{x}" y="{y}" '
            f'dx="{-8 if left else 8}" text-anchor="{"end" if left else "start"}">{_text(_word_mark(mark))}</text>'
        )


def draw_panel(curve: Curve, marks: Sequence[Mark], begin: float, end: float, height: int, top: int = 0) -> Iterator[str]:
    """The inside of an svg element: one signal from `top` on, its threshold and its marks; as wide as the element is."""
    values = [value for _, value in curve.points]
    limits = [] if curve.threshold is None else [curve.threshold]
    frame = Frame(begin, end, *fit_values(values, limits), CURVE_WIDTH, height)
    yield f'<rect class="frame" x="0" y="{top}" width="100%" height="{height}"/>'
    for mark in marks:
        x = f"{100 * share(mark.at, begin, end):.2f}%"
        yield f'<line class="mark {_kind(mark)}" x1="{x}" x2="{x}" y1="{top}" y2="{top + height}"/>'
    path = frame.trace(curve.points, find_hole(curve.points, end - begin))
    yield (
        f'<svg x="0" y="{top}" width="100%" height="{height}" viewBox="0 0 {CURVE_WIDTH} {height}" preserveAspectRatio="none">'
        f'<path class="line" vector-effect="non-scaling-stroke" d="{path}"/></svg>'
    )
    for limit in limits:
        y = top + frame.y(limit)
        above = y - top > ROW
        yield f'<line class="limit" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        words = f"threshold {format_signal(curve.signal, limit, frame.ceiling)}"
        yield f'<text class="faint" x="0" dx="6" y="{y - 4 if above else y + 13:.1f}">{_text(words)}</text>'
    if curve.points:
        at, last = curve.points[-1]
        yield f'<circle class="last" cx="{100 * share(at, begin, end):.2f}%" cy="{top + frame.y(last):.1f}" r="3.5"/>'
        yield f'<text class="faint" x="0" dx="6" y="{top + 13}">{_text(format_signal(curve.signal, frame.ceiling, *limits))}</text>'
    for x, at, anchor in (("0", begin, "start"), ("100%", end, "end")):
        yield f'<text class="faint" x="{x}" y="{top + height + 15}" text-anchor="{anchor}">{_show_moment(at, begin, end)}</text>'


def draw_spark(points: Points, begin: float, end: float, limits: Sequence[float], width: int, height: int) -> Iterator[str]:
    """The inside of a small svg element of that size: one line, its limits, a dot at its end; numbers stand beside it."""
    values = [value for _, value in points]
    frame = Frame(begin, end, *fit_values(values, limits), width - 6, height - 6, 3, 3)
    for limit in limits:
        yield f'<line class="limit" x1="0" x2="{width}" y1="{frame.y(limit):.1f}" y2="{frame.y(limit):.1f}"/>'
    if points:
        yield f'<path class="line" d="{frame.trace(points, find_hole(points, end - begin))}"/>'
        yield f'<circle class="last" cx="{frame.x(points[-1][0]):.1f}" cy="{frame.y(points[-1][1]):.1f}" r="2.5"/>'


def _word_mark(mark: Mark) -> str:
    word = mark.word if len(mark.word) <= 34 else f"{mark.word[:33]}\u2026"  # noqa: PLR2004 - what fits beside a clock on a phone
    return f"{word} {datetime.fromtimestamp(mark.at, UTC):%H:%M:%S}"


def _show_moment(at: float, begin: float, end: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    same_day = datetime.fromtimestamp(begin, UTC).date() == datetime.fromtimestamp(end, UTC).date()
    return f"{moment:%H:%M:%S} UTC" if same_day else f"{moment:%d %b %H:%M} UTC"


def _stands_left(mark: Mark, begin: float, end: float) -> bool:
    return share(mark.at, begin, end) > _ANCHOR_END


def _kind(mark: Mark) -> str:
    return mark.word if mark.word in _KINDS else "mitigation"


def _text(text: str) -> str:
    return escape(clean_line(text))
