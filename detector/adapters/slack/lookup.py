"""Finding messages of ours that stand in Slack already: by the metadata they were posted with.

Asked by `channel` before it repeats a post whose answer was lost, and when a message's handle is lost. Needs the scopes
channels:history (groups:history for private channels) and, where a channel is set by name, channels:read (groups:read).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector.adapters.slack.client import SlackClient, ask
from detector.adapters.slack.memory import Found, Handle
from detector.adapters.slack.message import read_tag
from detector.adapters.slack.mrkdwn import is_channel_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from slack_sdk.web.async_slack_response import AsyncSlackResponse

    from detector.ports.store import Delivery

_PAGE = 200
_PAGES = 10
_SKEW_SECONDS = 300.0  # between Slack's clock, which makes the timestamps, and ours


class Lookup:
    """Reads only. All methods raise Refused and OutsideError."""

    def __init__(self, client: SlackClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    def learn(self, name: str, channel: str) -> None:
        """A post to `name` went to the channel with this id."""
        self._ids[name] = channel

    async def find_message(self, delivery: Delivery, channel: str, now: float) -> Found | None:
        """The newest message of the notice's incident in a channel, given by id or name."""
        if (place := await self._find_id(channel, now)) is None:
            return None
        opened = delivery.values.get("opened")
        since = min(delivery.created, opened) if isinstance(opened, (int, float)) else delivery.created

        def call(cursor: str) -> Awaitable[AsyncSlackResponse]:
            return self._client.conversations_history(
                channel=place, oldest=_stamp(since), limit=_PAGE, include_all_metadata=True, cursor=cursor or None
            )

        async for message in self._read("conversations.history", "messages", call, now):
            tag = read_tag(message)
            if tag.get("part") == "message" and tag.get("incident") == delivery.key:
                return Found(Handle(place, str(message.get("ts"))), str(tag.get("notice")))
        return None

    async def has_reply(self, delivery: Delivery, handle: Handle, now: float) -> bool:
        """Whether the thread holds the reply of this very notice."""

        def call(cursor: str) -> Awaitable[AsyncSlackResponse]:
            return self._client.conversations_replies(
                channel=handle.channel,
                ts=handle.ts,
                oldest=_stamp(delivery.created),
                limit=_PAGE,
                include_all_metadata=True,
                cursor=cursor or None,
            )

        async for message in self._read("conversations.replies", "messages", call, now):
            tag = read_tag(message)
            if tag.get("part") == "reply" and tag.get("notice") == delivery.id:
                return True
        return False

    async def _find_id(self, channel: str, now: float) -> str | None:
        if is_channel_id(channel):
            return channel
        if (known := self._ids.get(channel)) is not None:
            return known

        def call(cursor: str) -> Awaitable[AsyncSlackResponse]:
            types = "public_channel,private_channel"
            return self._client.conversations_list(types=types, limit=_PAGE, exclude_archived=True, cursor=cursor or None)

        async for conversation in self._read("conversations.list", "channels", call, now):
            if conversation.get("name") == channel.removeprefix("#"):
                self.learn(channel, str(conversation.get("id")))
                return self._ids[channel]
        return None

    async def _read(
        self, method: str, name: str, call: Callable[[str], Awaitable[AsyncSlackResponse]], now: float
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The items of all pages, of ten at most."""
        cursor = ""
        for _ in range(_PAGES):
            answer = await ask(method, call(cursor), now)
            items = answer.get(name)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict):
                    yield item
            rest = answer.get("response_metadata")
            cursor = str(rest.get("next_cursor") or "") if isinstance(rest, dict) else ""
            if not cursor:
                return


def _stamp(at: float) -> str:
    return f"{max(0.0, at - _SKEW_SECONDS):.6f}"
