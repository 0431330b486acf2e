"""Simulated traffic through services that call each other: counters that grow by exact fractions of elapsed time.

Before it: `shop` names the services and their faults. After it: `exposition` renders the counters. Pure; time is an argument.
An error ratio of 0.1 gives exactly one error in ten requests, never about one: small numbers in tests are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BUCKET_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OWN_ERROR_CODE = "500"
UPSTREAM_ERROR_CODE = "502"
_ROUNDING = 1e-9  # ten times 0.1 is one, whatever the floating point says


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is while healthy.

    `rate` is its own traffic in requests per second, beside what callers send. `calls`: callee -> the share of requests that
    go through that callee; no request goes through two, so the shares of one service add up to at most 1.
    """

    name: str
    rate: float = 0.0
    latency_seconds: float = 0.02
    calls: Mapping[str, float] = field(default_factory=dict)
    version: str = "1.0.0"


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong with a service now; the defaults are health. None: as the service itself says."""

    error_ratio: float = 0.0
    latency_seconds: float | None = None
    rate: float | None = None
    down: bool = False


HEALTHY = Condition()


@dataclass(slots=True)
class Counts:
    """The counters of one service since its last start; seconds and requests."""

    started_at: float
    version: str
    by_code: dict[str, int] = field(default_factory=lambda: {"200": 0})
    by_bucket: list[int] = field(default_factory=lambda: [0] * (len(BUCKET_BOUNDS_SECONDS) + 1))
    latency_sum_seconds: float = 0.0
    _fractions: dict[str, float] = field(default_factory=dict)

    def whole(self, name: str, amount: float) -> int:
        """The whole part of `amount` plus what was left over under this name; the rest is kept for the next call."""
        total = self._fractions.get(name, 0.0) + amount
        whole = int(total + _ROUNDING)
        self._fractions[name] = total - whole
        return whole

    def add_code(self, code: str, requests: int) -> None:
        """Count requests; a code nobody was answered yet has no series."""
        if requests:
            self.by_code[code] = self.by_code.get(code, 0) + requests

    def add_latency(self, seconds: float, requests: int) -> None:
        """Observe `requests` answers that took `seconds` each."""
        place = sum(bound < seconds for bound in BUCKET_BOUNDS_SECONDS)
        self.by_bucket[place] += requests
        self.latency_sum_seconds += seconds * requests


class Traffic:
    """The counters of all services at a moment; `advance` moves them on under the conditions of now."""

    def __init__(self, services: tuple[Service, ...], now: float, wall: float) -> None:
        self.services = {service.name: service for service in services}
        self.conditions = dict.fromkeys(self.services, HEALTHY)
        self.counts = {service.name: Counts(wall, service.version) for service in services}
        self._at = now
        _check_calls(self.services)

    def advance(self, now: float) -> None:
        """Let the time since the last call pass; call it before any condition changes. `now` is monotonic seconds."""
        elapsed, self._at = now - self._at, now
        for name in self.services:
            if not self.conditions[name].down:
                self._serve(name, elapsed)

    def restart(self, name: str, wall: float, version: str | None = None) -> None:
        """Start one service's counters again at nothing, as new pods do; `wall` is unix seconds."""
        self.counts[name] = Counts(wall, version or self.counts[name].version)

    def rate(self, name: str) -> float:
        """Requests per second that reach a service: its own, and its callers' shares."""
        asked = self.conditions[name].rate
        if asked is not None:
            return asked
        callers = (caller for caller in self.services.values() if name in caller.calls)
        shares = (self.rate(caller.name) * caller.calls[name] for caller in callers if not self.conditions[caller.name].down)
        return self.services[name].rate + sum(shares)

    def failure_ratio(self, name: str) -> float:
        """The share of requests a service fails: its own errors, and what its callees fail of the rest."""
        condition = self.conditions[name]
        if condition.down:
            return 1.0
        return condition.error_ratio + (1 - condition.error_ratio) * self._upstream_ratio(name)

    def latencies(self, name: str) -> list[tuple[float, float]]:
        """(share of requests, seconds) for every way through the services; a callee that is down fails at once."""
        service, condition = self.services[name], self.conditions[name]
        if condition.down:
            return [(1.0, 0.0)]
        own = service.latency_seconds if condition.latency_seconds is None else condition.latency_seconds
        ways = [(1 - sum(service.calls.values()), own)]
        for callee, share in service.calls.items():
            ways += [(share * part, own + seconds) for part, seconds in self.latencies(callee)]
        return [way for way in ways if way[0] > _ROUNDING]

    def _upstream_ratio(self, name: str) -> float:
        return sum(share * self.failure_ratio(callee) for callee, share in self.services[name].calls.items())

    def _serve(self, name: str, elapsed: float) -> None:
        counts, own_ratio = self.counts[name], self.conditions[name].error_ratio
        requests = counts.whole("requests", self.rate(name) * elapsed)
        own = min(requests, counts.whole("own", requests * own_ratio))
        upstream = min(requests - own, counts.whole("upstream", requests * (1 - own_ratio) * self._upstream_ratio(name)))
        counts.add_code(OWN_ERROR_CODE, own)
        counts.add_code(UPSTREAM_ERROR_CODE, upstream)
        counts.add_code("200", requests - own - upstream)
        left = requests
        ways = self.latencies(name)
        for place, (share, seconds) in enumerate(ways):
            last = place == len(ways) - 1
            part = left if last else min(left, counts.whole(f"way {place}", requests * share))
            counts.add_latency(seconds, part)
            left -= part


def _check_calls(services: Mapping[str, Service]) -> None:
    """Every callee exists, shares fit, and nobody calls himself by a detour: rates and errors are computed along the calls."""
    done: set[str] = set()
    for _ in services:
        done |= {name for name, service in services.items() if set(service.calls) <= done}
    for name, service in services.items():
        unknown = sorted(set(service.calls) - set(services))
        if unknown:
            raise ValueError(f"service {name} calls {', '.join(unknown)}: no such service")
        if sum(service.calls.values()) > 1 + _ROUNDING:
            raise ValueError(f"service {name}: the shares of its calls add up to more than 1")
        if name not in done:
            raise ValueError(f"service {name} calls itself, directly or through others")
