"""Limits of the Events API v2: an event of any size, with any text in it, made into bytes that PagerDuty takes.

Before it: `event`. After it: `channel` sends the bytes. Pure. Whole event 512 KB (read as 512,000 bytes, the smaller meaning),
summary 1,024 characters, dedup_key 255: PagerDuty developer documentation, "Events API v2 Overview". Every cut is told.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_EVENT_BYTES = 512_000
MAX_SUMMARY_CHARACTERS = 1024
MAX_KEY_CHARACTERS = 255
_MAX_FIELD_CHARACTERS = 1024
_MAX_URL_CHARACTERS = 2048
_MAX_LINKS = 20  # with addresses and texts at their limits, still half of an event
_MAX_DEPTH = 8
_MAX_INTEGER = 2**63
_SMALL_BYTES = 1024
_CUT = " [cut]"
_KEY_HEAD_CHARACTERS = 190

# C0 and C1 controls but tab and line feed, halves of surrogate pairs, which UTF-8 cannot hold, and marks that reorder what is read
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Part(StrEnum):
    """What was cut, a label of the counter; closed."""

    SUMMARY = "summary"
    KEY = "dedup_key"
    FIELD = "field"
    LINKS = "links"
    DETAILS = "custom_details"


@dataclass(frozen=True, slots=True)
class Fitted:
    """An event within the limits, ready to send, and what had to be cut for it."""

    body: bytes
    cuts: tuple[Part, ...] = ()


def fit_event(event: Mapping[str, Any]) -> Fitted:
    """Make the event valid and small enough. `custom_details` are cut biggest first; the rest keeps its own limits."""
    cuts: set[Part] = set()
    fitted: dict[str, Any] = {**_clean(event, 0)}
    key = event["dedup_key"]
    fitted["dedup_key"] = fit_key(key)
    if fitted["dedup_key"] != key:
        cuts.add(Part.KEY)
    if "links" in fitted:
        fitted["links"] = _fit_links(fitted["links"], cuts)
    if len(fitted.get("client_url", "")) > _MAX_URL_CHARACTERS:
        del fitted["client_url"]
        cuts.add(Part.LINKS)
    if "payload" in fitted:
        fitted["payload"] = _fit_payload(fitted["payload"], cuts)
    body = _encode(fitted)
    if len(body) > MAX_EVENT_BYTES:
        cuts.add(Part.DETAILS)
        room = MAX_EVENT_BYTES - (len(body) - len(_encode(fitted["payload"]["custom_details"])))
        _shrink(fitted["payload"]["custom_details"], room)
        body = _encode(fitted)
    return Fitted(body, tuple(part for part in Part if part in cuts))


def fit_key(key: str) -> str:
    """The key itself, or a hash of it behind its beginning where it is too long or holds what is no text: always the same one."""
    clean = clean_line(key)
    if clean == key and len(key.encode()) <= MAX_KEY_CHARACTERS:
        return key
    head = clean.encode("ascii", "replace").decode("ascii")[:_KEY_HEAD_CHARACTERS]
    return f"{head}:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def clean_text(text: str) -> str:
    """Valid Unicode without control characters; line ends become line feeds."""
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """As `clean_text`, in one line."""
    return " ".join(clean_text(text).split())


def _clean(value: object, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    """The value as JSON can hold it: texts cleaned, names made texts, numbers finite, no deeper than PagerDuty could show."""
    match value:
        case str():
            return clean_text(value)
        case int() if abs(value) > _MAX_INTEGER:
            return "a very large number"
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping() if depth < _MAX_DEPTH:
            return {clean_text(str(name)): _clean(each, depth + 1) for name, each in value.items()}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [_clean(each, depth + 1) for each in value]
        case _:
            return clean_text(str(value))


def _fit_payload(payload: dict[str, Any], cuts: set[Part]) -> dict[str, Any]:
    fitted = dict(payload)
    for name, value in payload.items():
        if not isinstance(value, str):
            continue
        limit = MAX_SUMMARY_CHARACTERS if name == "summary" else _MAX_FIELD_CHARACTERS
        fitted[name], was_cut = _cut(clean_line(value), limit)
        if was_cut:
            cuts.add(Part.SUMMARY if name == "summary" else Part.FIELD)
    return fitted


def _fit_links(links: list[dict[str, str]], cuts: set[Part]) -> list[dict[str, str]]:
    fitted = [
        {"href": link["href"], "text": _cut(clean_line(link["text"]), _MAX_FIELD_CHARACTERS)[0]}
        for link in links
        if len(link["href"]) <= _MAX_URL_CHARACTERS
    ]
    if len(fitted) < len(links) or len(fitted) > _MAX_LINKS:
        cuts.add(Part.LINKS)
    return fitted[:_MAX_LINKS]


def _shrink(details: dict[str, Any], room_bytes: int) -> None:
    """Cut the biggest entry, and again, until all fit. Each turn takes at least half of it, so few turns are needed."""
    while details and (sizes := {name: len(_encode(value)) for name, value in details.items()}):
        if len(_encode(details)) <= room_bytes:
            return
        biggest = max(sizes, key=lambda name: sizes[name])
        if (halved := _halve(details[biggest])) is None:
            del details[biggest]
        else:
            details[biggest] = halved


def _halve(value: object) -> object | None:
    """About half of the value, None where it is too small to be worth it."""
    if len(_encode(value)) <= _SMALL_BYTES:
        return None
    match value:
        case str():
            return _cut(value, len(value) // 2)[0]
        case list() if value:
            return value[: len(value) // 2] if len(value) > 1 else _halve_all(value)
        case dict() if value:
            sizes = {name: len(_encode(each)) + len(name) for name, each in value.items()}
            biggest = max(sizes, key=lambda name: sizes[name])
            if sizes[biggest] > _SMALL_BYTES and (halved := _halve(value[biggest])) is not None:
                return {**value, biggest: halved}
            kept = sorted(sizes, key=lambda name: sizes[name])[: len(value) // 2]
            return {name: each for name, each in value.items() if name in set(kept)}
        case _:
            return None


def _halve_all(values: list[Any]) -> list[Any]:
    return [halved for each in values if (halved := _halve(each)) is not None]


def _cut(text: str, limit: int) -> tuple[str, bool]:
    if len(text) <= limit:
        return text, False
    return text[: max(0, limit - len(_CUT))] + _CUT, True


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
