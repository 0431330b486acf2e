"""Topics and messages: the facts of an incident as JSON, under a topic that only the incident's id decides.

Before it: the facts of a notice, or those of an open incident at a reconnect. After it: `connection` publishes. Pure.

Whoever reads should keep the newest `at` of each incident: a message whose acknowledgement was lost may arrive late, and twice
under the same `event`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from detector.domain.text import clean_line, clean_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.ports.store import Delivery

ONLINE, OFFLINE = b"online", b"offline"
EMPTY = b""
SNAPSHOT = "snapshot"
MAX_PAYLOAD_BYTES = 256_000
_MAX_PREFIX_BYTES = 1_000
_NO_LEVEL = re.compile(r"[^A-Za-z0-9_.-]")


class Topic:
    """Where things are published below a prefix. Raises ValueError for a prefix that cannot be part of a topic."""

    def __init__(self, prefix: str) -> None:
        clean = prefix.strip("/")
        if not clean or clean_line(clean) != clean or set(clean) & set("+#") or len(clean.encode()) > _MAX_PREFIX_BYTES:
            raise ValueError("DETECTOR_MQTT__TOPIC_PREFIX: must be a topic such as detector or ops/detector, without + and #")
        self.status = f"{clean}/status"
        self._incidents = f"{clean}/incidents"

    def name_incident(self, incident: str) -> str:
        """Topic of one incident. Ids are digests and a few fixed words; anything else in one is made a harmless character."""
        return f"{self._incidents}/{_NO_LEVEL.sub('_', incident)[:128] or '_'}"


def encode_notice(delivery: Delivery) -> bytes:
    """What a notice tells: the incident's facts, the notice's id as `event`, and its moment as `at`."""
    head = {"id": delivery.incident, "event": delivery.id, "kind": delivery.kind.value, "at": delivery.created}
    return _encode({**delivery.values, "severity": delivery.severity.value, "episode": delivery.episode, **head})


def encode_snapshot(incident: str, facts: Mapping[str, Any], now: float) -> bytes:
    """An open incident as it stands, told anew to a broker that may have forgotten it."""
    return _encode({**facts, "id": incident, "event": f"{incident}:{SNAPSHOT}:{int(now * 1000)}", "kind": SNAPSHOT, "at": now})


def _encode(facts: Mapping[str, Any]) -> bytes:
    """Valid JSON of bounded size: the biggest facts leave first, and `cut` names them."""
    fitted: dict[str, Any] = clean_value(facts)
    body = _dump(fitted)
    if len(body) <= MAX_PAYLOAD_BYTES:
        return body
    sizes = {name: len(_dump(value)) for name, value in fitted.items()}
    cut: list[str] = []
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        if len(body) <= MAX_PAYLOAD_BYTES:
            break
        del fitted[name]
        cut.append(name[:100])
        body = _dump({**fitted, "cut": cut})
    return body


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
