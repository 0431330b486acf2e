"""Input series of rule tests, in promtool's notation.

    0+10x3        0 10 20 30          begins with 0, three more, each 10 greater
    100-10x3      100 90 80 70
    5x3           5 5 5 5
    1 2 -0.5      as written (also 1e3, NaN, Inf)
    _  _x3        no sample, one or three times
    stale         the series ends here, as when its target is gone

Source: Prometheus documentation, "Unit testing for rules" (`values`). `read_series` reads the key, `read_values` the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from detector.domain.label import Labels

MOST_SAMPLES = 100_000


class Mark(Enum):
    """What stands in the place of a value."""

    MISSING = "_"
    STALE = "stale"


Sample: TypeAlias = float | Mark

_NUMBER = r"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:inf|nan))"
_STEPS = re.compile(rf"(?P<first>{_NUMBER})(?:(?P<sign>[-+])(?P<step>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?x(?P<count>\d+)")
_PLAIN = re.compile(_NUMBER)
_MISSING = re.compile(r"_(?:x(\d+))?")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')\s*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class NotationError(Exception):
    """The text is no series; `offset` counts characters from 0."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


@dataclass(frozen=True, slots=True)
class Series:
    """One input series: a metric with its labels, `samples` one interval apart."""

    name: str
    labels: Labels
    samples: tuple[Sample, ...]


def read_values(text: str) -> tuple[Sample, ...]:
    """The samples of a text. Raises NotationError."""
    samples: list[Sample] = []
    for match in re.finditer(r"\S+", text):
        word, offset = match[0], match.start()
        samples += _read_word(word, offset)
        if len(samples) > MOST_SAMPLES:
            raise NotationError(offset, f"more than {MOST_SAMPLES:,} samples; a test needs no more than some hundred")
    return tuple(samples)


def read_series(text: str) -> tuple[str, Labels]:
    """Metric and labels of `name{label="value", ...}`. Raises NotationError."""
    body = text.strip()
    start = text.index(body) if body else 0
    match = _NAME.match(body)
    name = match[0] if match else ""
    position = len(name)
    while position < len(body) and body[position].isspace():
        position += 1
    labels: dict[str, str] = {}
    if position < len(body):
        position = _read_labels(body, position, labels, start)
    if body[position:].strip():
        raise NotationError(start + position, f"unexpected {body[position:].strip()[:20]!r} behind the labels")
    name = name or labels.pop("__name__", "")
    if not name:
        raise NotationError(start, 'no metric name; write e.g. `http_requests_total{service="checkout", code="200"}`')
    return name, tuple(sorted((key, value) for key, value in labels.items() if value))


def _read_labels(body: str, position: int, labels: dict[str, str], start: int) -> int:
    if body[position] != "{":
        raise NotationError(start + position, f"unexpected {body[position]!r}; labels stand in {{...}}")
    position += 1
    while not body[position:].lstrip().startswith("}"):
        match = _LABEL.match(body, position)
        if match is None:
            raise NotationError(start + position, 'a label is missing its value or a quote; write e.g. `code="200"`')
        if match[1] in labels:
            raise NotationError(start + match.start(1), f"label {match[1]} stands twice")
        labels[match[1]] = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), match[2][1:-1])
        position = match.end()
        if body[position : position + 1] == ",":
            position += 1
        elif body[position : position + 1] != "}":
            raise NotationError(start + position, "`,` or `}` is missing")
    return body.index("}", position) + 1


def _read_word(word: str, offset: int) -> list[Sample]:
    if word == "stale":
        return [Mark.STALE]
    if match := _MISSING.fullmatch(word):
        return [Mark.MISSING] * _count(match[1] or "1", offset)
    if match := _STEPS.fullmatch(word):
        first, step = float(match["first"]), float(match["step"] or 0)
        count = _count(match["count"], offset)
        value, values = first, [first]
        for _ in range(count):
            value += -step if match["sign"] == "-" else step
            values.append(value)
        return list(values)
    if _PLAIN.fullmatch(word):
        return [float(word)]
    raise NotationError(offset, f"{word[:40]!r} is no value; write numbers, 0+10x30, 100-5x3, 7x10, _ (no sample), _x5 or stale")


def _count(digits: str, offset: int) -> int:
    count = int(digits[:12])
    if count > MOST_SAMPLES:
        raise NotationError(offset, f"more than {MOST_SAMPLES:,} samples; a test needs no more than some hundred")
    return count
