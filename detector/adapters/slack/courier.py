"""The calls that write into Slack: paced, in the least form where the whole is refused, and remembered while unanswered.

Before it: `channel` decided what stands where. After it: `client`. Raises Refused for Slack's own "no", OutsideError for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detector.adapters.slack.client import SlackClient, ask
from detector.adapters.slack.fault import TOO_MUCH, RateLimited, Refused
from detector.adapters.slack.memory import EDIT, Handle, Journal, Pace
from detector.adapters.slack.message import Message, tag_message
from detector.ports.error import PermanentError, TemporaryError
from detector.ports.store import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from slack_sdk.web.async_slack_response import AsyncSlackResponse


POST = "chat.postMessage"
_TEXT_ONLY: Mapping[str, Any] = {"parse": "none", "link_names": False}
_QUIET: Mapping[str, Any] = {"unfurl_links": False, "unfurl_media": False}


@dataclass(slots=True)
class Sending:
    """One delivery under way. `notes` become the receipt's."""

    delivery: Delivery
    now: float
    message: Message
    reply: Message
    doubtful: bool
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say once what went otherwise than wanted."""
        if text not in self.notes:
            self.notes.append(text)


class Courier:
    """Edits and posts. A post is in doubt from before it leaves until Slack refuses it or it surely did not leave."""

    def __init__(self, client: SlackClient, pace: Pace, journal: Journal) -> None:
        self._client = client
        self._pace = pace
        self._journal = journal

    async def edit(self, sending: Sending, handle: Handle) -> None:
        """Make the message say what stands now; harmless to repeat."""
        tag = tag_message(sending.delivery, "message")

        async def edit(message: Message) -> Mapping[str, Any]:
            return await self._ask(
                EDIT,
                handle.channel,
                lambda: self._client.chat_update(
                    channel=handle.channel,
                    ts=handle.ts,
                    text=message.text,
                    blocks=list(message.blocks),
                    metadata=tag,
                    **_TEXT_ONLY,
                ),
                sending.now,
            )

        await _fit(sending, sending.message, edit)

    async def post(self, sending: Sending, channel: str, *, thread: Handle | None = None) -> Mapping[str, Any]:
        """Post the message, or with a `thread` the reply; the answer's fields."""
        tag = tag_message(sending.delivery, "message" if thread is None else "reply")

        async def post(message: Message) -> Mapping[str, Any]:
            async def call() -> AsyncSlackResponse:
                self._journal.doubt(sending.delivery)
                return await self._client.chat_postMessage(
                    channel=channel,
                    text=message.text,
                    blocks=list(message.blocks) or None,
                    thread_ts=None if thread is None else thread.ts,
                    metadata=tag,
                    **_TEXT_ONLY,
                    **_QUIET,
                )

            try:
                answer = await self._ask(POST, channel, call, sending.now)
            except (Refused, RateLimited):
                self._journal.settle(sending.delivery)
                raise
            except TemporaryError as error:
                if not error.attempted:
                    self._journal.settle(sending.delivery)
                raise
            self._pace.join(channel, str(answer.get("channel") or channel))
            return answer

        return await _fit(sending, sending.message if thread is None else sending.reply, post)

    async def _ask(
        self, method: str, channel: str, call: Callable[[], Awaitable[AsyncSlackResponse]], now: float
    ) -> Mapping[str, Any]:
        """One paced call."""
        await self._pace.wait(method, channel)
        try:
            return await ask(method, call(), now)
        except RateLimited as limited:
            if limited.retry_after_seconds:
                self._pace.hold(method, limited.retry_after_seconds)
            raise


async def _fit(sending: Sending, message: Message, send: Callable[[Message], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
    """Send a message, and where Slack does not take it its least form, once."""
    try:
        return await send(message)
    except Refused as refused:
        if refused.code not in TOO_MUCH:
            raise
        code = refused.code
    try:
        answer = await send(message.least)
    except Refused as refused:
        if refused.code not in TOO_MUCH:
            raise
        raise PermanentError(f"Slack refused the message ({code}), and its least form too ({refused.code})") from None
    sending.note(f"Slack refused the whole message ({code}) and took its least form")
    return answer
