"""What is read from the text of a condition without compiling it: tokens, comparisons, terms.

`condition` uses it before and after CEL has type-checked the text, so nothing here needs to report faults.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from detector.domain.condition import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASELINE = "_baseline"

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>[bBrR]{0,2}(?:'''(?:.|\n)*?'''|\"\"\"(?:.|\n)*?\"\"\"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<uint>(?:0[xX][0-9a-fA-F]+|\d+)[uU])
      | (?P<int>0[xX][0-9a-fA-F]+|\d+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>&&|\|\||[<>=!]=|.)""",
    re.VERBOSE,
)
_TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_BOUNDS = frozenset({"&&", "||", "?", ":", ",", "!"})
NEST = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class Token(NamedTuple):
    """One token; `start` counts characters from 0."""

    kind: str
    text: str
    start: int


def tokenize(text: str) -> list[Token]:
    """Tokens without white space and comments."""
    return [
        Token(match.lastgroup or "mark", match[0], match.start()) for match in _TOKEN.finditer(text) if match.lastgroup != "space"
    ]


def rewrite(text: str, aliases: Mapping[str, str]) -> tuple[str, list[int]]:
    """`text` with integers as doubles and aliases resolved, and for each character of it (and its end) the offset in `text`."""
    pieces: list[str] = []
    positions: list[int] = []
    for match in _TOKEN.finditer(text):
        piece, start = match[0], match.start()
        new = piece
        if match.lastgroup == "int":
            new = f"{int(piece, 16)}.0" if piece[:2].lower() == "0x" else f"{piece}.0"
        elif match.lastgroup == "name":
            new = aliases.get(piece, piece)
        pieces.append(new)
        last = start + len(piece) - 1
        positions.extend(min(start + index, last) for index in range(len(new)))
    positions.append(len(text))
    return "".join(pieces), positions


def find_names(text: str) -> frozenset[str]:
    """Identifiers that are neither fields (`.x`) nor functions (`x(`)."""
    tokens = tokenize(text)
    return frozenset(
        token.text
        for index, token in enumerate(tokens)
        if token.kind == "name"
        and (index == 0 or tokens[index - 1].text != ".")
        and (index + 1 == len(tokens) or tokens[index + 1].text != "(")
    )


def split_alternatives(text: str) -> tuple[tuple[str, ...], ...]:
    """`text` as terms that all must hold, each as alternatives of which one must: top-level `&&` first, then `||`."""
    whole = _strip(tokenize(text))
    terms = [whole] if _cut(whole, "||") else (_cut(whole, "&&") or [whole])
    return tuple(tuple(_cover(text, part) for part in (_cut(_strip(term), "||") or [term])) for term in terms)


def find_comparisons(text: str, numbers: frozenset[str]) -> tuple[Comparison, ...]:
    """Every comparison of a signal with a number, in reading order; see `domain.condition.Comparison`."""
    tokens = tokenize(text)
    found = []
    for index, token in enumerate(tokens):
        if token.text in _TURNED:
            left, right = _strip(_before(tokens, index)), _strip(_after(tokens, index))
            comparison = _compare(left, token.text, right, numbers) or _compare(right, _TURNED[token.text], left, numbers)
            if comparison:
                found.append(comparison)
    return tuple(found)


def _compare(left: Sequence[Token], operator: str, right: Sequence[Token], numbers: frozenset[str]) -> Comparison | None:
    if len(left) != 1 or left[0].text not in numbers or left[0].text.endswith(BASELINE):
        return None
    match [token for token in right if token.text not in {"(", ")"}]:
        case [Token(kind="name") as name] if name.text in numbers:
            return Comparison(left[0].text, operator, 1.0, name.text)
        case [Token(kind="float") as number]:
            return Comparison(left[0].text, operator, float(number.text))
        case [Token(text="-"), Token(kind="float") as number]:
            return Comparison(left[0].text, operator, -float(number.text))
        case [Token(kind="float") as number, Token(text="*"), Token(kind="name") as name] | [
            Token(kind="name") as name,
            Token(text="*"),
            Token(kind="float") as number,
        ] if name.text in numbers:
            return Comparison(left[0].text, operator, float(number.text), name.text)
        case _:
            return Comparison(left[0].text, operator, None)


def _before(tokens: list[Token], index: int) -> list[Token]:
    depth, start = 0, index
    while start > 0:
        text = tokens[start - 1].text
        depth -= NEST.get(text, 0)
        if depth < 0 or (depth == 0 and text in _BOUNDS):
            break
        start -= 1
    return tokens[start:index]


def _after(tokens: list[Token], index: int) -> list[Token]:
    depth, end = 0, index + 1
    while end < len(tokens):
        text = tokens[end].text
        depth += NEST.get(text, 0)
        if depth < 0 or (depth == 0 and text in _BOUNDS):
            break
        end += 1
    return tokens[index + 1 : end]


def _strip(tokens: Sequence[Token]) -> list[Token]:
    """Without parentheses around the whole."""
    inner = list(tokens)
    while len(inner) > 1 and inner[0].text == "(" and inner[-1].text == ")" and _closes_last(inner):
        inner = inner[1:-1]
    return inner


def _closes_last(tokens: Sequence[Token]) -> bool:
    depth = 0
    for index, token in enumerate(tokens):
        depth += NEST.get(token.text, 0)
        if depth == 0:
            return index == len(tokens) - 1
    return False


def _cut(tokens: Sequence[Token], operator: str) -> list[list[Token]] | None:
    """Parts between the top-level `operator`s; None where there is none, or where a `?` binds looser than all of them."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += NEST.get(token.text, 0)
        if depth == 0 and token.text == "?":
            return None
        if depth == 0 and token.text == operator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts if len(parts) > 1 else None


def _cover(text: str, tokens: Sequence[Token]) -> str:
    inner = _strip(tokens)
    return text[inner[0].start : inner[-1].start + len(inner[-1].text)]
