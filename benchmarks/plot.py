"""How figures grow, as a picture: every column a line over the sizes of the rows, both axes logarithmic. SVG, no scripts.

Before it: the history holds figures whose rows begin with a size. After it: the page of Markdown shows the picture.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.question import Figure

_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT, _BOTTOM = 70, 40, 460, 280, 330, 50
_COLOURS = ("#1f6fb4", "#b0672f", "#2b8a5f", "#8a4fb0", "#3d8f9e", "#a23a6a", "#5c6b2f")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f} .title{font-size:15px;font-weight:600} .faint{fill:#57606a;font-size:11px} "
    ".frame{fill:none;stroke:#d0d7de} .grid{stroke:#eaeef2} .line{fill:none;stroke-width:1.8}"
)
_SIZE = re.compile(r"([\d,]+) ")

Points = list[tuple[float, float]]


def draw_growth(title: str, figures: Sequence[Figure], unit: str) -> str:
    """The columns measured in `unit`, over the numbers that the rows begin with; empty where there is nothing to draw."""
    lines: dict[str, Points] = {}
    for figure in figures:
        size = _SIZE.match(figure.row)
        if size is not None and figure.unit == unit and figure.value > 0:
            lines.setdefault(figure.column, []).append((float(size[1].replace(",", "")), figure.value))
    if not lines:
        return ""
    sizes = sorted({size for points in lines.values() for size, _ in points})
    values = [value for points in lines.values() for _, value in points]
    low, high = (
        math.floor(math.log10(min(values))),
        max(math.ceil(math.log10(max(values))), math.floor(math.log10(min(values))) + 1),
    )
    return "\n".join((*_open(title, unit), *_draw_frame(sizes, low, high), *_draw_lines(lines, sizes, low, high), "</svg>")) + "\n"


def _open(title: str, unit: str) -> Iterator[str]:
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    yield f'<text class="title" x="{_LEFT}" y="24">{escape(title)} ({escape(unit)})</text>'


def _draw_frame(sizes: Sequence[float], low: int, high: int) -> Iterator[str]:
    yield f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}"/>'
    for power in range(low, high + 1):
        y = _place_value(10.0**power, low, high)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="faint" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    for size in sizes:
        x = _place_size(size, sizes)
        yield f'<text class="faint" x="{x:.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{size:,.0f}</text>'


def _draw_lines(lines: Mapping[str, Points], sizes: Sequence[float], low: int, high: int) -> Iterator[str]:
    ends = sorted(lines, key=lambda name: -max(lines[name])[1])
    words: dict[str, float] = {name: _place_value(max(lines[name])[1], low, high) for name in ends}
    for upper, lower in pairwise(ends):  # names that would cover each other move down
        words[lower] = max(words[lower], words[upper] + 15)
    for name, colour in zip(lines, _COLOURS * len(lines), strict=False):
        spots = [(_place_size(size, sizes), _place_value(value, low, high)) for size, value in sorted(lines[name])]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        yield f'<polyline class="line" stroke="{colour}" points="{path}"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots)
        word = f"{name}: {max(lines[name])[1]:.3g}"
        yield f'<text x="{_LEFT + _WIDTH + 10}" y="{words[name] + 4:.1f}" style="fill:{colour}">{escape(word)}</text>'


def _place_size(size: float, sizes: Sequence[float]) -> float:
    span = math.log(sizes[-1] / sizes[0]) or 1.0
    return _LEFT + 20 + (_WIDTH - 40) * math.log(size / sizes[0]) / span


def _place_value(value: float, low: int, high: int) -> float:
    return _TOP + _HEIGHT * (1 - (math.log10(value) - low) / (high - low))
