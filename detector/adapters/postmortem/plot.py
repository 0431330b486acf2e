"""The plot of a post-mortem: every signal over the incident with its moments marked. SVG, no scripts, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from detector.domain.plot import ROW, draw_panel, draw_words, place_words
from detector.domain.text import clean_line

if TYPE_CHECKING:
    from detector.domain.postmortem import Facts

_WIDTH, _LEFT, _RIGHT, _TOP = 760, 30, 30, 44
_PANEL, _SPACE = 140, 52
_MOST = 12
# a mark is told by its dashes and its words as well as by its colour
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f} .faint{fill:#57606a;font-size:11px} .frame{fill:none;stroke:#d0d7de} "
    ".line{fill:none;stroke:#1f6fb4;stroke-width:1.6;stroke-linejoin:round} .last{fill:#1f6fb4} "
    ".limit{stroke:#b00020;stroke-dasharray:6 4} .mark{stroke-width:1.4} .breach,.relapse{stroke:#b00020;fill:#b00020} "
    ".page{stroke:#8a4fb0;fill:#8a4fb0;stroke-dasharray:2 3} .acknowledge{stroke:#0a5f9e;fill:#0a5f9e;stroke-dasharray:8 3} "
    ".recovery{stroke:#1f7a4d;fill:#1f7a4d;stroke-dasharray:10 3 2 3}"
    ".mitigation{stroke:#9a5215;fill:#9a5215;stroke-dasharray:1 4} "
    "circle{stroke-dasharray:none!important}"
)


def draw_plot(facts: Facts) -> str:
    """The whole picture."""
    curves = [curve for curve in facts.curves if curve.points][:_MOST]
    marks = facts.marks
    moments = [at for curve in curves for at, _ in curve.points] + [mark.at for mark in marks]
    begin, end = min(moments), max(*moments, min(moments) + 1.0)
    words = ROW * (max(place_words(marks, begin, end), default=0) + 1)
    top = _TOP + words
    height = top + max(1, len(curves)) * (_PANEL + _SPACE) + 10
    width = _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{_text(f'Incident {facts.incident.id}')}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20">{_text(facts.incident.summary)}</text>',
        f'<svg x="{_LEFT}" y="{_TOP - 12}" width="{_WIDTH}" height="{words}" overflow="visible">',
        *draw_words(marks, begin, end),
        "</svg>",
    ]
    if not curves:
        parts.append(f'<text class="faint" x="{_LEFT}" y="{top + 40}">No samples could be read.</text>')
    for number, curve in enumerate(curves):
        y = top + number * (_PANEL + _SPACE)
        parts += [
            f'<text x="{_LEFT}" y="{y + 4}">{_text(f"{curve.rule}: {curve.signal} {curve.labels}")}</text>',
            f'<svg x="{_LEFT}" y="{y + 12}" width="{_WIDTH}" height="{_PANEL + 20}" overflow="visible">',
            *draw_panel(curve, marks, begin, end, _PANEL),
            "</svg>",
        ]
    return "\n".join((*parts, "</svg>")) + "\n"


def _text(text: str) -> str:
    line = clean_line(text)
    return escape(line if len(line) <= 110 else f"{line[:109]}\u2026")  # noqa: PLR2004 - what fits
