"""Where a long past may be passed over: moments at which `advance` would leave an alert at rest exactly as it is.

An alert at rest whose series is there changes only when `open` holds. A condition that knows its directions holds nowhere in a
span when it does not hold for the greatest of each number that drives it up and the least of each that drives it down: three-valued
logic is monotone too, so values that are missing at some moments of the span change nothing about that. The same holds of many
alerts at once, of which `sift` makes use, and of numbers that are only known to lie within bounds. Backtest asks this, then calls
`advance` for the moments that remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from detector.domain.alert import AlertState, Phase
from detector.domain.condition import Condition, Directed
from detector.domain.judgement import BASELINE_SUFFIX
from detector.domain.label import Labels
from detector.domain.outcome import Row, Trace
from detector.domain.reading import divide
from detector.domain.rule import Instant, NoDataPolicy, Policy, Signal


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


_PARTS = 8  # into which a group of alerts is split: most of them are ruled out in one piece


def sift(
    condition: Condition,
    directions: Mapping[str, int],
    flags: Mapping[str, bool],
    members: Sequence[tuple[Labels, Mapping[str, float]]],
    *,
    unknown: bool,
) -> list[Labels]:
    """The alerts for which `condition` may hold at some step, given the worst that each name reached for each of them.

    A name that an alert lacks never had a value. `unknown`: baselines are not known yet, of none of them, and alerts that only
    these can decide count too.
    """
    found: list[Labels] = []
    groups = [members] if members else []
    while groups:
        group = groups.pop()
        bindings: dict[str, float | bool] = dict(flags)
        for name, direction in directions.items():
            values = [worst[name] for _, worst in group if name in worst]
            if values:
                bindings[name] = max(values) if direction > 0 else min(values)
        answer = condition.evaluate(bindings)
        if answer is False or (answer is None and not unknown):
            continue
        if len(group) == 1:
            found.append(group[0][0])
            continue
        length = -(-len(group) // _PARTS)
        groups += [group[first : first + length] for first in range(0, len(group), length)]
    return found


def find_worst(signal: Signal, traces: Sequence[Trace], direction: int) -> float | None:
    """A number that no value which `open` is judged by exceeds (-1: is below) at any step; None where there is no value.

    `traces`: of the signal's queries. That of a ratio is the worst numerator over the worst denominator, which is rounded as each
    share is and so not beaten by one, or the worst share where that bound does not hold.
    """
    if isinstance(signal, Instant):
        return _pick(traces[0].values, direction)
    if signal.confidence is None and (limits := bound_shares(signal.min_total, *traces)):
        return limits[0] if direction < 0 else limits[1]
    shares = divide(signal, traces[0].values, traces[1].values, traces[1].undefined)
    return _pick(shares.values if shares.lower is None else shares.lower, direction)


def bound_shares(min_total: float | None, numerator: Trace, denominator: Trace) -> tuple[float, float] | None:
    """Numbers between which the shares of every step lie; None where that cannot be said without dividing at each of them."""
    parts, totals = numerator.values, denominator.values
    least = min(totals.values(), default=0.0)
    if least <= 0 or least < (min_total or 0.0):
        return None
    low = min(parts.values(), default=0.0)
    if not isinstance(parts, Row):
        low = min(low, 0.0)  # a missing numerator is none
    if low < 0:
        return None
    return low / max(totals.values()), max(parts.values(), default=0.0) / least


def _pick(values: Mapping[int, float], direction: int) -> float | None:
    if not values:
        return None
    return max(values.values()) if direction > 0 else min(values.values())


def names_baseline(condition: Condition) -> bool:
    """Whether the condition names a baseline."""
    return any(name.endswith(BASELINE_SUFFIX) for name in condition.names)
