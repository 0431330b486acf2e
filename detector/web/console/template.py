"""Values to HTML: the templates with escaping on, and the few words and shapes that they are written in.

Before it: `page` gathered plain values. Whatever a label, a summary or a link holds is text here: control characters are made
visible, the direction of writing stays inside its element, and a link is one only where it leads to http or https.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from detector.domain.mitigation import format_arguments
from detector.domain.quantity import format_number, format_signal, format_span, format_time, format_timestamp
from detector.domain.text import clean_text
from detector.web.console.picture import draw_curve, draw_trail

_BIDI = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SEVERITY_BARS = {"low": 1, "medium": 2, "high": 3, "critical": 4}
_METER_WIDTH = 320


def make_environment() -> Environment:
    """The templates beside this module."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "shown": show_text,
        "inert": make_inert,
        "href": read_href,
        "part": lambda value: quote(str(value), safe=""),
        "number": format_number,
        "arguments": format_arguments,
        "span": format_span,
        "clock": write_time,
        "signal": format_signal_of,
        "severity": write_severity,
    }
    environment.globals |= {"draw_meter": draw_meter, "draw_curve": draw_curve, "draw_trail": draw_trail}
    return environment


def show_text(value: object) -> Markup:
    """Any text from outside: isolated in its writing direction, what cannot be seen replaced."""
    return Markup("<bdi>{}</bdi>").format(make_inert(value))


def make_inert(value: object) -> str:
    """As `show_text`, where no element may stand."""
    return _BIDI.sub("\ufffd", clean_text(str(value)))


def read_href(value: object) -> str:
    """The address where it is one of http or https, else empty: then it is shown as text."""
    text = str(value)
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.hostname else ""


def write_time(at: float | None, now: float | None = None) -> Markup:
    """A moment: how long ago where `now` is given, the time of day in UTC else; in full for programs and on hovering."""
    stamp = format_timestamp(at)
    if at is None or stamp is None:
        return Markup('<span class="dim">never</span>')
    if now is None:
        words = time.strftime("%d %b %H:%M:%S", time.gmtime(at))
    elif at <= now:
        words = f"{format_span(float(int(now - at)))} ago"
    else:
        words = f"in {format_span(float(int(at - now)))}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, format_time(at), words)


def format_signal_of(value: object, name: object, *beside: object) -> str:
    """As domain.quantity.format_signal, the value first; a dash where there is none."""
    return "\u2013" if value is None else format_signal(str(name or ""), value, *beside)


def write_severity(word: str) -> Markup:
    """A severity as a word beside one to four bars: readable without its colour."""
    lit = _SEVERITY_BARS.get(word, 0)
    bars = Markup("").join(
        Markup('<rect x="{}" y="{}" width="3" height="{}" class="{}"/>').format(
            4 * n, 9 - 3 * n, 3 + 3 * n, "on" if n < lit else "off"
        )
        for n in range(4)
    )
    picture = Markup('<svg viewBox="0 0 15 12" width="15" height="12" aria-hidden="true">{}</svg>').format(bars)
    return Markup('<span class="severity {0}">{1}{0}</span>').format(word, picture)


def draw_meter(value: float | None, threshold: float | None, peak: float | None, label: str) -> Markup:
    """The value as a bar beside its threshold and its peak as marks; nothing where there is no value."""
    known = [abs(number) for number in (value, threshold, peak) if number is not None]
    if value is None or not known or max(known) == 0:
        return Markup("")
    scale = (_METER_WIDTH - 8) / max(known)
    parts: list[Any] = [Markup('<rect class="bar" x="0" y="6" width="{}" height="10"/>').format(round(abs(value) * scale, 1))]
    if peak is not None:
        x = round(abs(peak) * scale + 1, 1)
        parts.append(Markup('<path class="peak" d="M{} 11l4 -5v10z"/>').format(x))
    if threshold is not None:
        x = round(abs(threshold) * scale, 1)
        parts.append(Markup('<line class="threshold" x1="{0}" x2="{0}" y1="1" y2="21"/>').format(x))
    track = Markup('<rect class="track" x="0" y="6" width="{}" height="10"/>').format(_METER_WIDTH)
    frame = Markup('<svg class="meter" viewBox="0 0 {} 22" role="img" aria-label="{}">{}{}</svg>')
    return frame.format(_METER_WIDTH, clean_text(label), track, Markup("").join(parts))
