"""History for a real Prometheus: series written down as rates and levels over virtual time, rendered as OpenMetrics text.

`prometheus.load_openmetrics` puts it into the data folder; `replay` then asks at the instants that it tells of.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Level: TypeAlias = float | Callable[[float], float | None] | None  # None: the series is absent

BUCKET_BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def switch(before: float | None, *steps: tuple[float, float | None]) -> Callable[[float], float | None]:
    """A level that is `before` until the first step's time, then that step's; None: the series is absent."""

    def level(at: float) -> float | None:
        value = before
        for begin, after in steps:
            if at >= begin:
                value = after
        return value

    return level


@dataclass
class History:
    """Samples every `step_seconds` in [start, end)."""

    start: float
    end: float
    step_seconds: float = 15.0
    _families: dict[str, list[str]] = field(default_factory=dict)

    def add_gauge(self, name: str, labels: Mapping[str, str], level: Level) -> None:
        """A series with that level; absent while it is None."""
        for at in self._times():
            self._write(name, labels, _value(level, at), at)

    def add_counter(self, name: str, labels: Mapping[str, str], rate: Level) -> None:
        """A counter that grows by `rate` a second; absent while that is None, born with what it counted in its first step."""
        total = 0.0
        for at in self._times():
            per_second = _value(rate, at)
            total = 0.0 if per_second is None else total + per_second * self.step_seconds
            self._write(name, labels, None if per_second is None else total, at)

    def add_histogram(
        self,
        name: str,
        labels: Mapping[str, str],
        rate: Level,
        duration: Level,
        *,
        bounds: Sequence[float] = BUCKET_BOUNDS_SECONDS,
        unit: float = 1.0,
    ) -> None:
        """Buckets and count of requests that all take `duration` seconds; `le` says the bounds (seconds) times `unit`."""
        for bound in (*bounds, float("inf")):

            def within(at: float, bound: float = bound) -> float | None:
                per_second, seconds = _value(rate, at), _value(duration, at)
                return None if per_second is None or seconds is None else per_second * (seconds <= bound)

            text = "+Inf" if bound == float("inf") else f"{bound * unit:g}"
            self.add_counter(f"{name}_bucket", {**labels, "le": text}, within)
        self.add_counter(f"{name}_count", labels, rate)

    def render(self) -> str:
        """OpenMetrics text."""
        return "\n".join(line for lines in self._families.values() for line in lines)

    def _times(self) -> list[float]:
        # Off the grid of the evaluations, as real scrapes are.
        return [self.start + 3.0 + index * self.step_seconds for index in range(int((self.end - self.start) / self.step_seconds))]

    def _write(self, name: str, labels: Mapping[str, str], value: float | None, at: float) -> None:
        if value is not None:
            pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
            self._families.setdefault(name, []).append(f"{name}{{{pairs}}} {value:.6f} {at:.3f}")


def _value(level: Level, at: float) -> float | None:
    return level(at) if callable(level) else level
