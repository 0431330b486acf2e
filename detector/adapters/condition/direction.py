"""Which way each number moves a condition: read from its text, so that a long quiet past can be judged by its extremes.

`find_directions` knows conditions made of comparisons, flags, `&&`, `||`, `!` and parentheses; for any other it says None, and its
users then evaluate every moment. It never says a direction that is wrong for some value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.adapters.condition.text import Token, tokenize

if TYPE_CHECKING:
    from collections.abc import Mapping


_UPWARD = {">": 1, ">=": 1, "<": -1, "<=": -1}


def find_directions(text: str, numbers: frozenset[str]) -> Mapping[str, int] | None:
    """1 for each number whose growth can only make the condition true, -1 for those that can only make it false."""
    reading = _Reading(tokenize(text), numbers)
    try:
        reading.read_any(1)
        if reading.position < len(reading.tokens):
            return None
    except _UnknownFormError:
        return None
    return reading.directions


class _UnknownFormError(Exception):
    """A form whose direction is not known."""


@dataclass(slots=True)
class _Reading:
    tokens: Sequence[Token]
    numbers: frozenset[str]
    position: int = 0
    directions: dict[str, int] = field(default_factory=dict)

    @property
    def next(self) -> str:
        return self.tokens[self.position].text if self.position < len(self.tokens) else ""

    def read_any(self, sign: int) -> None:
        self.read_all(sign)
        while self.next == "||":
            self.position += 1
            self.read_all(sign)

    def read_all(self, sign: int) -> None:
        self.read_one(sign)
        while self.next == "&&":
            self.position += 1
            self.read_one(sign)

    def read_one(self, sign: int) -> None:
        if self.next == "!":
            self.position += 1
            self.read_one(-sign)
        elif self.next == "(" and not self._compares_after_parenthesis():
            self.position += 1
            self.read_any(sign)
            self._expect(")")
        else:
            self._read_comparison(sign)

    def _read_comparison(self, sign: int) -> None:
        name, factor = self._read_term()
        if name and name not in self.numbers and factor == 1.0:  # a flag, which no time changes
            return
        if self.next not in _UPWARD:
            raise _UnknownFormError
        upward = sign * _UPWARD[self.next]
        self.position += 1
        other, other_factor = self._read_term()
        self._note(name, upward * factor)
        self._note(other, -upward * other_factor)

    def _read_term(self) -> tuple[str, float]:
        """A name (empty for a number) and the factor before or after it."""
        factor = self._read_number()
        if factor is None:
            name = self._read_name()
            if self.next != "*":
                return name, 1.0
            self.position += 1
            factor = self._read_number()
            if factor is None:
                raise _UnknownFormError
            return name, factor
        if self.next != "*":
            return "", factor
        self.position += 1
        return self._read_name(), factor

    def _read_number(self) -> float | None:
        at = self.position
        negative = self.next == "-"
        self.position += negative
        if self.position < len(self.tokens) and self.tokens[self.position].kind == "float":
            number = float(self.next)
            self.position += 1
            return -number if negative else number
        self.position = at
        return None

    def _read_name(self) -> str:
        if self.position >= len(self.tokens) or self.tokens[self.position].kind != "name":
            raise _UnknownFormError
        name = self.next
        self.position += 1
        if self.next in {".", "(", "["}:
            raise _UnknownFormError
        return name

    def _note(self, name: str, slope: float) -> None:
        if not name:
            return
        if name not in self.numbers or slope == 0.0:
            raise _UnknownFormError
        direction = 1 if slope > 0 else -1
        if self.directions.setdefault(name, direction) != direction:
            raise _UnknownFormError

    def _expect(self, text: str) -> None:
        if self.next != text:
            raise _UnknownFormError
        self.position += 1

    def _compares_after_parenthesis(self) -> bool:
        """Whether the parenthesis that opens here closes before an arithmetic or comparing mark: `(a) > 1`, a form not read."""
        depth = 0
        for token in self.tokens[self.position :]:
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0 and token.text != ")":
                return token.text in {*_UPWARD, "==", "!=", "*", "/", "+", "-", "%", "?"}
        return False
