"""The demo's words for an incident, for an event that PagerDuty received, and for the command itself."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.domain.quantity import format_breach, format_signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from detector.standin.ledger import Alert


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
    """`error_rate 0% at recovery, peak 29.8%, threshold 1%`."""
    name = str(incident.get("signal") or "value")
    numbers = [incident[key] for key in ("value_at_recovery", "peak_value", "threshold")]
    at_recovery, peak, threshold = (format_signal(name, number, *numbers) for number in numbers)
    return f"{name} {at_recovery} at recovery, peak {peak}, threshold {threshold}"


def describe_event(alert: Alert, place: int) -> list[tuple[str, str]]:
    """Names and values of one event of an alert, lists and objects aside."""
    event: Mapping[str, Any] = alert.log[place].event
    payload: Mapping[str, Any] = event.get("payload") or {}
    rows = [
        ("event_action", event["event_action"]),
        ("summary", payload.get("summary", "")),
        ("severity", payload.get("severity", "")),
    ]
    rows += [("dedup_key", event["dedup_key"]), ("source", payload.get("source", ""))]
    rows += [("link", f"{link.get('text', '')}  {link['href']}") for link in event.get("links") or ()]
    details: Mapping[str, Any] = payload.get("custom_details") or {}
    shown = {
        name: value
        for name, value in details.items()
        if isinstance(value, (str, int, float)) and name not in {"severity", "runbook"}
    }
    rows += [(name, str(value)) for name, value in shown.items()]
    return [(name, str(value)) for name, value in rows if value]


def name_command() -> str:
    """How the user called this program."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m detector"
    found = shutil.which(called.name)
    if not called.exists() or (found is not None and called.samefile(found)):
        return called.name
    return shlex.quote(os.path.relpath(called))
