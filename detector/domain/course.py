"""How the signals of services went over the last hours, and how much each changed at a moment.

Before it: `app/evidence` asked every signal over a range. After it: `suspect` compares services by what changed with them.

A change is told in units of the signal's own noise: the median of a few minutes after a moment, less that of ten minutes before it,
over the robust spread (median absolute deviation, as sigma) of the time before all that. What drifts over hours or differs from
last week is no change; what is always noisy needs a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from detector.domain.label import NO_LABELS, Labels

STEP_SECONDS = 60.0
HISTORY_STEPS = 120  # how far back a signal is asked for
RECENT_STEPS = 25  # a change is looked for this far back; what lies before tells the noise
BEFORE_STEPS = 10
AFTER_STEPS = 5
LEAST_LOAD = 1.2  # traffic that rises by less is as it was
LEAST_POINTS = 2  # on either side of a change
_LEAST_HISTORY = 10
_SIGMA = 1.4826  # median absolute deviation of a normal distribution, as its standard deviation
_LEAST_SHARE_OF_LEVEL = 0.1  # a tenth more than usual is the least that counts as one unit
_LEAST_RATIO = 0.002
_ONE_EVENT = 0.5


@dataclass(frozen=True, slots=True)
class Course:
    """One series of one signal of a service, oldest first, one value a step; None where there is none.

    `traffic`: what a ratio was divided by, at the same steps; None for a signal that is no ratio. `query` asks for that, `sharp`
    for the same over a minute at most, and `labels` finds the series in the answer of either.
    """

    service: str
    signal: str
    values: tuple[float | None, ...]
    traffic: tuple[float | None, ...] | None = None
    query: str = ""
    labels: Labels = NO_LABELS
    sharp: str = ""

    def measure_noise(self) -> float | None:
        """One unit of change: the robust spread of the history, and no less than a step that could matter; None without history.

        A ratio's unit is no less than half an event more or less, so that little traffic does not look like much.
        """
        history = _present(self.values[: len(self.values) - RECENT_STEPS])
        if len(history) < _LEAST_HISTORY:
            return None
        level = median(history)
        noise = max(_SIGMA * median(abs(value - level) for value in history), _LEAST_SHARE_OF_LEVEL * abs(level), 1e-9)
        if self.traffic is None:
            return noise
        total = median(_present(self.traffic) or [0.0])
        return max(noise, _LEAST_RATIO, _ONE_EVENT / total if total > 0 else 1.0)

    def levels(self, step: int) -> tuple[float, float] | None:
        """The median before and after a step (which belongs to before); None where either side has too few values."""
        before = _present(self.values[max(0, step - BEFORE_STEPS + 1) : step + 1])
        after = _present(self.values[step + 1 : step + 1 + AFTER_STEPS])
        if len(before) < LEAST_POINTS or len(after) < LEAST_POINTS:
            return None
        return median(before), median(after)


@dataclass(frozen=True, slots=True)
class Change:
    """What one signal did at a step: from one level to another, `size` units of its own noise; `traffic` per step after it."""

    signal: str
    before: float
    after: float
    size: float


def find_change(course: Course, step: int, noise: float) -> Change | None:
    """The change of a course at a step; None where it has no value on one side."""
    levels = course.levels(step)
    if levels is None:
        return None
    return Change(course.signal, *levels, (levels[1] - levels[0]) / noise)


def find_load(courses: Sequence[Course], step: int) -> float | None:
    """How many times as many events come in after a step as before it, by the ratio that rose most; None without traffic."""
    found = [Course(course.service, "", course.traffic).levels(step) for course in courses if course.traffic is not None]
    return max((after / before for before, after in filter(None, found) if before > 0), default=None)


def is_load(course: Course, change: Change, load: float | None) -> bool:
    """Whether a rise is the traffic's own: a count of requests rises by the factor that they do, which is nobody's fault."""
    if course.traffic is not None or load is None or load < LEAST_LOAD or change.before <= 0:
        return False
    return load / LEAST_LOAD <= change.after / change.before <= load * LEAST_LOAD


def find_traffic(courses: Sequence[Course], step: int) -> float | None:
    """Events at each step after `step`, by whichever ratio of the service counts most; None where none does."""
    found = [_present(course.traffic[step + 1 : step + 1 + AFTER_STEPS]) for course in courses if course.traffic is not None]
    return max((median(values) for values in found if values), default=None)


def _present(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
