"""Metrics of which every rule has a few series, in plain numbers: thousands of rules make a hundred thousand series.

Before it: `metrics`, which counts in them at every evaluation. After it: a scrape, which gets them as text. prometheus_client's own
locks, checks and formatting cost a scrape of 5,000 rules a second and more of the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RULE = "\x00"


def name_series(suffix: str = "", **labels: str) -> str:
    """One series of a rule: a suffix of the metric's name, and labels beside the rule's."""
    pairs = sorted({"rule": _RULE, **labels}.items())
    return suffix + "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"


class RuleSeries:
    """One metric. A rule's numbers are a list in the order of its series, which begin at zero.

    `series`: what follows the metric's name, as `name_series` writes it. A rule that was not added is when it is first counted.
    """

    def __init__(self, name: str, kind: str, text: str, series: Iterable[str] = (name_series(),)) -> None:
        self.name, self.kind, self.text = name, kind, text
        self.series = tuple(series)
        self._pattern = "".join(f"{name}{each} %r\n" for each in self.series)
        self._rows: dict[str, tuple[str, list[float]]] = {}

    def numbers(self, rule: str) -> list[float]:
        """The rule's numbers, to be changed in place."""
        row = self._rows.get(rule)
        if row is None:
            written = rule.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")
            row = self._rows[rule] = (self._pattern.replace(_RULE, written), [0.0] * len(self.series))
        return row[1]

    def remove(self, rule: str) -> None:
        """The rule is gone."""
        self._rows.pop(rule, None)

    def write(self) -> str:
        """All of them in the Prometheus text format."""
        head = f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"
        return head + "".join([pattern % self._list(numbers) for pattern, numbers in self._rows.values()])

    def _list(self, numbers: Sequence[float]) -> tuple[float, ...]:
        """What is written of a row."""
        return tuple(numbers)


class RuleTiming(RuleSeries):
    """A histogram of seconds. A row holds how many fell into each bucket alone, then the sum: it grows far more often than read."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        buckets = (name_series("_bucket", le=repr(bound)) for bound in self._bounds)
        rest = (name_series("_bucket", le="+Inf"), name_series("_count"), name_series("_sum"))
        super().__init__(name, "histogram", text, (*buckets, *rest))

    def observe(self, rule: str, seconds: float) -> None:
        """Take one in."""
        self.observe_each((rule,), (seconds,))

    def observe_each(self, rules: Iterable[str], seconds: Sequence[float]) -> None:
        """Take the same ones in for each of these rules."""
        buckets, total = Counter(bisect_left(self._bounds, each) for each in seconds).items(), sum(seconds)
        for rule in rules:
            numbers = self.numbers(rule)
            for bucket, count in buckets:
                numbers[bucket] += count
            numbers[-1] += total

    def _list(self, numbers: Sequence[float]) -> tuple[float, ...]:
        """Cumulative, as the format has it: the count is the last bucket's."""
        *buckets, _, total = numbers
        cumulative = tuple(accumulate(buckets))
        return (*cumulative, cumulative[-1], total)
