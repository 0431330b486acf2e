"""What a PagerDuty account remembers: alerts by (routing key, dedup key), their log, and the events it dropped.

Before it: `event` found the event valid. After it: the oracle of a test, or the demo, asks what was paged. No I/O; the
time of every event is an argument. Source: "Alert De-Duplication" and "Event Action Behavior" in PagerDuty's documentation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

WINDOW_SECONDS = 60.0


class Status(StrEnum):
    """Where an alert stands."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class DropReason(StrEnum):
    """Why an acknowledge or a resolve changed nothing, though it was answered 202."""

    NO_OPEN_ALERT = "no open alert"
    OTHER_ROUTING_KEY = "open under another routing key"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event that an alert took, with the event as it was sent. `at` is in unix seconds."""

    at: float
    action: str
    severity: str | None
    summary: str | None
    event: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: one page to whoever is on call. Times are in unix seconds."""

    number: int
    routing_key: str
    dedup_key: str
    status: Status
    severity_at_open: str
    severity: str
    summary: str
    source: str
    opened_at: float
    acknowledged_at: float | None
    resolved_at: float | None
    invented_key: bool
    log: tuple[LogEntry, ...]

    @property
    def is_open(self) -> bool:
        """Whether somebody still has it on the list."""
        return self.status is not Status.RESOLVED

    @property
    def acknowledged(self) -> bool:
        """Whether somebody ever acknowledged it; from then on further triggers notify nobody."""
        return self.acknowledged_at is not None


@dataclass(frozen=True, slots=True)
class Drop:
    """A valid acknowledge or resolve that met no open alert of its own: answered 202, without effect."""

    at: float
    action: str
    routing_key: str
    dedup_key: str
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key under which more than one alert was opened: a trigger came after a resolve."""

    routing_key: str
    dedup_key: str
    alerts: int


@dataclass(slots=True)
class CallWindow:
    """The documented throttle: at most `limit` calls per routing key in any 60 s; throttled calls do not count."""

    limit: int
    _calls: dict[str, deque[float]] = field(default_factory=dict)

    def admit(self, routing_key: str, now: float) -> bool:
        """Count a call at `now` (unix seconds); False where the window is full."""
        calls = self._calls.setdefault(routing_key, deque())
        while calls and calls[0] <= now - WINDOW_SECONDS:
            calls.popleft()
        if len(calls) >= self.limit:
            return False
        calls.append(now)
        return True


@dataclass(slots=True)
class Ledger:
    """All alerts in the order they were opened."""

    _alerts: list[Alert] = field(default_factory=list)
    _open: dict[tuple[str, str], int] = field(default_factory=dict)
    _drops: list[Drop] = field(default_factory=list)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Every alert ever opened, oldest first."""
        return tuple(self._alerts)

    @property
    def drops(self) -> tuple[Drop, ...]:
        """Every event that was dropped, oldest first."""
        return tuple(self._drops)

    def duplicates(self) -> tuple[Duplicate, ...]:
        """The keys with more than one alert; a client that keeps promise 3 leaves this empty."""
        counts: dict[tuple[str, str], int] = {}
        for alert in self._alerts:
            key = (alert.routing_key, alert.dedup_key)
            counts[key] = counts.get(key, 0) + 1
        return tuple(Duplicate(*key, count) for key, count in counts.items() if count > 1)

    def apply(self, event: Mapping[str, object], dedup_key: str, now: float, *, invented_key: bool = False) -> None:
        """Take one valid event; `dedup_key` is its own, or the one invented for it."""
        routing_key, action = str(event["routing_key"]), str(event["event_action"])
        payload = event.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        entry = LogEntry(now, action, payload.get("severity"), payload.get("summary"), event)
        place = self._open.get((routing_key, dedup_key))
        if place is not None:
            self._alerts[place] = _follow(self._alerts[place], entry)
            if action == "resolve":
                del self._open[routing_key, dedup_key]
        elif action == "trigger":
            self._open[routing_key, dedup_key] = len(self._alerts)
            self._alerts.append(
                _open_alert(len(self._alerts) + 1, routing_key, dedup_key, payload, entry, invented_key=invented_key)
            )
        else:
            elsewhere = any(key == dedup_key for _, key in self._open)
            reason = DropReason.OTHER_ROUTING_KEY if elsewhere else DropReason.NO_OPEN_ALERT
            self._drops.append(Drop(now, action, routing_key, dedup_key, reason))


def _open_alert(
    number: int,
    routing_key: str,
    dedup_key: str,
    payload: Mapping[str, object],
    entry: LogEntry,
    *,
    invented_key: bool,
) -> Alert:
    severity = str(payload["severity"])
    return Alert(
        number=number,
        routing_key=routing_key,
        dedup_key=dedup_key,
        status=Status.TRIGGERED,
        severity_at_open=severity,
        severity=severity,
        summary=str(payload["summary"]),
        source=str(payload["source"]),
        opened_at=entry.at,
        acknowledged_at=None,
        resolved_at=None,
        invented_key=invented_key,
        log=(entry,),
    )


def _follow(alert: Alert, entry: LogEntry) -> Alert:
    """The open alert after one more event of its own key."""
    log = (*alert.log, entry)
    match entry.action:
        case "acknowledge":
            first = entry.at if alert.acknowledged_at is None else alert.acknowledged_at
            return replace(alert, status=Status.ACKNOWLEDGED, acknowledged_at=first, log=log)
        case "resolve":
            return replace(alert, status=Status.RESOLVED, resolved_at=entry.at, log=log)
        case _:
            return replace(alert, severity=entry.severity or alert.severity, summary=entry.summary or alert.summary, log=log)
