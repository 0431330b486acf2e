"""What a Slack workspace remembers: channels, their messages with every edit, threads, and the rate at which they may be written.

Before it: `slack` checked a call. After it: a test, or the demo, asks what people see. No I/O; times are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from detector.standin.block import find_links, find_mentions
from detector.transport.bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands; `edits` are its earlier texts. `thread_ts` is its parent's, None for a message of the channel."""

    channel: str
    ts: str
    at: float
    text: str
    blocks: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] | None = None
    thread_ts: str | None = None
    edits: tuple[str, ...] = ()
    deleted: bool = False
    parses_names: bool = False

    @property
    def mentions(self) -> tuple[str, ...]:
        """Whom it calls."""
        return find_mentions(self.text, self.blocks, parses_names=self.parses_names)

    @property
    def links(self) -> tuple[str, ...]:
        """Where it leads."""
        return find_links(self.text, self.blocks)

    @property
    def shown(self) -> str:
        """All of its texts as a reader sees them: entities undone."""
        texts = [str(item["text"]) for item in self._list_texts()] or [self.text]
        return "\n".join(texts).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def _list_texts(self) -> list[Mapping[str, Any]]:
        parts = [
            item for block in self.blocks for item in (block.get("text"), *block.get("fields", ()), *block.get("elements", ()))
        ]
        return [item for item in parts if isinstance(item, Mapping)]


@dataclass(slots=True)
class Channel:
    """One channel. `member` False: the app was not invited, or was removed."""

    id: str
    name: str
    member: bool = True
    archived: bool = False
    bucket: TokenBucket | None = None


@dataclass(slots=True)
class Workspace:
    """Channels by id, and all messages in the order they were posted; deleted ones stay, marked."""

    channels: dict[str, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    def find_channel(self, wanted: object, *, by_name: bool) -> Channel | None:
        """The channel of an id or, where names are taken, of a name with or without `#`."""
        text = str(wanted)
        if (channel := self.channels.get(text)) is not None or not by_name:
            return channel
        return next((each for each in self.channels.values() if each.name == text.removeprefix("#")), None)

    def find(self, channel: str, ts: object) -> Message | None:
        """The message that stands there, None where there never was one or it was deleted."""
        return next((each for each in self.messages if (each.channel, each.ts) == (channel, ts) and not each.deleted), None)

    def post(self, channel: str, arguments: Mapping[str, Any], now: float) -> Message:
        """Add a message. Without a parent that stands, a reply goes to the channel itself (slack-go/slack#1571)."""
        parent = self.find(channel, arguments.get("thread_ts"))
        thread_ts = None if parent is None else parent.thread_ts or parent.ts
        ts = f"{int(now)}.{len(self.messages) + 1:06d}"
        posted = _fill(Message(channel, ts, now, "", thread_ts=thread_ts), arguments)
        self.messages.append(posted)
        return posted

    def edit(self, message: Message, arguments: Mapping[str, Any]) -> Message:
        """Replace text and blocks; the metadata only where it is given."""
        edited = replace(_fill(message, arguments), edits=(*message.edits, message.text))
        self.messages[self.messages.index(message)] = edited
        return edited

    def delete(self, channel: str, ts: str) -> None:
        """As a person does in the client."""
        message = self.find(channel, ts)
        if message is None:
            raise LookupError(f"no message {ts} in {channel}")
        self.messages[self.messages.index(message)] = replace(message, deleted=True)

    def list_messages(self, channel: str) -> tuple[Message, ...]:
        """What stands in the channel itself, oldest first."""
        return tuple(each for each in self.messages if each.channel == channel and each.thread_ts is None and not each.deleted)

    def list_replies(self, channel: str, ts: str) -> tuple[Message, ...]:
        """What stands in a thread, oldest first, without its parent."""
        return tuple(each for each in self.messages if (each.channel, each.thread_ts) == (channel, ts) and not each.deleted)


def _fill(message: Message, arguments: Mapping[str, Any]) -> Message:
    blocks: Sequence[Mapping[str, Any]] = arguments.get("blocks") or ()
    return replace(
        message,
        text=str(arguments.get("text") or ""),
        blocks=tuple(blocks),
        metadata=arguments.get("metadata") or message.metadata,
        parses_names=bool(arguments.get("link_names")) or arguments.get("parse") == "full",
    )
