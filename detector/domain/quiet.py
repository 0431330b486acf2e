"""Where a long past may be passed over: moments at which `advance` would leave an alert at rest exactly as it is.

An alert at rest whose series is there changes only when `open` holds. A condition that knows its directions holds nowhere in a
span when it does not hold for the greatest of each number that drives it up and the least of each that drives it down: three-valued
logic is monotone too, so values that are missing at some moments of the span change nothing about that. Backtest asks this, then
calls `advance` for the moments that remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from detector.domain.alert import AlertState, Phase
from detector.domain.condition import Condition, Directed
from detector.domain.judgement import BASELINE_SUFFIX
from detector.domain.rule import NoDataPolicy, Policy


def is_resting(state: AlertState) -> bool:
    """Whether only a breach, or the loss of its series, can change the alert."""
    return state.phase is Phase.INACTIVE and state.missing_seconds is None and not state.absent


def find_directions(policy: Policy) -> Mapping[str, int] | None:
    """Directions of `open`; None where every moment must be evaluated."""
    condition = policy.open
    if policy.no_data is NoDataPolicy.OPEN:
        return None  # a moment without values opens
    if isinstance(condition, Directed):
        return condition.directions
    return None if condition.names else {}


@dataclass(frozen=True, slots=True)
class Bound:
    """Judges spans of one alert's past. `columns`: by name in `open`, the values that `open` is judged by, by step."""

    condition: Condition
    directions: Mapping[str, int]
    columns: Mapping[str, Mapping[int, float]]
    flags: Mapping[str, bool]

    def judge_whole(self) -> bool | None:
        """What `open` says at the extremes of all steps.

        False: it holds nowhere, whatever columns are missing. None: nor then, provided that no column is missing.
        """
        bindings: dict[str, float | bool] = dict(self.flags)
        for name, column in self.columns.items():
            if column:
                bindings[name] = max(column.values()) if self.directions[name] > 0 else min(column.values())
        return self.condition.evaluate(bindings)

    def list_breaches(self, steps: Sequence[int]) -> list[int]:
        """The steps, of these in ascending order, at which `open` may hold; every column must be given."""
        ranks = [
            (name, max if up else min, [column.get(step, -inf if up else inf) for step in steps])
            for name, column in self.columns.items()
            if column
            for up in [self.directions[name] > 0]
        ]
        found: list[int] = []
        spans = [(0, len(steps))]
        while spans:
            low, high = spans.pop()
            if low == high:
                continue
            bindings: dict[str, float | bool] = dict(self.flags)
            for name, worst, values in ranks:
                value = worst(values[low:high])
                if abs(value) != inf:
                    bindings[name] = value
            if self.condition.evaluate(bindings) is not True:
                continue
            if high - low == 1:
                found.append(steps[low])
                continue
            middle = (low + high) // 2
            spans += [(middle, high), (low, middle)]
        return found


def names_baseline(condition: Condition) -> bool:
    """Whether the condition names a baseline."""
    return any(name.endswith(BASELINE_SUFFIX) for name in condition.names)
