"""The oracle: what a PagerDuty account must show at the end of a fault, whoever filled it.

Before it: `row` played a fault and noted what was true. After it: `comparison` writes the verdicts into a table. It
reads the account alone, so it treats every product alike.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.domain.quantity import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit.standin import Alert

_SUMMARY_LETTERS = 60


@dataclass(slots=True)
class Truth:
    """A service that was broken from `broken` until `mended`, unix seconds; `since`: no page could leave before."""

    service: str
    broken: float
    mended: float = math.inf
    since: float = 0.0


@dataclass(slots=True)
class Verdict:
    """What went wrong, counted, and how long pages took (seconds from `since`, else from the breach)."""

    incidents: int = 0
    second: int = 0
    false_resolves: int = 0
    lost: int = 0
    left_open: int = 0
    repeats: int = 0
    delays: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Everything that must be zero."""
        return self.second + self.false_resolves + self.lost + self.left_open

    def describe(self) -> str:
        """One line for the table."""
        parts = [
            format_count(self.incidents, "incident"),
            format_count(self.second, "second alert"),
            format_count(self.false_resolves, "false resolve"),
            f"{format_count(self.lost, 'page')} lost",
            f"{self.left_open} left open",
        ]
        text = ", ".join(parts)
        if self.delays:
            text += f"; to the page {statistics.median(self.delays):.0f} s in the median, {max(self.delays):.0f} s at most"
        if self.repeats:
            again = format_count(self.repeats, "trigger")
            text += f"; {again} sent again under an open key (PagerDuty joins them, chat and mail would not)"
        if self.others:
            text += f"; also paged: {'; '.join(dict.fromkeys(self.others))}"
        return text


def judge(truths: Sequence[Truth], alerts: Sequence[Alert]) -> Verdict:
    """Hold the alerts of an account against what was true. A service is an alert's `component`."""
    verdict = Verdict(incidents=len(truths))
    by_service: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_service.setdefault(name_service(alert), []).append(alert)
    for truth in truths:
        _judge_one(truth, by_service.pop(truth.service, []), verdict)
    verdict.others = [alert.summary[:_SUMMARY_LETTERS] for rest in by_service.values() for alert in rest]
    return verdict


def name_service(alert: Alert) -> str:
    """Which service an alert is about."""
    payload = alert.log[0].event.get("payload")
    return str(payload.get("component", "")) if isinstance(payload, dict) else ""


def _judge_one(truth: Truth, alerts: Sequence[Alert], verdict: Verdict) -> None:
    if not alerts:
        verdict.lost += 1
        return
    verdict.second += len(alerts) - 1
    verdict.left_open += sum(alert.is_open for alert in alerts) if truth.mended < math.inf else 0
    for alert in alerts:
        actions = [entry.action for entry in alert.log]
        verdict.repeats += actions.count("trigger") - 1
        verdict.false_resolves += sum(entry.action == "resolve" and entry.at < truth.mended for entry in alert.log)
    verdict.delays.append(alerts[0].opened_at - (truth.since or truth.broken))
