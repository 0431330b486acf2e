"""What must hold after every test that breaks something, whatever was done to the daemon meanwhile.

The judge knows what was true (`Truth`), what PagerDuty was told (the stand-in) and what the daemon says it did (its API): each true
incident was paged; exactly one alert per incident, and one more for each rise or relapse that the timeline records; nothing stays
open without a cause; nothing was resolved while it was broken or its state was unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.kit.standin import Alert, PagerDuty


@dataclass(frozen=True)
class Truth:
    """One incident that really was: broken from `broken` until `healed`, and unknown during `unknown`, in unix seconds."""

    service: str
    broken: float
    healed: float = math.inf
    unknown: tuple[tuple[float, float], ...] = ()

    def forbids(self, at: float) -> bool:
        """Whether a resolve at that moment is false."""
        return self.broken <= at < self.healed or any(start <= at < end for start, end in self.unknown)


def check_oracle(
    truths: Sequence[Truth],
    pagerduty: PagerDuty,
    incidents: Iterable[Mapping[str, Any]],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """AssertionError naming what does not hold. `timelines` by incident id."""
    known = {incident["id"]: incident for incident in incidents}
    by_service: dict[str, list[Alert]] = {}
    for alert in pagerduty.alerts():
        identity = alert.dedup_key.split(":")[0]
        assert identity in known, f"an alert without an incident: {alert.dedup_key} {alert.summary}"
        by_service.setdefault(known[identity]["service"], []).append(alert)
    assert not pagerduty.duplicates(), f"a trigger came after a resolve: {pagerduty.duplicates()}"
    keys = {alert.dedup_key for alert in pagerduty.alerts()}
    for drop in pagerduty.drops():
        assert drop.dedup_key in keys, f"{drop.action} for a key that never was: {drop}"
    for truth in truths:
        _check_truth(truth, by_service.get(truth.service, []), known, timelines)
    causes = {truth.service for truth in truths}
    assert by_service.keys() <= causes, f"paged without a cause: {by_service.keys() - causes}"


def _check_truth(
    truth: Truth,
    alerts: Sequence[Alert],
    known: Mapping[str, Mapping[str, Any]],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    assert alerts, f"{truth.service} was broken and nobody was paged"
    identities = {alert.dedup_key.split(":")[0] for alert in alerts}
    assert len(identities) == 1, f"{truth.service}: one cause, {len(identities)} incidents"
    (identity,) = identities
    more = [event for event in timelines[identity] if _is_page_again(event)]
    assert len(alerts) == 1 + len(more), f"{truth.service}: {len(alerts)} alerts, recorded rises and relapses: {more}"
    for alert in alerts:
        ends = [entry.at for entry in alert.log if entry.action == "resolve"]
        assert not [at for at in ends if truth.forbids(at)], f"{truth.service}: resolved while broken or unknown, at {ends}"
    last = known[identity]
    is_over = truth.healed < math.inf
    left = [alert.dedup_key for alert in alerts if alert.is_open]
    assert bool(left) != is_over, f"{truth.service}: healed {is_over}, open alerts {left}"
    assert (last["status"] in {"resolved", "closed"}) == is_over, f"{truth.service}: healed {is_over}, incident {last['status']}"


def _is_page_again(event: Mapping[str, Any]) -> bool:
    if event["kind"] == "relapse":
        return True
    before, _, after = str(event["message"]).removeprefix("severity ").partition(" -> ")
    return event["kind"] == "severity" and before in {"low", "medium"} and after in {"high", "critical"}
