"""The demo's words for an incident and for an event that PagerDuty received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.quantity import format_breach, format_signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from detector.standin.ledger import Alert

# of custom_details, what is shown with its value; the rest is counted
TRIGGER_DETAILS = ("breach", "since", "affected_services", "condition", "incident_url")
RESOLVE_DETAILS = ("recovery", "value_at_recovery", "end_reason")


def join_words(words: Iterable[str]) -> str:
    """Join as a sentence does: `a, b and c`."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def describe(incident: Mapping[str, Any]) -> str:
    """`HIGH, payments: error_rate 5.1% > 1%`."""
    signal_name = str(incident.get("signal") or "value")
    breach = format_breach(signal_name, incident["value"], incident["threshold"])
    return f"{str(incident['severity']).upper()}, {join_words(incident['services'])}: {breach}"


def describe_end(incident: Mapping[str, Any]) -> str:
    """`error_rate 0% (peak 29.8%, threshold 1%)`."""
    name = str(incident.get("signal") or "value")
    numbers = [incident[key] for key in ("value_at_recovery", "peak_value", "threshold")]
    at_recovery, peak, threshold = (format_signal(name, number, *numbers) for number in numbers)
    return f"{name} {at_recovery} (peak {peak}, threshold {threshold})"


def describe_event(alert: Alert, place: int, shown: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of one event of an alert as it was received; the last row counts what else is in custom_details."""
    event: Mapping[str, Any] = alert.log[place].event
    payload: Mapping[str, Any] = event.get("payload") or {}
    details: Mapping[str, Any] = payload.get("custom_details") or {}
    rows = [
        ("event_action", event["event_action"]),
        ("summary", payload.get("summary", "")),
        ("severity", payload.get("severity", "")),
    ]
    rows += [("dedup_key", event["dedup_key"]), ("source", payload.get("source", ""))]
    rows += [(str(link.get("text", "link")), link["href"]) for link in event.get("links") or ()]
    rows += [(name, details[name]) for name in shown if name in details]
    others = sum(name not in shown for name in details)
    rows += [("...", f"{others} more custom_details" if others else "")]
    return [(name, str(value)) for name, value in rows if value not in {"", None}]
