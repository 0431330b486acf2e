"""The JSON body of a notice: schema `detector.notice`, version 1.

Before it: the outbox row. After it: `channel` signs these very bytes. Pure, and the same bytes for every attempt: a receiver
may compare repetitions.

    {"schema": "detector.notice", "version": 1,
     "id": "...",               the notice; the same for every repetition: what a receiver deduplicates on
     "kind": "trigger",         trigger | rise | update | acknowledge | resolve | relapse | close | reminder | summon
     "at": 1700000000.0,        when the notice was decided, unix seconds
     "incident": {"id": "...", "episode": 1, "key": "...", "severity": "high",
                  ...},         the facts of the incident as the API gives them: title, status, service, services, signal, value,
                                threshold, peak_value, value_at_recovery, opened, resolved, labels, links, message, actor, eta, ...
     "cut": ["labels"]}         only where facts were left out to stay under the limit: their names

Within a version names are only ever added. Times are unix seconds, numbers plain values or null; texts are valid Unicode without
control characters but tab and line feed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.ports.store import Delivery

SCHEMA = "detector.notice"
VERSION = 1
MAX_BODY_BYTES = 256_000  # what PagerDuty and GitHub keep below with theirs or near it; usual servers stop at 1 MB
_MAX_DEPTH = 8
_MAX_INTEGER = 2**53  # beyond it most JSON readers round
_OWN = frozenset({"id", "episode", "key", "severity"})
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def build_body(delivery: Delivery) -> bytes:
    """The body, at most MAX_BODY_BYTES: the biggest facts are left out first, and named."""
    facts = {name: value for name, value in _clean_names(delivery.values, 0).items() if name not in _OWN}
    sizes = {name: len(_encode(value)) for name, value in facts.items()}
    cut: list[str] = []
    body = _compose(delivery, facts, cut)
    while len(body) > MAX_BODY_BYTES and sizes:
        biggest = max(sizes, key=lambda name: sizes[name])
        del sizes[biggest], facts[biggest]
        cut.append(biggest[:100])
        body = _compose(delivery, facts, cut)
    return body


def _compose(delivery: Delivery, facts: Mapping[str, Any], cut: list[str]) -> bytes:
    about = {"id": delivery.incident, "episode": delivery.episode, "key": delivery.key, "severity": delivery.severity.value}
    head = {"schema": SCHEMA, "version": VERSION, "id": delivery.id, "kind": delivery.kind.value, "at": _clean(delivery.created, 0)}
    return _encode(_clean(head, 0) | {"incident": _clean(about, 0) | dict(facts)} | ({"cut": cut} if cut else {}))


def _clean(value: object, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            return _clean_text(value)
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= _MAX_INTEGER else str(value) if value.bit_length() < 1000 else None  # noqa: PLR2004
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth < _MAX_DEPTH:
            return _clean_names(value, depth)
        case list() | tuple() if depth < _MAX_DEPTH:
            return [_clean(each, depth + 1) for each in value]
        case _:
            return _clean_text(str(value))


def _clean_names(values: Mapping[Any, object], depth: int) -> dict[str, Any]:
    return {_clean_text(str(name)): _clean(each, depth + 1) for name, each in values.items()}


def _clean_text(text: str) -> str:
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
