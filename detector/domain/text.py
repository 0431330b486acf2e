"""Text that may hold anything, made fit to travel: valid Unicode, without control characters, no longer than asked.

Before it: labels, summaries and what people wrote. After it: a channel's message. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

CUT = " [cut]"
_MAX_DEPTH = 8
_MAX_INTEGER = 2**63

# C0 and C1 controls but tab and line feed, halves of surrogate pairs, which UTF-8 cannot hold, and marks that reorder what is read
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def clean_text(text: str) -> str:
    """Valid Unicode without control characters; line ends become line feeds."""
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n"))


def clean_line(text: str) -> str:
    """As `clean_text`, in one line."""
    return " ".join(clean_text(text).split())


def cut_text(text: str, limit: int) -> str:
    """The text itself, or its beginning and a mark where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: max(0, limit - len(CUT))] + CUT


def clean_value(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """The value as JSON can hold it: texts cleaned, names made texts, numbers finite or null, nesting bounded."""
    match value:
        case str():
            return clean_text(value)
        case int() if abs(value) > _MAX_INTEGER:
            return None
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth < _MAX_DEPTH:
            return {clean_text(str(name)): clean_value(each, depth + 1) for name, each in value.items()}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [clean_value(each, depth + 1) for each in value]
        case _:
            return clean_text(str(value))
