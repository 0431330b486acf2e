"""Go templates of Prometheus annotations as Jinja2, for the functions in common use; anything else is shown raw.

{{ $labels.instance }}                      {{ labels.instance }}
{{ $value | humanizePercentage }}           {{ value | humanizePercentage }}
{{ printf "%.2f" $value }}                  {{ "%.2f" | format(value) }}
"""

from __future__ import annotations

import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_OPERAND = re.compile(r"\$labels\.([A-Za-z_][A-Za-z0-9_]*)|\.Labels\.([A-Za-z_][A-Za-z0-9_]*)|(\$value|\.Value)")
_PRINTF = re.compile(r'printf\s+"((?:[^"\\%]|%%|%[-+0-9.]*[sdfgevq])*)"((?:\s+\S+)*)')
_INDEX = re.compile(r'index\s+\$labels\s+"([^"\\]*)"')
FILTERS = (
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "title",
    "toUpper",
    "toLower",
    "query",
    "safeHtml",
    "reReplaceAll",
)
_KNOWN = {
    "humanize": "humanize",
    "humanize1024": "humanize1024",
    "humanizeDuration": "humanize_duration",
    "humanizePercentage": "humanize_percentage",
    "title": "title",
    "toUpper": "upper",
    "toLower": "lower",
}


def translate(text: str) -> str:
    """The text as a Jinja2 template; raw (inert) where some action is not known."""
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    pieces: list[str] = []
    end = 0
    for match in _ACTION.finditer(text):
        expression = _translate_action(match[1])
        if expression is None:
            return _raw(text)
        pieces += [_inert(text[end : match.start()]), "{{ ", expression, " }}"]
        end = match.end()
    return "".join([*pieces, _inert(text[end:])])


def _translate_action(action: str) -> str | None:
    first, *filters = [part.strip() for part in action.split("|")]
    expression = _translate_operand(first)
    for name in filters:
        if expression is None:
            return None
        if name in _KNOWN:
            expression = f"{expression} | {_KNOWN[name]}"
        elif match := _PRINTF.fullmatch(name):
            expression = None if match[2].strip() else _format(match[1], [expression])
        else:
            return None
    return expression


def _translate_operand(text: str) -> str | None:
    if match := _OPERAND.fullmatch(text):
        return _name(match)
    if match := _INDEX.fullmatch(text):
        return f'labels["{match[1]}"]'
    if match := _PRINTF.fullmatch(text):
        operands = [_OPERAND.fullmatch(word) for word in match[2].split()]
        return _format(match[1], [_name(operand) for operand in operands if operand]) if all(operands) else None
    name, _, rest = text.partition(" ")
    if name in _KNOWN and (match := _OPERAND.fullmatch(rest.strip())):
        return f"{_name(match)} | {_KNOWN[name]}"
    return None


def _name(match: re.Match[str]) -> str:
    label = match[1] or match[2]
    return f"labels.{label}" if label else "value"


def _format(pattern: str, operands: list[str]) -> str:
    verbs = re.sub(r"%([-+0-9.]*)[vq]", r"%\1s", pattern)
    inner = ", ".join(f"({operand})" if "|" in operand else operand for operand in operands)
    return f'"{verbs}" | format({inner})'


def _inert(text: str) -> str:
    return _raw(text) if "{%" in text or "{#" in text or "{{" in text else text


def _raw(text: str) -> str:
    return "{% raw %}" + text.replace("{% endraw %}", "") + "{% endraw %}" if text else ""
