"""A rule test that reproduces an incident: its raw samples in the notation of rule tests, and what must come of them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.domain.duration import format_duration
from detector.domain.label import Labels, format_labels

MOST_SERIES = 40
MOST_SAMPLES = 400
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Span:
    """The samples that are read: `count` of them from `start`, `step_seconds` apart."""

    start: float
    step_seconds: float
    count: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What must come of it: the first alert of the incident, and when the incident was opened."""

    rule: str
    service: str
    detected: float


def choose_span(begin: float, end: float, every_seconds: float) -> Span:
    """From before the breach to the end in at most MOST_SAMPLES steps, never denser than the rule looked."""
    least = max(every_seconds, (end - begin) / MOST_SAMPLES)
    step = float(next((step for step in _STEPS if step >= least), math.ceil(least / 60) * 60))
    start = math.floor(begin / step) * step
    return Span(start, step, max(1, math.ceil((end - start) / step) + 1))


def write_test(
    name: str,
    files: Sequence[str],
    span: Span,
    series: Mapping[tuple[str, Labels], Sequence[tuple[float, float]]],
    opening: Opening,
) -> str:
    """The text of a `*.test.yaml`; empty where no series was there. Every text in it is quoted as JSON, which YAML reads as is."""
    chosen = [(metric, labels, points) for (metric, labels), points in sorted(series.items()) if points][:MOST_SERIES]
    if not chosen:
        return ""
    step = span.step_seconds
    # what is sampled more thinly than it was evaluated is seen up to two steps later
    at = (math.ceil((opening.detected - span.start) / step) + 2) * step
    expected = {"rule": opening.rule, "service": opening.service}
    lines = [
        f"rules: {json.dumps(list(files), ensure_ascii=False)}",
        f"interval: {format_duration(step)}",
        "tests:",
        f"  - name: {json.dumps(name, ensure_ascii=False)}",
        "    series:",
    ]
    for metric, labels, points in chosen:
        key = json.dumps(f"{metric}{format_labels(labels) if labels else ''}", ensure_ascii=False)
        lines.append(f"      {key}: {json.dumps(write_values(points, span))}")
    lines += [
        "    expect:",
        f"      - at: {format_duration(at)}",
        f"        incidents: [{json.dumps(expected, ensure_ascii=False)}]",
    ]
    return "\n".join(lines) + "\n"


def write_values(points: Sequence[tuple[float, float]], span: Span) -> str:
    """Samples as `1 2 _ 5+10x3`: one a step, `_` where there is none; even steps and repetitions are folded."""
    known = {round((at - span.start) / span.step_seconds): value for at, value in points}
    values = [known.get(step) for step in range(span.count)]
    words: list[str] = []
    place = 0
    while place < len(values):
        length = _find_run(values, place)
        words.append(_fold(values[place : place + length]))
        place += length
    while words and words[-1].startswith("_"):
        words.pop()
    return " ".join(words)


def _find_run(values: Sequence[float | None], place: int) -> int:
    """How many samples from here on differ by the same step; one where it is fewer than three."""
    first = values[place]
    if first is None:
        return next((count for count in range(1, len(values) - place) if values[place + count] is not None), len(values) - place)
    length = 2
    following = values[place + 1] if place + 1 < len(values) else None
    if following is None:
        return 1
    while place + length < len(values):
        value = values[place + length]
        if value is None or value != first + (following - first) * length:
            break
        length += 1
    return length if length > 2 else 1  # noqa: PLR2004 - a fold of two says no more than both


def _fold(values: Sequence[float | None]) -> str:
    first = values[0]
    if first is None:
        return "_" if len(values) == 1 else f"_x{len(values)}"
    if len(values) == 1:
        return _write(first)
    step = (values[1] or 0.0) - first
    sign = "-" if step < 0 else "+"
    change = "" if not step else f"{sign}{_write(abs(step))}"
    return f"{_write(first)}{change}x{len(values) - 1}"


def _write(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)  # noqa: PLR2004 - whole and exact
