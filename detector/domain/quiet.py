"""Where a long past may be passed over: moments at which `advance` would leave an alert at rest exactly as it is.

An alert at rest whose series is there changes only when `open` holds. A condition holds nowhere in a span when its envelope does
not hold for the greatest of each number that drives it up and the least of each that drives it down: three-valued logic is monotone
too, so values that are missing at some moments of the span change nothing about that. The same holds of many alerts at once, of
which `sift` makes use, and of numbers that are only known to lie within bounds. Backtest asks this, then calls `advance` for the
moments that remain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from detector.domain.alert import AlertState, Phase
from detector.domain.condition import Bounded, Envelope
from detector.domain.judgement import BASELINE_SUFFIX
from detector.domain.label import Labels
from detector.domain.outcome import Row, Trace
from detector.domain.reading import divide, wilson_lower
from detector.domain.rule import Instant, NoDataPolicy, Policy, Signal


def is_resting(state: AlertState) -> bool:
    """Whether only a breach, or the loss of its series, can change the alert."""
    return state.phase is Phase.INACTIVE and state.missing_seconds is None and not state.absent


def find_envelope(policy: Policy) -> Envelope | None:
    """That of `open`; None where every moment must be evaluated."""
    condition = policy.open
    if policy.no_data is NoDataPolicy.OPEN:
        return None  # a moment without values opens
    if isinstance(condition, Bounded):
        return condition.find_envelope()
    return None if condition.names else Envelope(condition, {})


@dataclass(frozen=True, slots=True)
class Bound:
    """Judges spans of one alert's past. `columns`: by number that `envelope` asks for, the values `open` is judged by, by step."""

    envelope: Envelope
    columns: Mapping[str, Mapping[int, float]]
    flags: Mapping[str, bool]

    def judge_whole(self) -> bool | None:
        """What the envelope says at the extremes of all steps.

        False: `open` holds nowhere, whatever columns are missing. None: nor then, provided that no column is missing.
        """
        bindings: dict[str, float | bool] = dict(self.flags)
        for variable, (name, direction) in self.envelope.ends.items():
            if column := self.columns.get(name):
                bindings[variable] = pick_worst(column.values(), direction)
        return self.envelope.condition.evaluate(bindings)

    def list_breaches(self, steps: Sequence[int]) -> list[int]:
        """The steps, of these in ascending order, at which `open` may hold; every column must be given."""
        ranks = [
            (variable, max if up else min, [column.get(step, -inf if up else inf) for step in steps])
            for variable, (name, direction) in self.envelope.ends.items()
            if (column := self.columns.get(name))
            for up in [direction > 0]
        ]
        found: list[int] = []
        spans = [(0, len(steps))]
        while spans:
            low, high = spans.pop()
            if low == high:
                continue
            bindings: dict[str, float | bool] = dict(self.flags)
            for variable, worst, values in ranks:
                value = worst(values[low:high])
                if abs(value) != inf:
                    bindings[variable] = value
            if self.envelope.condition.evaluate(bindings) is not True:
                continue
            if high - low == 1:
                found.append(steps[low])
                continue
            middle = (low + high) // 2
            spans += [(middle, high), (low, middle)]
        return found


_EVEN = 0.5  # a confidence below it makes the "lower" bound lie above the share
_ROUNDING = 1e-9
_PARTS = 8  # into which a group of alerts is split: most of them are ruled out in one piece


def sift(
    envelope: Envelope,
    flags: Mapping[str, bool],
    members: Sequence[tuple[Labels, Mapping[str, float]]],
    *,
    unknown: bool,
) -> list[Labels]:
    """The alerts whose `open` may hold at some step, given the worst that each variable of its envelope reached for each of them.

    A variable that an alert lacks never had a value. `unknown`: baselines are not known yet, of none of them, and alerts that only
    these can decide count too.
    """
    found: list[Labels] = []
    groups = [members] if members else []
    while groups:
        group = groups.pop()
        bindings: dict[str, float | bool] = dict(flags)
        for variable, (_, direction) in envelope.ends.items():
            values = [worst[variable] for _, worst in group if variable in worst]
            if values:
                bindings[variable] = pick_worst(values, direction)
        answer = envelope.condition.evaluate(bindings)
        if answer is False or (answer is None and not unknown):
            continue
        if len(group) == 1:
            found.append(group[0][0])
            continue
        length = -(-len(group) // _PARTS)
        groups += [group[first : first + length] for first in range(0, len(group), length)]
    return found


def pick_worst(values: Collection[float], direction: int) -> float:
    """The greatest (1) or the least (-1)."""
    return max(values) if direction > 0 else min(values)


def find_worst(signal: Signal, traces: Sequence[Trace], direction: int) -> float | None:
    """A number that no value which `open` is judged by exceeds (-1: is below) at any step; None where there is no value.

    `traces`: of the signal's queries. That of a ratio is the worst numerator over the worst denominator, which is rounded as each
    share is and so not beaten by one, or the worst share where that bound does not hold.
    """
    if isinstance(signal, Instant):
        values: Collection[float] = traces[0].values.values()
    elif (signal.confidence or 1.0) >= _EVEN and (limits := bound_shares(signal.min_total, *traces)):
        if signal.confidence is not None:
            limits = _bound_lower(limits, traces[1].values.values(), signal.confidence)
        return pick_worst(limits, direction)
    else:
        shares = divide(signal, traces[0].values, traces[1].values, traces[1].undefined)
        values = (shares.values if shares.lower is None else shares.lower).values()
    return pick_worst(values, direction) if values else None


def bound_shares(min_total: float | None, numerator: Trace, denominator: Trace) -> tuple[float, float] | None:
    """Numbers between which the shares of every step lie, of which there is one at least; None where that cannot be said.

    A total below `min_total` makes no share, so none is divided by less than that.
    """
    parts, totals = numerator.values, denominator.values
    least = max(min(totals.values(), default=0.0), min_total or 0.0)
    most = max(totals.values(), default=0.0)
    if least <= 0 or most < least:
        return None
    low = min(parts.values(), default=0.0)
    if not isinstance(parts, Row):
        low = min(low, 0.0)  # a missing numerator is none
    if low < 0:
        return None
    return low / most, max(parts.values(), default=0.0) / least


def _bound_lower(limits: tuple[float, float], totals: Collection[float], confidence: float) -> tuple[float, float]:
    """Numbers between which the Wilson lower bounds of these shares lie.

    The bound grows with the share and, for a confidence of one half or more, with the total. It is computed to some 1e-16, far less
    than is allowed for here.
    """
    least = min(totals)
    low = wilson_lower(limits[0], least if least > 0 else min(total for total in totals if total > 0), confidence)
    return max(0.0, low - _ROUNDING), wilson_lower(limits[1], max(totals), confidence) + _ROUNDING


def names_baseline(envelope: Envelope) -> bool:
    """Whether the envelope asks for a baseline."""
    return any(name.endswith(BASELINE_SUFFIX) for name, _ in envelope.ends.values())
