"""Vector selectors of a query, found without a grammar: the raw series behind an incident, for a rule test that reproduces it."""

from __future__ import annotations

import re

_STRING = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`'
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_DURATIONS = re.compile(r"\[[^\]]*\]|\boffset\s+-?\w+|@\s*[\w.]+(?:\(\))?")
_SELECTOR = re.compile(rf"(?<![\w:.])([A-Za-z_:][\w:]*)\s*(\{{(?:{_STRING}|[^}}\"'`])*\}})?\s*(\()?")
_WORDS = frozenset(
    {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "inf", "nan", "atan2"}
)


def find_selectors(query: str) -> tuple[tuple[str, str], ...]:
    """(metric, matchers without braces) of each selector, in order, each once; a selector without a name is passed over."""
    found: dict[tuple[str, str], None] = {}
    for name, braces, call in _SELECTOR.findall(_DURATIONS.sub(" ", _GROUPING.sub(" ", query))):
        if not call and name.lower() not in _WORDS:
            found[name, braces[1:-1].strip().rstrip(",")] = None
    return tuple(found)
