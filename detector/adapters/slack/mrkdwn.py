"""Slack's markup, so that no value from outside can use it: escaping, cutting, links and mentions. Pure.

Before it: facts with any text in them. After it: `wording` and `message`. Only `&`, `<` and `>` are control characters ("Formatting
text for app surfaces", Slack's developer documentation): a text without a bare `<` can neither mention nor link.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}$")
_USER_ID = re.compile(r"[UW][A-Z0-9]{7,20}")
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{7,20}")
_ELLIPSIS = "\u2026"
_MAX_DEPTH = 8
_MAX_VALUE_CHARACTERS = 4_000
_MAX_URL_CHARACTERS = 2_000


def escape_text(text: str) -> str:
    """Valid Unicode without control characters and without live markup."""
    clean = _UNFIT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_line(text: str) -> str:
    """As `escape_text`, in one line."""
    return " ".join(escape_text(text).split())


def escape_values(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - facts of any shape
    """The same shape with every text and name in it escaped, each cut to a length that no message could show anyway."""
    match value:
        case str():
            return escape_text(value[:_MAX_VALUE_CHARACTERS])
        case bool() | int() | float() | None:
            return value
        case Mapping() if depth < _MAX_DEPTH:
            return {escape_text(str(name)[:_MAX_VALUE_CHARACTERS]): escape_values(each, depth + 1) for name, each in value.items()}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [escape_values(each, depth + 1) for each in value]
        case _:
            return escape_text(str(value)[:_MAX_VALUE_CHARACTERS])


def cut_text(text: str, limit: int) -> str:
    """At most `limit` characters of an escaped text, never ending inside an entity or a link."""
    if len(text) <= limit:
        return text
    kept = _HALF_ENTITY.sub("", text[: limit - 1])
    if kept.rfind("<") > kept.rfind(">"):
        kept = kept[: kept.rfind("<")]
    return kept + _ELLIPSIS


def make_link(url: str, name: str) -> str:
    """`<url|name>` for a web address, empty for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    is_web = parts.scheme in {"http", "https"} and bool(parts.netloc) and url.isprintable() and " " not in url
    if not is_web or len(url) > _MAX_URL_CHARACTERS:
        return ""
    inert = url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace("&", "&amp;")
    return f"<{inert}|{escape_line(name).replace('|', '/')}>"


def mention(who: object) -> str:
    """A live mention for a Slack user id, the plain text for any other name, empty for none."""
    text = who.strip() if isinstance(who, str) else ""
    return f"<@{text}>" if _USER_ID.fullmatch(text) else escape_line(text)


def is_channel_id(text: str) -> bool:
    """Whether this is a conversation's id rather than its name."""
    return _CHANNEL_ID.fullmatch(text) is not None
