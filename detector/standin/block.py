"""The rules of a Slack message's content: texts, blocks and metadata within the documented limits, and what in it is live markup.

Before it: `slack` read a call's arguments. After it: `conversation` keeps a message that breaks none. Pure. Source: "Blocks" and
"Formatting text for app surfaces" in Slack's developer documentation; the sum of all blocks is no documented limit, but a real one
(slackapi/bolt-js#2509).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_TEXT = 40_000
MAX_BLOCKS = 50
MAX_BLOCKS_SUM = 13_000
MAX_SECTION = 3_000
MAX_FIELDS = 10
MAX_FIELD = 2_000
MAX_HEADER = 150
MAX_ELEMENTS = 10
MAX_METADATA_BYTES = 16_000
_MENTION = re.compile(r"<(?:!(?:channel|here|everyone|subteam\^)[^>]*|@[UW][A-Z0-9]+[^>]*)>")
_AT_NAME = re.compile(r"(?<![\w@])@(?:channel|here|everyone)\b")
_LINK = re.compile(r"<([a-z][a-z0-9+.-]*:[^|>]*)(?:\|([^>]*))?>")


def find_fault(arguments: Mapping[str, Any]) -> str | None:
    """The error code that Slack answers for this content, None where it is good."""
    text, blocks = arguments.get("text"), arguments.get("blocks")
    if blocks is not None and not isinstance(blocks, list):
        return "invalid_blocks_format"
    if not blocks and not (isinstance(text, str) and text.strip()):
        return "no_text"
    if isinstance(text, str) and len(text) > MAX_TEXT:
        return "msg_too_long"
    if len(blocks or ()) > MAX_BLOCKS or not all(_is_block(block) for block in blocks or ()):
        return "invalid_blocks"
    if sum(len(json.dumps(block)) for block in blocks or ()) > MAX_BLOCKS_SUM * 4 or _count(blocks or ()) > MAX_BLOCKS_SUM:
        return "msg_blocks_too_long"
    return _find_metadata_fault(arguments.get("metadata"))


def find_mentions(text: str, blocks: Sequence[Mapping[str, Any]], *, parses_names: bool = False) -> tuple[str, ...]:
    """What in a message would call somebody: mentions in its markup, and with `parses_names` plain @channel and the like too.

    `parses_names` is what `link_names` or `parse: full` switch on; a text object that is not `verbatim` has it on as well.
    """
    found: list[str] = []
    for shown, verbatim in _list_texts(text, blocks):
        found += _MENTION.findall(shown)
        if parses_names or not verbatim:
            found += _AT_NAME.findall(shown)
    return tuple(found)


def find_links(text: str, blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The addresses that somebody could click, as written."""
    return tuple(url for shown, _ in _list_texts(text, blocks) for url, _ in _LINK.findall(shown))


def _list_texts(text: str, blocks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Texts with markup, and whether Slack leaves plain names in them alone. The fallback text notifies, so it counts."""
    yield text, True
    for block in blocks:
        for item in (block.get("text"), *block.get("fields", ()), *block.get("elements", ())):
            if isinstance(item, Mapping) and item.get("type") == "mrkdwn":
                yield str(item.get("text")), item.get("verbatim") is True


def _is_block(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    match block.get("type"):
        case "divider":
            return True
        case "header":
            return _is_text(block.get("text"), MAX_HEADER, ("plain_text",))
        case "section":
            fields = block.get("fields")
            has_text = _is_text(block.get("text"), MAX_SECTION) if "text" in block else bool(fields)
            good_fields = fields is None or (0 < len(fields) <= MAX_FIELDS and all(_is_text(item, MAX_FIELD) for item in fields))
            return has_text and good_fields
        case "context":
            elements = block.get("elements")
            return (
                isinstance(elements, list) and 0 < len(elements) <= MAX_ELEMENTS and all(_is_text(e, MAX_SECTION) for e in elements)
            )
        case _:
            return False


def _is_text(item: object, limit: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> bool:
    if not isinstance(item, dict) or item.get("type") not in kinds:
        return False
    text, allowed = item.get("text"), {"type", "text", "emoji" if item["type"] == "plain_text" else "verbatim"}
    return isinstance(text, str) and 0 < len(text) <= limit and set(item) <= allowed


def _count(blocks: Sequence[Mapping[str, Any]]) -> int:
    texts = [item for block in blocks for item in (block.get("text"), *block.get("fields", ()), *block.get("elements", ()))]
    return sum(len(item["text"]) for item in texts if isinstance(item, Mapping))


def _find_metadata_fault(metadata: object) -> str | None:
    if metadata is None or metadata == {}:
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_payload"), dict):
        return "invalid_metadata_format"
    if not isinstance(metadata.get("event_type"), str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", metadata["event_type"]):
        return "invalid_metadata_schema"
    return "metadata_too_large" if len(json.dumps(metadata)) > MAX_METADATA_BYTES else None
