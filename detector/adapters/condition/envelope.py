"""What a condition can say at the most while its numbers move: read from its text, so that a long past can be judged by extremes.

`read_envelope` writes a second condition that is true wherever the first is, in which every variable drives one way only. It knows
comparisons, flags, `&&`, `||`, `!` and parentheses. A number that drives both ways (`errors >= 5 && errors < 20`) becomes two
variables; a part of any other form becomes the constant that rules nothing out, so its users evaluate the moments that remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, TypeAlias

from detector.adapters.condition.text import NEST, Token, tokenize

_UPWARD = {">": 1, ">=": 1, "<": -1, "<=": -1}
_BOTH = {"==": (">=", "&&", "<="), "!=": (">", "||", "<")}
_JOINTS = frozenset({"&&", "||"})
_LEAST = "_least"
_DEEPEST = 30  # brackets and negations in each other


class _End(NamedTuple):
    """A number at one of its ends: the greatest (1) or the least (-1)."""

    name: str
    way: int


_Words: TypeAlias = "list[str | _End]"


def read_envelope(text: str, numbers: frozenset[str], taken: frozenset[str]) -> tuple[str, dict[str, tuple[str, int]]] | None:
    """The wider condition and, by variable, the number that each stands for and which way it drives: 1 towards true, -1 to false.

    `taken`: names that no new variable may have. None for a form that cannot be taken apart.
    """
    reading = _Reading(tokenize(text), numbers)
    try:
        words = reading.read_any(1)
    except _UnknownFormError:
        return None
    found = {word for word in words if isinstance(word, _End)}
    variables = {end: _name_variable(end, found, taken) for end in found}
    wide = " ".join(word if isinstance(word, str) else variables[word] for word in words)
    return wide, {variable: (end.name, end.way) for end, variable in variables.items()}


def _name_variable(end: _End, found: set[_End], taken: frozenset[str]) -> str:
    if end.way > 0 or _End(end.name, 1) not in found:
        return end.name
    name = end.name + _LEAST
    while name in taken:
        name += "_"
    return name


class _UnknownFormError(Exception):
    """A form that is not known."""


@dataclass(frozen=True, slots=True)
class _Term:
    """`before` name `after`, or a number alone; `factor` is what the name is multiplied with."""

    before: str
    name: str
    after: str
    factor: float

    def write(self, way: int) -> _Words:
        """With the end of the number that drives `way`."""
        if not self.name:
            return [self.before]
        return [self.before, _End(self.name, way if self.factor > 0 else -way), self.after]


@dataclass(slots=True)
class _Reading:
    """`sign`: 1 where the whole is wanted to be true as easily as can be, -1 behind a `!`."""

    tokens: Sequence[Token]
    numbers: frozenset[str]
    position: int = 0
    depth: int = 0

    @property
    def next(self) -> str:
        """The next token's text; empty at the end."""
        return self.tokens[self.position].text if self.position < len(self.tokens) else ""

    def read_any(self, sign: int) -> _Words:
        words = self._read_all(sign)
        while self.next == "||":
            self.position += 1
            words += ["||", *self._read_all(sign)]
        return words

    def _read_all(self, sign: int) -> _Words:
        words = self._read_part(sign)
        while self.next == "&&":
            self.position += 1
            words += ["&&", *self._read_part(sign)]
        return words

    def _read_part(self, sign: int) -> _Words:
        """What stands between two joints; the constant that rules nothing out where its form is not known."""
        begin, end = self.position, self._find_joint()
        try:
            words = self._read_one(sign)
            if self.position == end:
                return words
        except _UnknownFormError:
            pass
        if any(token.text in {"?", ":", ","} for token in self._list_outer(begin, end)):
            raise _UnknownFormError  # these bind less than the joints
        self.position = end
        return ["true" if sign > 0 else "false"]

    def _read_one(self, sign: int) -> _Words:
        if self.next not in {"!", "("}:
            return self._read_comparison(sign)
        if self.depth == _DEEPEST:
            raise _UnknownFormError
        negated = self.next == "!"
        self.position += 1
        self.depth += 1
        try:
            words = self._read_one(-sign) if negated else self.read_any(sign)
        finally:
            self.depth -= 1
        if negated:
            return ["!", "(", *words, ")"]
        if self.next != ")":
            raise _UnknownFormError
        self.position += 1
        return ["(", *words, ")"]

    def _read_comparison(self, sign: int) -> _Words:
        left, mark = self._read_term(), self.next
        if mark in _JOINTS or mark in {"", ")"}:
            if left.factor != 1.0 or not left.name or left.name in self.numbers:
                raise _UnknownFormError
            return [left.name]  # a flag, which no time changes
        if mark not in _UPWARD and mark not in _BOTH:
            raise _UnknownFormError
        self.position += 1
        right = self._read_term()
        if any(term.name and not (term.name in self.numbers and 0 < abs(term.factor) < inf) for term in (left, right)):
            raise _UnknownFormError
        if mark in _UPWARD:
            return _compare(left, mark, right, sign)
        first, joint, second = _BOTH[mark]
        return ["(", *_compare(left, first, right, sign), joint, *_compare(left, second, right, sign), ")"]

    def _read_term(self) -> _Term:
        """A number, or a name and the factor before or after it."""
        before = self._read_number()
        if before is not None and self.next != "*":
            return _Term(before, "", "", 1.0)
        if before is not None:
            self.position += 1
            return _Term(f"{before} *", self._read_name(), "", float(before))
        name = self._read_name()
        if self.next != "*":
            return _Term("", name, "", 1.0)
        self.position += 1
        after = self._read_number()
        if after is None:
            raise _UnknownFormError
        return _Term("", name, f"* {after}", float(after))

    def _read_number(self) -> str | None:
        at = self.position
        sign = "-" if self.next == "-" else ""
        self.position += len(sign)
        if self.position < len(self.tokens) and self.tokens[self.position].kind == "float":
            number = self.next
            self.position += 1
            return sign + number
        self.position = at
        return None

    def _read_name(self) -> str:
        if self.position >= len(self.tokens) or self.tokens[self.position].kind != "name":
            raise _UnknownFormError
        name = self.next
        self.position += 1
        return name

    def _find_joint(self) -> int:
        """Where the part that begins here ends: at `&&`, `||`, the parenthesis that closes around it, or the end."""
        depth = 0
        for position in range(self.position, len(self.tokens)):
            text = self.tokens[position].text
            depth += NEST.get(text, 0)
            if depth < 0 or (depth == 0 and text in _JOINTS):
                return position
        return len(self.tokens)

    def _list_outer(self, begin: int, end: int) -> list[Token]:
        """The tokens from `begin` to before `end` that stand in no brackets."""
        depth, found = 0, []
        for token in self.tokens[begin:end]:
            depth += NEST.get(token.text, 0)
            if depth == 0:
                found.append(token)
        return found


def _compare(left: _Term, mark: str, right: _Term, sign: int) -> _Words:
    way = sign * _UPWARD[mark]
    return [*left.write(way), mark, *right.write(-way)]
