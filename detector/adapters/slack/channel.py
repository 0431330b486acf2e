"""Slack as a channel: one delivery in, the incident's message as it stands now and a reply in its thread out.

Before it: the dispatcher claimed the delivery. After it: Slack. The message is edited first (an edit may be repeated without harm),
then the reply is posted. A post has no key that would make its repetition harmless: before one is repeated whose answer was lost,
it is looked up by its metadata. A message that somebody deleted is posted anew, and the incident goes on under that one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from detector.adapters.slack.client import SlackClient, ask
from detector.adapters.slack.courier import POST, Courier, Sending
from detector.adapters.slack.fault import GONE, UNEDITABLE, UNREACHABLE, Refused, advise
from detector.adapters.slack.lookup import Lookup
from detector.adapters.slack.memory import Found, Handle, Journal, Pace, Sleep, Threads
from detector.adapters.slack.message import build_message, build_reply
from detector.adapters.slack.wording import TEMPLATES, word_notice
from detector.domain.incident import NoticeKind
from detector.ports.channel import Receipt
from detector.ports.error import SettingsError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.ports.secret import Secret
    from detector.ports.store import Delivery
    from detector.ports.template import Renderer
    from detector.transport.exchange import Exchange

SLACK = "slack"
API_URL = "https://slack.com/api"
_DEADLINE_SECONDS = 10.0


class SlackThreads:
    """The channel "slack".

    `channel`: id or name, used where the catalogue names none for the service or names one that cannot be reached. `templates`
    override those of `wording.TEMPLATES` by name.
    Raises ValueError for a template name that does not exist. Scopes: chat:write, and those of `lookup`.
    """

    def __init__(
        self,
        exchange: Exchange,
        token: Secret,
        channel: str,
        renderer: Renderer,
        *,
        api_url: str = API_URL,
        templates: Mapping[str, str] | None = None,
        deadline_seconds: float = _DEADLINE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if unknown := set(templates or {}) - set(TEMPLATES):
            raise ValueError(f"Slack templates: no such name: {', '.join(sorted(unknown))}; there are {', '.join(TEMPLATES)}")
        self._exchange = exchange
        self._default_channel = channel.strip()
        self._renderer = renderer
        self._templates = {**TEMPLATES, **(templates or {})}
        self._client = SlackClient(exchange, token.get_secret_value(), api_url, deadline_seconds)
        self._lookup = Lookup(self._client)
        self._threads = Threads()
        self._journal = Journal()
        self._courier = Courier(self._client, Pace(monotonic, sleep), self._journal)

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return SLACK

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """Bring message and thread to what the notice says; raises as the port says. The credential is the message's handle."""
        wording = word_notice(delivery, self._renderer, self._templates)
        doubtful = self._journal.is_doubtful(delivery)
        if not doubtful:
            self._journal.settle(delivery)
        sending = Sending(delivery, now, build_message(wording), build_reply(wording), doubtful)
        try:
            handle = await self._deliver(sending)
        except Refused as refused:
            raise advise(refused) from None
        return Receipt(credential=str(handle), note="; ".join(sending.notes))

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._exchange.close()

    async def check(self, now: float) -> str:
        """Ask Slack who we are, without posting: `user in team`. Raises as `send`."""
        try:
            answer = await ask("auth.test", self._client.auth_test(), now)
        except Refused as refused:
            raise advise(refused) from None
        return f"{answer.get('user')} in {answer.get('team')}"

    async def _deliver(self, sending: Sending) -> Handle:
        """Message first, then the reply; the notice that opened the incident is the message and needs no reply."""
        delivery = sending.delivery
        found = await self._edit_known(sending)
        if found is None:
            found = await self._post_message(sending)
        if delivery.kind is NoticeKind.TRIGGER and found.notice == delivery.id:
            return found.handle
        if sending.doubtful and await self._has_reply(sending, found.handle):
            return found.handle
        try:
            await self._post_reply(sending, found.handle)
        except Refused as refused:
            if refused.code not in GONE:
                raise
            found = await self._post_message(sending)
            await self._post_reply(sending, found.handle)
        return found.handle

    async def _edit_known(self, sending: Sending) -> Found | None:
        """Edit the incident's message; None where it has none that stands. What we know of may be gone, what Slack finds is not."""
        delivery = sending.delivery
        known = self._threads.find(delivery)
        if known is not None and await self._edit(sending, known):
            return known
        if known is None and delivery.kind is NoticeKind.TRIGGER and not sending.doubtful:
            return None
        found = await self._find_message(sending)
        if found is None or (known is not None and found.handle == known.handle):
            return None
        self._threads.keep(delivery, found)
        return found if await self._edit(sending, found) else None

    async def _edit(self, sending: Sending, found: Found) -> bool:
        """Edit a message, unless it is the one that this very opening made; False where it is gone."""
        if sending.delivery.kind is NoticeKind.TRIGGER and found.notice == sending.delivery.id:
            return True
        try:
            await self._courier.edit(sending, found.handle)
        except Refused as refused:
            if refused.code in GONE | UNREACHABLE:
                return False
            if refused.code not in UNEDITABLE:
                raise
            sending.note(f"Slack did not let the message be edited ({refused.code}): the news stands in its thread only")
        return True

    async def _post_message(self, sending: Sending) -> Found:
        """Post the incident's message, in the service's channel or where that cannot be reached in the default one."""
        targets = self._list_targets(sending.delivery)
        for number, target in enumerate(targets, start=1):
            try:
                answer = await self._courier.post(sending, target)
            except Refused as refused:
                if refused.code not in UNREACHABLE or number == len(targets):
                    raise
                sending.note(f"Slack channel {target!r}: {refused.code}: sent to {targets[number]!r} instead")
                continue
            channel, ts = answer.get("channel"), answer.get("ts")
            if not (isinstance(channel, str) and isinstance(ts, str) and channel and ts):
                raise TemporaryError(f"Slack: {POST}: accepted without saying where the message stands")
            self._lookup.learn(target, channel)
            found = Found(Handle(channel, ts), sending.delivery.id)
            self._threads.keep(sending.delivery, found)
            return found
        raise AssertionError("unreachable: the last target returned or raised")

    async def _post_reply(self, sending: Sending, handle: Handle) -> None:
        answer = await self._courier.post(sending, handle.channel, thread=handle)
        posted = answer.get("message")
        # Slack posts a reply to a message that was just deleted into the channel itself (slack-go/slack#1571).
        if isinstance(posted, dict) and posted.get("thread_ts") != handle.ts:
            sending.note("the message was deleted meanwhile: the reply stands in the channel itself")

    async def _find_message(self, sending: Sending) -> Found | None:
        """The incident's message where the outbox does not know it; None, with a note, where we may not look."""
        for target in self._list_targets(sending.delivery):
            try:
                found = await self._lookup.find_message(sending.delivery, target, sending.now)
            except Refused as refused:
                self._note_blindness(sending, refused)
                continue
            if found is not None:
                return found
        return None

    async def _has_reply(self, sending: Sending, handle: Handle) -> bool:
        try:
            return await self._lookup.has_reply(sending.delivery, handle, sending.now)
        except Refused as refused:
            self._note_blindness(sending, refused)
            return False

    def _note_blindness(self, sending: Sending, refused: Refused) -> None:
        """Twice is better than never: without the right to look, a post is repeated."""
        if refused.code not in UNREACHABLE | GONE:
            what = f" (scope {refused.needed})" if refused.needed else ""
            sending.note(f"not looked up before posting: {refused}{what}: what an earlier attempt left may stand there twice")

    def _list_targets(self, delivery: Delivery) -> tuple[str, ...]:
        wanted = delivery.values.get("responsible_slack")
        named = wanted.strip() if isinstance(wanted, str) else ""
        targets = tuple(dict.fromkeys(filter(None, (named, self._default_channel))))
        if not targets:
            raise SettingsError("Slack: no channel: set DETECTOR_SLACK__CHANNEL", attempted=False)
        return targets
