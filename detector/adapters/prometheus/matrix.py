"""The rows of a range query's answer as traces by step.

Before it: `answer`, which has read everything around the rows. After it: `domain.outcome.Trace`. A month of backtest is tens of
millions of points, nearly all of them in rows without a hole. Such a row is read as one list of numbers, a quarter of the cost of
reading its points one by one; that it has no hole is seen by its times, which must be exactly those that were asked for.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from detector.domain.outcome import Row, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence


class Point(msgspec.Struct, array_like=True, gc=False):
    """One sample as it is counted with."""

    time: float
    value: float  # Prometheus writes a string; decoded with strict=False


class TextPoint(msgspec.Struct, array_like=True, gc=False):
    """One sample as it was sent: its value may be no number."""

    time: float
    value: str


_NUMBERS = msgspec.json.Decoder(list[float])
_POINTS = msgspec.json.Decoder(list[Point], strict=False)
_TEXT_POINTS = msgspec.json.Decoder(list[TextPoint])
_AROUND_NUMBERS = b'[]"'


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that a range query was asked for; `times`: unix seconds, to the millisecond, as the answer writes them."""

    start: float
    step_seconds: float
    times: list[float]

    def read_trace(self, values: msgspec.Raw) -> Trace:
        """One row's `values`. Raises ValueError (msgspec's among them) for what is none, and for a point on none of the steps."""
        try:
            numbers = _NUMBERS.decode(b"[%b]" % bytes(values).translate(None, _AROUND_NUMBERS))
        except msgspec.DecodeError:  # NaN or `+Inf` among the values
            return self._lay_out(_read_points(values))
        if numbers[::2] == self.times and isfinite(sum(found := numbers[1::2])):
            return Trace(Row(array("d", found)))
        return self._lay_out(_read_points(values))

    def _lay_out(self, points: Sequence[Point | TextPoint]) -> Trace:
        start, step_seconds = self.start, self.step_seconds
        steps = [round((point.time - start) / step_seconds) for point in points]
        if steps and not 0 <= min(steps) <= max(steps) < len(self.times):
            raise ValueError("a point outside the range that was asked for")
        placed = {step: float(point.value) for step, point in zip(steps, points, strict=True)}
        undefined = frozenset(step for step, value in placed.items() if not isfinite(value))
        return Trace({step: value for step, value in placed.items() if step not in undefined} if undefined else placed, undefined)


def make_steps(start: float, count: int, step_seconds: float) -> Steps:
    """`count` steps from `start` on."""
    return Steps(start, step_seconds, [round((start + step * step_seconds) * 1000) / 1000 for step in range(count)])


def _read_points(values: msgspec.Raw) -> Sequence[Point | TextPoint]:
    try:
        return _POINTS.decode(values)
    except msgspec.ValidationError:  # `+Inf` among the values
        return _TEXT_POINTS.decode(values)
