"""Atlassian Statuspage as a channel: creates the public incident, posts updates to it, resolves it.

Before it: the dispatcher claimed a delivery that should be public. After it: Statuspage. The API knows no idempotency key, so each
incident carries in its metadata our key and the last notice posted: before anything of unknown result is repeated, the page is
asked what became of it. The receipt's credential is the vendor's incident id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never

from detector.adapters.statuspage.account import Account, GoneError, RefusedError, Secret
from detector.adapters.statuspage.wording import NAME as NAME_TEMPLATE
from detector.adapters.statuspage.wording import Templates, word
from detector.domain.disclosure import MONITORING, RESOLVED, Disclosure, disclose
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.channel import Receipt
from detector.ports.error import PermanentError, SettingsError, TemporaryError

if TYPE_CHECKING:
    from detector.ports.store import Delivery
    from detector.ports.template import Renderer
    from detector.transport.exchange import Exchange

NAME = "statuspage"
API_URL = "https://api.statuspage.io/v1"
METADATA = "detector"  # all top-level values of an incident's metadata must be objects
_DEADLINE_SECONDS = 10.0
_QUIET = frozenset({NoticeKind.ACKNOWLEDGE, NoticeKind.REMINDER})
_OVER = frozenset({MONITORING, RESOLVED})
_OPENING = frozenset({NoticeKind.TRIGGER, NoticeKind.RELAPSE})
_LEAST = ("name", "status", "body", "metadata")
_MAX_REMEMBERED = 1_000

Incident = dict[str, Any]


class AtlassianStatuspage:
    """The channel "statuspage". `templates` override texts by kind, and "name" the incident's title.

    A delivery that asks for nothing public (a summon), or to end what never stood on the page, is accepted without a call or
    after a look; its note says so.
    """

    def __init__(
        self,
        exchange: Exchange,
        page_id: str,
        token: Secret,
        renderer: Renderer,
        *,
        api_url: str = API_URL,
        templates: Templates | None = None,
        deadline_seconds: float = _DEADLINE_SECONDS,
    ) -> None:
        self._account = Account(exchange, page_id, token, api_url=api_url, deadline_seconds=deadline_seconds)
        self._renderer = renderer
        self._templates = dict(templates or {})
        self._ending = asyncio.Lock()  # two ends at once would each see the other, and neither call their component well
        self._unknown: dict[str, None] = {}  # notices that may have been posted although nobody said so, oldest first

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return NAME

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """Make the page say it. Raises as the port says."""
        if delivery.kind in {NoticeKind.SUMMON, NoticeKind.ESCALATE}:
            return Receipt(credential=delivery.credential or "", note="a summon is nothing for the public")
        try:
            told = disclose(delivery.kind, delivery.severity, delivery.values)
            async with self._ending if told.state in _OVER else nullcontext():
                receipt = await self._say(delivery, told, now)
        except TemporaryError as error:
            if error.attempted:
                self._remember(delivery.id)
            raise
        except RefusedError as refusal:
            raise PermanentError(f"Statuspage refused the incident, and its least form too: {refusal}") from None
        except GoneError:
            raise SettingsError(
                "Statuspage answered 404: check DETECTOR_STATUSPAGE__PAGE_ID and what the token may do", attempted=False
            ) from None
        self._unknown.pop(delivery.id, None)
        return receipt

    async def rehearse(self, delivery: Delivery, *, now: float) -> None:
        """Word it and ask the page for what stands on it; nothing is posted."""
        await self._describe(delivery, disclose(delivery.kind, delivery.severity, delivery.values), now)
        try:
            await self._account.list_unresolved(now)
        except GoneError:
            raise SettingsError("Statuspage answered 404: check DETECTOR_STATUSPAGE__PAGE_ID", attempted=False) from None
        except RefusedError as refusal:
            raise PermanentError(f"Statuspage refused to list incidents: {refusal}") from None

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._account.close()

    async def _say(self, delivery: Delivery, told: Disclosure, now: float) -> Receipt:
        may_be_there = self._may_be_there(delivery)
        identity = delivery.credential or ""
        if not identity and (may_be_there or delivery.kind is not NoticeKind.TRIGGER):
            identity = await self._look_up(delivery.key, now)
            if not identity and told.state == RESOLVED:
                return Receipt(note="never stood on the page")
        if not identity:
            return await self._open(delivery, told, now)
        if (may_be_there or delivery.kind is NoticeKind.CLOSE) and await self._is_said(delivery, identity, now):
            return Receipt(credential=identity, note="stood on the page already")
        return await self._update(delivery, told, identity, now)

    def _may_be_there(self, delivery: Delivery) -> bool:
        """Whether an attempt of unknown result came before, in this process or in one that died."""
        return delivery.attempts > 0 or delivery.id in self._unknown

    async def _look_up(self, key: str, now: float) -> str:
        """Id of the incident that bears our key among those that are not resolved; "" where there is none."""
        for incident in await self._account.list_unresolved(now):
            if _read_mark(incident).get("key") == key:
                return str(incident.get("id", ""))
        return ""

    async def _is_said(self, delivery: Delivery, identity: str, now: float) -> bool:
        """Whether this very notice was posted already, or the end that it would tell."""
        try:
            incident = await self._account.fetch(identity, now)
        except GoneError:
            return False
        is_closed = delivery.kind is NoticeKind.CLOSE and incident.get("status") == RESOLVED
        return is_closed or _read_mark(incident).get("notice") == delivery.id

    async def _open(self, delivery: Delivery, told: Disclosure, now: float) -> Receipt:
        incident = await self._describe(delivery, told, now)
        try:
            return Receipt(credential=await self._account.create(incident, now))
        except RefusedError as refusal:
            identity = await self._account.create(_reduce(incident), now)
            return Receipt(credential=identity, note=f"Statuspage refused the whole incident and took its least form: {refusal}")

    async def _update(self, delivery: Delivery, told: Disclosure, identity: str, now: float) -> Receipt:
        incident = await self._describe(delivery, told, now)
        try:
            try:
                await self._account.change(identity, incident, now)
            except RefusedError as refusal:
                await self._account.change(identity, _reduce(incident), now)
                return Receipt(credential=identity, note=f"Statuspage refused the whole update and took its least form: {refusal}")
        except RefusedError:
            if delivery.kind not in _OPENING:
                raise
            return await self._reopen(delivery, told, now, "could not be opened again")
        except GoneError:
            await self._account.list_unresolved(now)  # raises where it is the page that is not there
            if delivery.kind in _OPENING:
                return await self._reopen(delivery, told, now, "is gone")
            return Receipt(credential=identity, note="the incident was removed from the page by somebody; it is not posted again")
        return Receipt(credential=identity)

    async def _reopen(self, delivery: Delivery, told: Disclosure, now: float, why: str) -> Receipt:
        if self._may_be_there(delivery) and (identity := await self._look_up(delivery.key, now)):
            return Receipt(credential=identity, note="stood on the page already")
        receipt = await self._open(delivery, told, now)
        return replace(receipt, note="; ".join(filter(None, (f"the former incident {why}: a new one was made", receipt.note))))

    async def _describe(self, delivery: Delivery, told: Disclosure, now: float) -> Incident:
        """The whole incident as the API takes it. Where the page has components, services that are none of them stay unnamed."""
        components = await self._account.find_components(told.services, now)
        if self._account.has_components:
            told = replace(told, services=tuple(name for name in told.services if name in components))
        is_over = told.state in _OVER
        status = "operational" if is_over else choose_component_status(delivery.severity)
        incident: Incident = {
            "status": told.state,
            "body": word(told, told.kind, self._templates, self._renderer),
            "deliver_notifications": delivery.kind not in _QUIET,
            "metadata": {METADATA: {"key": delivery.key, "notice": delivery.id}},
        }
        if not is_over:
            incident["name"] = word(told, NAME_TEMPLATE, self._templates, self._renderer)
            incident["impact_override"] = choose_impact(delivery.severity)
        elif not delivery.credential:
            incident["name"] = word(told, NAME_TEMPLATE, self._templates, self._renderer)
        if components:
            incident["component_ids"] = list(components.values())
            held = await self._list_held(delivery.key, now) if is_over else frozenset[str]()
            incident["components"] = {each: status for each in components.values() if each not in held}
        return incident

    async def _list_held(self, key: str, now: float) -> frozenset[str]:
        """Ids of the components that another incident on the page still affects, ours or a person's: they are not well yet."""
        others = (each for each in await self._account.list_unresolved(now) if _read_mark(each).get("key") != key)
        return frozenset(identity for each in others for identity in _list_component_ids(each))

    def _remember(self, notice: str) -> None:
        self._unknown[notice] = None
        while len(self._unknown) > _MAX_REMEMBERED:
            del self._unknown[next(iter(self._unknown))]


def choose_impact(severity: Severity) -> str:
    """Statuspage's word for a severity."""
    match severity:
        case Severity.CRITICAL:
            return "critical"
        case Severity.HIGH:
            return "major"
        case Severity.MEDIUM:
            return "minor"
        case Severity.LOW:
            return "none"
        case _:
            assert_never(severity)


def choose_component_status(severity: Severity) -> str:
    """How a component looks while an incident of this severity is open."""
    match severity:
        case Severity.CRITICAL:
            return "major_outage"
        case Severity.HIGH:
            return "partial_outage"
        case Severity.MEDIUM | Severity.LOW:
            return "degraded_performance"
        case _:
            assert_never(severity)


def _reduce(incident: Incident) -> Incident:
    """The least that has the same effect; the metadata stay, since without them nothing could be found again."""
    return {name: incident[name] for name in _LEAST if name in incident}


def _list_component_ids(incident: Mapping[str, Any]) -> list[str]:
    listed = incident.get("components")
    named = [each.get("id") for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return [each for each in named if isinstance(each, str)]


def _read_mark(incident: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = incident.get("metadata")
    mark = metadata.get(METADATA) if isinstance(metadata, Mapping) else None
    return mark if isinstance(mark, Mapping) else {}
