"""What must hold after every test that breaks something, whatever was done to the daemon meanwhile.

The judge knows what was true (`Truth`), what PagerDuty was told (the stand-in) and what the daemon says it did (its API): each true
incident was paged; exactly one alert per incident, and one more for each rise or relapse that the timeline records; nothing stays
open without a cause; nothing was resolved while it was broken or its state was unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


class Harm(StrEnum):
    """What can have gone wrong."""

    LOST = "page lost"
    SECOND = "second alert"
    FALSE_RESOLVE = "false resolve"
    LEFT_OPEN = "left open"
    WITHOUT_CAUSE = "without a cause"


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold, in words."""

    harm: Harm
    what: str


def check_oracle(
    truths: Iterable[Truth],
    pagerduty: PagerDuty,
    incidents: Iterable[Mapping[str, Any]],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """AssertionError naming everything that does not hold. `timelines` by incident id."""
    found = judge(truths, pagerduty, incidents, timelines)
    assert not found, "; ".join(f"{each.harm}: {each.what}" for each in found)


def judge(
    truths: Iterable[Truth],
    pagerduty: PagerDuty,
    incidents: Iterable[Mapping[str, Any]],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Finding]:
    """Everything that does not hold; nothing where all is well."""
    known = {incident["id"]: incident for incident in incidents}
    by_service: dict[str, list[Alert]] = {}
    found = []
    for alert in pagerduty.alerts():
        identity = _name_incident(alert)
        if identity in known:
            by_service.setdefault(known[identity]["service"], []).append(alert)
        else:
            found.append(Finding(Harm.WITHOUT_CAUSE, f"an alert without an incident: {alert.dedup_key} {alert.summary}"))
    found += [Finding(Harm.SECOND, f"a trigger came after a resolve: {each}") for each in pagerduty.duplicates()]
    keys = {alert.dedup_key for alert in pagerduty.alerts()}
    strangers = [drop for drop in pagerduty.drops() if drop.dedup_key not in keys]
    found += [Finding(Harm.WITHOUT_CAUSE, f"{drop.action} for a key that never was: {drop}") for drop in strangers]
    causes: dict[str, list[Truth]] = {}
    for truth in sorted(truths, key=lambda each: each.broken):
        causes.setdefault(truth.service, []).append(truth)
    for service, its in causes.items():
        found += _judge_service(service, its, by_service.get(service, []), known, timelines)
    uncaused = by_service.keys() - causes.keys()
    return found + [Finding(Harm.WITHOUT_CAUSE, f"{service} was paged and never broken") for service in sorted(uncaused)]


def _judge_service(
    service: str,
    truths: Sequence[Truth],
    alerts: Sequence[Alert],
    known: Mapping[str, Mapping[str, Any]],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[Finding]:
    ends = [truth.broken for truth in truths[1:]] + [math.inf]
    for truth, end in zip(truths, ends, strict=True):
        if not any(truth.broken <= alert.opened_at < end for alert in alerts):
            yield Finding(Harm.LOST, f"{service} broke at {truth.broken:.3f} and nobody was paged")
    for alert in alerts:
        if alert.opened_at < truths[0].broken:
            yield Finding(Harm.WITHOUT_CAUSE, f"{service} was paged at {alert.opened_at:.3f}, before it broke")
        for at in (entry.at for entry in alert.log if entry.action == "resolve"):
            if any(truth.forbids(at) for truth in truths):
                yield Finding(Harm.FALSE_RESOLVE, f"{service}: resolved at {at:.3f}, while broken or unknown")
    if alerts:
        yield from _count_alerts(service, truths, alerts, timelines)
        yield from _judge_end(service, truths[-1], alerts, known)


def _count_alerts(
    service: str, truths: Sequence[Truth], alerts: Sequence[Alert], timelines: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Finding]:
    identities = {_name_incident(alert) for alert in alerts}
    if len(identities) > len(truths):
        yield Finding(Harm.SECOND, f"{service}: {len(truths)} cause(s), {len(identities)} incidents")
    more = [event for identity in identities for event in _list_pages_again(timelines[identity])]
    if len(alerts) != len(identities) + len(more):
        harm = Harm.SECOND if len(alerts) > len(identities) + len(more) else Harm.LOST
        yield Finding(harm, f"{service}: {len(alerts)} alerts, recorded rises and relapses: {more}")


def _judge_end(service: str, truth: Truth, alerts: Sequence[Alert], known: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    is_over = truth.healed < math.inf
    left = [alert.dedup_key for alert in alerts if alert.is_open]
    if is_over and left:
        yield Finding(Harm.LEFT_OPEN, f"{service} is well since {truth.healed:.3f}, open alerts {left}")
    if not is_over and not left:
        yield Finding(Harm.FALSE_RESOLVE, f"{service} is still broken and has no open alert")
    status = known[_name_incident(alerts[-1])]["status"]
    if (status in {"resolved", "closed"}) != is_over:
        harm = Harm.LEFT_OPEN if is_over else Harm.FALSE_RESOLVE
        yield Finding(harm, f"{service}: {'well' if is_over else 'still broken'}, and its incident is {status}")


def _name_incident(alert: Alert) -> str:
    return alert.dedup_key.split(":")[0]


def _list_pages_again(timeline: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What is a reason for one more alert; nothing is while the incident is muted."""
    muted = False
    for event in timeline:
        muted = event["kind"] == "muted" or (muted and event["kind"] != "unmuted")
        if not muted and _is_page_again(event):
            yield event


def _is_page_again(event: Mapping[str, Any]) -> bool:
    if event["kind"] == "relapse":
        return True
    before, _, after = str(event["message"]).removeprefix("severity ").partition(" -> ")
    return event["kind"] == "severity" and before in {"low", "medium"} and after in {"high", "critical"}
