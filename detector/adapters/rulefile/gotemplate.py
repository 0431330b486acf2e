"""Go templates of Prometheus annotations as Jinja2, for the functions in common use; anything else is shown raw.

{{ $labels.instance }}                      {{ labels.get("instance", "") }}
{{ $value | humanizePercentage }}           {{ value | percent }}
{{ printf "%.2f%%" $value }}                {{ value | round(2) }}%
"""

from __future__ import annotations

import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_OPERAND = re.compile(r"(?:\$labels|\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)|(?:\$value|\.Value)")
_PRINTF = re.compile(r'printf\s+(?:"([^"\\]*)"|`([^`]*)`)((?:\s+[$.][\w.]+)*)')
_INDEX = re.compile(r'index\s+\$labels\s+"([^"\\]*)"')
_VERB = re.compile(r"%(?:%|[-+0-9]*(?:\.(\d+))?([a-zA-Z]))")
_FILTERS = {
    "humanize": "humanize",
    "humanize1024": "humanize",
    "humanizeDuration": "duration",
    "humanizePercentage": "percent",
    "title": "title",
    "toUpper": "upper",
    "toLower": "lower",
}
_VERBS = {"f": "{} | round({})", "d": "{} | round | int", "s": "{}", "v": "{} | number", "g": "{} | number", "e": "{} | number"}
_ROUND_DIGITS = 6  # %f without a precision


def translate(text: str) -> str:
    """The text as a Jinja2 template; raw (inert) where some action is not known."""
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    pieces: list[str] = []
    end = 0
    for match in _ACTION.finditer(text):
        action = _translate_action(match[1])
        if action is None:
            return _inert(text)
        pieces += [_inert(text[end : match.start()]), action]
        end = match.end()
    return "".join([*pieces, _inert(text[end:])])


def _translate_action(action: str) -> str | None:
    first, *steps = [part.strip() for part in action.split("|")]
    if match := _PRINTF.fullmatch(first):
        return None if steps else _print(match[1] or match[2] or "", match[3].split())
    expression = _read_operand(first)
    for number, step in enumerate(steps, 1):
        if expression is None:
            return None
        if step in _FILTERS:
            expression = f"{expression} | {_FILTERS[step]}"
        elif (match := _PRINTF.fullmatch(step)) and not match[3] and number == len(steps):
            return _fill(match[1] or match[2] or "", [expression])
        else:
            return None
    return None if expression is None else f"{{{{ {expression} }}}}"


def _read_operand(text: str) -> str | None:
    if match := _OPERAND.fullmatch(text):
        return f'labels.get("{match[1]}", "")' if match[1] else "value"
    if match := _INDEX.fullmatch(text):
        return f'labels.get("{match[1]}", "")'
    name, _, rest = text.partition(" ")
    operand = _read_operand(rest.strip()) if name in _FILTERS and rest else None
    return f"{operand} | {_FILTERS[name]}" if operand else None


def _print(pattern: str, words: list[str]) -> str | None:
    operands = [_read_operand(word) for word in words]
    found = [operand for operand in operands if operand is not None]
    return _fill(pattern, found) if len(found) == len(words) else None


def _fill(pattern: str, operands: list[str]) -> str | None:
    """A printf pattern as text with one Jinja2 action a verb; None where verbs and operands do not match."""
    pieces: list[str] = []
    end = 0
    left = list(operands)
    for match in _VERB.finditer(pattern):
        pieces.append(_inert(pattern[end : match.start()]))
        end = match.end()
        if match[2] is None:
            pieces.append("%")
            continue
        if not left or match[2] not in _VERBS:
            return None
        expression = left.pop(0)
        shown = (
            expression
            if match[2] == "v" and expression.startswith("labels")
            else _VERBS[match[2]].format(expression, match[1] or _ROUND_DIGITS)
        )
        pieces.append(f"{{{{ {shown} }}}}")
    if left:
        return None
    return "".join([*pieces, _inert(pattern[end:])])


def _inert(text: str) -> str:
    """Text that Jinja2 shows as it is."""
    if "{" not in text:
        return text
    return "{% raw %}" + text.replace("endraw", "end raw") + "{% endraw %}"
