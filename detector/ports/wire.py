"""What the web side needs to speak as Alertmanager and Prometheus do: alerts as they are shown, rules, where alerts arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from detector.domain.reception import ReceivedAlert
from detector.domain.rule import Rule
from detector.ports.query import RuleReport


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """An alert that is pending or firing, ours or received, with labels and annotations as Prometheus would give it.

    `matched`: the labels that matchers see, which have the rule and the service beside. `ends`: until when the word of its sender
    holds, None for our own. `unknown`: why it cannot be judged. Times are unix seconds.
    """

    rule: str
    labels: Mapping[str, str]
    matched: Mapping[str, str]
    annotations: Mapping[str, str]
    firing: bool
    starts: float
    updated: float
    ends: float | None = None
    value: float | None = None
    generator: str = ""
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class ShownRule:
    """A rule that runs, how it fares, and its alerts."""

    rule: Rule
    report: RuleReport
    alerts: Sequence[ShownAlert] = field(default=())


class Exhibit(Protocol):
    """Reading; memory only, never fails."""

    def alerts(self) -> Sequence[ShownAlert]:
        """Every alert that is pending or firing, in a stable order."""

    def rules(self) -> Sequence[ShownRule]:
        """Every rule of the running set, in its order."""

    def now(self) -> float:
        """The moment, in unix seconds."""


class Inbox(Protocol):
    """Where alerts of other Prometheis arrive."""

    async def receive(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Take them; returns when they are decided on. Raises TemporaryError while it cannot."""
