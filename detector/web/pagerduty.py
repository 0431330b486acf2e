"""POST /webhooks/pagerduty: PagerDuty's v3 webhooks, verified over the raw body before anything is parsed.

It needs neither the read nor the write token: the signature is its own proof. PagerDuty waits 5 s; a 4xx drops the event for ever
and three drops disable the subscription, so a fault of ours is 503 and only what can never be right is a 4xx: 403 (signature),
413, 408. An event that is signed and says nothing to us is taken (202). Source: PagerDuty developer documentation, "Webhooks v3
Overview" and "Verifying Signatures".

Ids of events are remembered in memory only: what is heard twice after a restart changes nothing, because an acknowledgement or a
resolve is judged by what the incident already knows, and a note carries the moment it was written, so that it is the same line.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from detector.ports.error import OutsideError
from detector.ports.pagerduty import PagerDutyWord, Standing
from detector.transport.signature import verify_body
from detector.web.exchange import Problem, find_header, read_body, send_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

    from detector.ports.pagerduty import PagerDutyEar

PATH = "/webhooks/pagerduty"
MAX_BODY_BYTES = 256 * 1024
BODY_SECONDS = 2.5
HEAR_SECONDS = 2.0  # with the body's, below the 5 s after which PagerDuty gives up
REMEMBERED = 4096
MAX_NAME = 100

_STANDINGS = {"incident.acknowledged": Standing.ACKNOWLEDGED, "incident.resolved": Standing.RESOLVED}
_WORDS = {
    "incident.delegated": "delegated to another escalation policy in PagerDuty",
    "incident.escalated": "escalated in PagerDuty to {assignees}",
    "incident.priority_updated": "priority in PagerDuty: {priority}",
    "incident.reassigned": "reassigned in PagerDuty to {assignees}",
    "incident.reopened": "reopened in PagerDuty",
    "incident.responder.added": "asked to join in PagerDuty: {user}",
    "incident.responder.replied": "{user} answered in PagerDuty: {state}",
    "incident.status_update_published": "status update in PagerDuty: {message}",
    "incident.unacknowledged": "the acknowledgement ran out in PagerDuty; it calls again",
}


class PagerDutyHook:
    """The endpoint. `secrets`: those of the webhook subscriptions; without any, everything is refused."""

    def __init__(self, ear: PagerDutyEar, secrets: Sequence[str]) -> None:
        self._ear = ear
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._heard: OrderedDict[str, None] = OrderedDict()

    async def answer(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request; raises Problem."""
        if scope["method"] != "POST":
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{PATH} answers POST only", allow="POST")
        # read before any refusal: a sender that is cut while it writes may see a reset instead of the reason
        body = await read_body(scope, receive, max_bytes=MAX_BODY_BYTES, seconds=BODY_SECONDS)
        if not self._secrets:
            raise Problem(
                HTTPStatus.NOT_FOUND, "webhooks are off; set DETECTOR_PAGERDUTY__WEBHOOK_SECRET to the subscription's secret"
            )
        if not verify_body(self._secrets, body, find_header(scope, b"x-pagerduty-signature") or ""):
            raise Problem(HTTPStatus.FORBIDDEN, "no signature in X-PagerDuty-Signature matches the body and the secret")
        event = _read_event(body)
        names = [name for name in (find_header(scope, b"x-webhook-id"), _text(event, "id")) if name]
        if any(name in self._heard for name in names):
            await send_json(send, HTTPStatus.OK, {"result": "known already"})
            return
        word = read_word(event)
        if word is not None:
            await self._tell(word)
        self._remember(names)
        await send_json(send, HTTPStatus.ACCEPTED, {"result": "ignored" if word is None else "taken"})

    async def _tell(self, word: PagerDutyWord) -> None:
        try:
            async with asyncio.timeout(HEAR_SECONDS):
                await self._ear.hear(word)
        except TimeoutError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"not done within {HEAR_SECONDS:g} s; send it again", retry_after="5"
            ) from None
        except OutsideError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"cannot be done now: {error}; send it again", retry_after="5") from None

    def _remember(self, names: Sequence[str]) -> None:
        """Only once it was done: what failed must be heard when it is sent again."""
        for name in names:
            self._heard[name] = None
        while len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)


def read_word(event: Mapping[str, Any]) -> PagerDutyWord | None:
    """What the event says of an incident; None for what does not concern us. A merged incident lives on in another."""
    kind, data = _text(event, "event_type"), event.get("data")
    if not isinstance(data, dict) or _text(data, "resolve_reason", "type") == "merge_resolve_reason":
        return None
    text = _describe(kind, data)
    standing = _STANDINGS.get(kind)
    whole = _text(data, "type") == "incident"
    incident = _text(data, "id") if whole else _text(data, "incident", "id")
    if not incident or (standing is None and not text):
        return None
    return PagerDutyWord(
        incident=incident,
        key=_text(data, "incident_key") if whole else _text(data, "incident", "incident_key"),
        actor=name_actor(_text(event, "agent", "summary")),
        standing=standing,
        text=text,
        at=_read_time(_text(event, "occurred_at")),
    )


def name_actor(name: str) -> str:
    """Who, as the timeline says it."""
    return f"{' '.join(name.split())[:MAX_NAME]} (PagerDuty)" if name.strip() else "PagerDuty"


def _describe(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "incident.annotated":
        return _text(data, "content") + (" ..." if data.get("trimmed") is True else "")
    template = _WORDS.get(kind)
    if template is None:
        return ""
    assignees = data.get("assignees")
    names = [_text(one, "summary") for one in assignees if isinstance(one, dict)] if isinstance(assignees, list) else []
    return template.format(
        assignees=", ".join(filter(None, names)) or "nobody",
        priority=_text(data, "priority", "summary") or "none",
        user=_text(data, "user", "summary") or _text(data, "escalation_policy", "summary") or "somebody",
        state=_text(data, "state") or "no answer",
        message=_text(data, "message"),
    )


def _read_event(body: bytes) -> Mapping[str, Any]:
    """The event, empty where the signed body is not what is documented: nothing that another try would mend."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    event = found.get("event") if isinstance(found, dict) else None
    return event if isinstance(event, dict) else {}


def _text(value: object, *path: str) -> str:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _read_time(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
