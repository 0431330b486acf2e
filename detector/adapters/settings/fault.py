"""A wrong setting as one line: which one, what is wrong, what would be right. The value itself is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pydantic import ValidationError

_OWN_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "bool_parsing": "must be true or false",
    "list_type": 'must be a JSON list such as ["a", "b"]',
    "tuple_type": 'must be a JSON list such as ["a", "b"]',
    "dict_type": 'must be a JSON object such as {"name": "value"}',
    "model_type": "must hold settings by name, not one value",
    "model_attributes_type": "must hold settings by name, not one value",
    "path_type": "must be a path",
}


class WrongSettingsError(Exception):
    """At least one setting is wrong; `lines` has one line for each, without any value."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


def describe_errors(error: ValidationError, name: Callable[[tuple[str, ...]], str], misspelt: Collection[str]) -> list[str]:
    """One line a fault. `name` says how the user wrote a path of field names, e.g. DETECTOR_EMAIL__PORT.

    What is missing in a group of `misspelt` is left out: its name was told already, spelled wrongly.
    """
    lines = []
    for fault in error.errors(include_url=False, include_context=True, include_input=False):
        path = tuple(str(part) for part in fault["loc"])
        if fault["type"] == "missing" and path[0] in misspelt:
            continue
        lines.append(f"{name(path)} {_say(fault['type'], fault['msg'], fault.get('ctx', {}))}" if path else _strip(fault["msg"]))
    return list(dict.fromkeys(lines))


def _say(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "literal_error":
        return "must be " + str(context["expected"]).replace("'", "")
    if kind.startswith(("greater_than", "less_than")):
        word, bound = next(iter(context.items()))
        unit = "s" if isinstance(bound, float) else ""  # durations alone are no whole numbers
        return f"must be {_BOUNDS[word]} {bound:g}{unit}"
    return _OWN_WORDS.get(kind) or _strip(message)


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _strip(message: str) -> str:
    return message.removeprefix("Value error, ")
