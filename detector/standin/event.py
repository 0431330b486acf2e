"""The rules of a PagerDuty Events API v2 event: bytes in, the event and every rule it breaks out.

Before it: `pagerduty` read a request body. After it: `ledger` applies an event that breaks none. Pure.
Source of the rules: PagerDuty developer documentation, "Events API v2 Overview" and "Send an Alert Event". The wording of the
errors is PagerDuty's where its answers are on public record, ours elsewhere; a client must not depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

MAX_EVENT_BYTES = 512_000  # documented as "512 KB": the smaller reading, so that a client inside it is inside both
ROUTING_KEY_LENGTH = 32
MAX_DEDUP_KEY_LENGTH = 255
MAX_SUMMARY_LENGTH = 1024
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
KNOWN_KEYS = frozenset({"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A request body, read: the JSON object (None where it is not one) and the rules it breaks."""

    event: Mapping[str, object] | None
    errors: tuple[str, ...]

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Top-level keys the documentation does not name; PagerDuty ignores them, a test may not want to."""
        return tuple(key for key in self.event or {} if key not in KNOWN_KEYS)

    def text(self, key: str) -> str:
        """The string at a top-level key, or "" where it is missing or no string."""
        value = (self.event or {}).get(key)
        return value if isinstance(value, str) else ""


def read_event(body: bytes, routing_keys: frozenset[str]) -> Reading:
    """Read one enqueue body and hold it against every documented rule; `routing_keys` are the integrations that exist."""
    if len(body) > MAX_EVENT_BYTES:
        return Reading(None, (f"Event is too large ({len(body)} bytes, maximum is {MAX_EVENT_BYTES})",))
    try:
        event = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(event, ensure_ascii=False).encode("utf-8")  # lone surrogates parse, yet are no text
    except (UnicodeError, ValueError, RecursionError) as error:
        return Reading(None, (f"Body is not valid JSON: {error}",))
    if not isinstance(event, dict):
        return Reading(None, ("Body is not a JSON object",))
    return Reading(event, tuple(_find_errors(event, routing_keys)))


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _find_errors(event: Mapping[str, object], routing_keys: frozenset[str]) -> list[str]:
    action = event.get("event_action")
    errors = _check_routing_key(event.get("routing_key"), routing_keys)
    if action not in ACTIONS:
        errors.append("'event_action' is missing or invalid (must be one of: 'trigger', 'acknowledge', 'resolve')")
    errors += _check_dedup_key(event.get("dedup_key"), required=action in {"acknowledge", "resolve"})
    payload = event.get("payload")
    if isinstance(payload, dict):
        errors += _check_payload(payload, required=action == "trigger")
    elif payload is not None or action == "trigger":
        errors.append("'payload' is missing or is not an object")
    errors += _check_list(event.get("images"), "images", _check_image)
    errors += _check_list(event.get("links"), "links", _check_link)
    errors += [f"'{key}' is not a string" for key in ("client", "client_url") if not _is_text_or_absent(event.get(key))]
    return errors


def _check_routing_key(key: object, routing_keys: frozenset[str]) -> list[str]:
    if not isinstance(key, str) or not key:
        return ["'routing_key' is missing or blank"]
    if len(key) != ROUTING_KEY_LENGTH:
        return [f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)"]
    return [] if key in routing_keys else ["'routing_key' belongs to no integration"]


def _check_dedup_key(key: object, *, required: bool) -> list[str]:
    if key is None or key == "":
        return ["'dedup_key' is missing or blank"] if required else []
    if not isinstance(key, str):
        return ["'dedup_key' is not a string"]
    if len(key) > MAX_DEDUP_KEY_LENGTH:
        return [f"'dedup_key' is too long (maximum is {MAX_DEDUP_KEY_LENGTH} characters)"]
    return []


def _check_payload(payload: Mapping[str, object], *, required: bool) -> list[str]:
    errors: list[str] = []
    for key in ("summary", "source"):
        value = payload.get(key)
        if (required and (value is None or value == "")) or not _is_text_or_absent(value):
            errors.append(f"'payload.{key}' is missing or blank")
    summary = payload.get("summary")
    if isinstance(summary, str) and len(summary) > MAX_SUMMARY_LENGTH:
        errors.append(f"'summary' is too long (maximum is {MAX_SUMMARY_LENGTH} characters)")
    severity = payload.get("severity")
    if severity not in SEVERITIES and (required or severity is not None):
        errors.append("'payload.severity' is invalid (must be one of: 'critical', 'error', 'warning', 'info')")
    if not _is_timestamp_or_absent(payload.get("timestamp")):
        errors.append("'payload.timestamp' is not an ISO 8601 date and time")
    errors += [
        f"'payload.{key}' is not a string" for key in ("component", "group", "class") if not _is_text_or_absent(payload.get(key))
    ]
    details = payload.get("custom_details")
    if details is not None and not isinstance(details, dict):
        errors.append("'payload.custom_details' is not an object")
    return errors


def _check_list(items: object, name: str, check: Callable[[Mapping[str, object]], str | None]) -> list[str]:
    if items is None:
        return []
    if not isinstance(items, list):
        return [f"'{name}' is not an array"]
    errors: list[str] = []
    for index, item in enumerate(items):
        fault = check(item) if isinstance(item, dict) else "is not an object"
        if fault is not None:
            errors.append(f"'{name}[{index}]' {fault}")
    return errors


def _check_image(image: Mapping[str, object]) -> str | None:
    source = image.get("src")
    if not isinstance(source, str) or not source.startswith("https://"):
        return "has no 'src' served via HTTPS"
    return None if all(_is_text_or_absent(image.get(key)) for key in ("href", "alt")) else "has a value that is no string"


def _check_link(link: Mapping[str, object]) -> str | None:
    target = link.get("href")
    if not isinstance(target, str) or not target:
        return "has no 'href'"
    return None if _is_text_or_absent(link.get("text")) else "has a 'text' that is no string"


def _is_text_or_absent(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_timestamp_or_absent(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, str) or "T" not in value:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
