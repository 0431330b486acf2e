"""Burn rates: an objective expanded to the standard multi-window multi-burn-rate pairs.

The pairs (14.4x over 1h and 5m, 6x over 6h and 30m, 1x over 3d and 6h) are those of the SRE Workbook, chapter "Alerting on SLOs":
2 % of a month's budget burnt in an hour, 5 % in six hours, 10 % in three days. The short
window ends the alert soon after the burning ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.domain.rule import Ratio
from detector.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Pair:
    """Opens when the error rate is above `factor` times the budget over both windows; PromQL durations."""

    factor: float
    long: str
    short: str
    severity: Severity


PAIRS = (
    Pair(14.4, "1h", "5m", Severity.HIGH),
    Pair(6.0, "6h", "30m", Severity.MEDIUM),
    Pair(1.0, "3d", "6h", Severity.LOW),
)


@dataclass(frozen=True, slots=True)
class Expansion:
    """Signals, the text of `open`, and the rungs of the ladder."""

    signals: tuple[Ratio, ...]
    open: str
    severity: tuple[tuple[Severity, str], ...]


def expand_objective(objective: float, errors: str, total: str) -> Expansion:
    """Signals `error_rate_<window>` for every window, and conditions over them. `$window` in the queries is filled in here.

    A factor whose threshold reaches 1 (objective below 1 - 1/factor) cannot be exceeded and is left out.
    """
    budget = 1.0 - objective
    pairs = [pair for pair in PAIRS if pair.factor * budget < 1.0]
    windows = dict.fromkeys(window for pair in pairs for window in (pair.long, pair.short))
    signals = tuple(
        Ratio(f"error_rate_{window}", errors.replace("$window", window), total.replace("$window", window)) for window in windows
    )
    terms = [(pair.severity, _burn(pair, budget)) for pair in pairs]
    rungs = [(severity, text) for severity, text in terms if severity is not Severity.LOW]
    critical = [(Severity.CRITICAL, f"core && error_rate_{PAIRS[0].short} >= 0.995")] if PAIRS[0] in pairs else []
    return Expansion(
        signals=signals,
        open=" || ".join(f"({text})" for _, text in terms),
        severity=(*critical, *rungs, (Severity.LOW, "true")),
    )


def _burn(pair: Pair, budget: float) -> str:
    bound = f"{pair.factor * budget:.6g}"
    return f"error_rate_{pair.long} > {bound} && error_rate_{pair.short} > {bound}"
