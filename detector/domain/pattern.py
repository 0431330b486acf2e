"""Regular expressions of matchers, in time that grows with the text only, as in Alertmanager's RE2. Pure.

Python's own engine goes back and forth: `(a+)+$` takes it years. It is asked where a pattern gives it no choice to go back to;
any other pattern is followed in all its ways at once (Thompson, "Regular expression search algorithm", CACM 11, 1968). What RE2
does not know either (back references, looking ahead or behind) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

LONGEST = 1000
MOST_STATES = 5000
_MOST_FREE = 2  # `.*x.*`: at worst the square of a label's length
_parser: Any = vars(re)["_parser"]  # what `re` reads patterns with; typeshed does not have it

Test = Callable[[str], bool]


@dataclass(slots=True)
class _Machine:
    """States by number: a test of one character, an anchor, or neither, and the states that follow."""

    tests: list[Test | None] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    following: list[list[int]] = field(default_factory=list)

    def add(self, *following: int, test: Test | None = None, anchor: str = "") -> int:
        if len(self.tests) >= MOST_STATES:
            raise ValueError("it repeats too much; write smaller counts")
        self.tests.append(test)
        self.anchors.append(anchor)
        self.following.append(list(following))
        return len(self.tests) - 1

    def match(self, start: int, end: int, text: str) -> bool:
        """Whether the whole text leads from one state to the other."""
        current = self._spread([start], text, 0)
        for at, character in enumerate(text):
            hit = [state for state in current if (test := self.tests[state]) is not None and test(character)]
            current = self._spread([after for state in hit for after in self.following[state]], text, at + 1)
            if not current:
                return False
        return end in current

    def _spread(self, states: list[int], text: str, at: int) -> set[int]:
        """All that is reached without a character."""
        reached: set[int] = set()
        while states:
            state = states.pop()
            if state in reached or not _holds(self.anchors[state], text, at):
                continue
            reached.add(state)
            if self.tests[state] is None:
                states += self.following[state]
        return reached


def fullmatch(pattern: str, text: str) -> bool:
    """Whether the pattern, checked before, matches the whole text."""
    return _compile(pattern)(text)


def check(pattern: str) -> None:
    """Raises ValueError with what is wrong."""
    if len(pattern) > LONGEST:
        raise ValueError(f"a regular expression has at most {LONGEST} characters, this has {len(pattern)}")
    try:
        _compile(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as fault:
        raise ValueError(f"{pattern!r} is not a regular expression: {fault}") from fault


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    tree = _parser.parse(pattern)
    machine = _Machine()
    end = machine.add()
    start = _build(machine, list(tree), end, compiled.flags)
    if _is_plain(list(tree)):
        return lambda text: compiled.fullmatch(text) is not None
    return lambda text: machine.match(start, end, text)


def _is_plain(nodes: list[Any]) -> bool:
    """No choice within a repetition, and few repetitions that are free to end anywhere."""
    free = [0]

    def look(inner: list[Any], *, repeated: bool) -> bool:
        for op, argument in inner:
            match str(op):
                case "MAX_REPEAT" | "MIN_REPEAT":
                    least, most, body = argument
                    free[0] += least != most and most > 1
                    if most > 1 and body.getwidth()[0] == 0:  # `(?:){4000000000}`: as many turns without a character
                        return False
                    if (repeated and least != most) or not look(list(body), repeated=repeated or most > 1):
                        return False
                case "BRANCH":
                    if repeated or not all(look(list(branch), repeated=repeated) for branch in argument[1]):
                        return False
                case "SUBPATTERN":
                    if not look(list(argument[3]), repeated=repeated):
                        return False
        return True

    return look(nodes, repeated=False) and free[0] <= _MOST_FREE


def _build(machine: _Machine, nodes: list[Any], after: int, flags: int) -> int:
    """States for nodes in a row, built from the last; gives the first."""
    for op, argument in reversed(nodes):
        match str(op):
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                after = machine.add(after, test=_make_test(op, argument, flags))
            case "BRANCH":
                after = machine.add(*[_build(machine, list(branch), after, flags) for branch in argument[1]])
            case "SUBPATTERN":
                _, added, removed, body = argument
                after = _build(machine, list(body), after, (flags | added) & ~removed)
            case "MAX_REPEAT" | "MIN_REPEAT":
                after = _repeat(machine, argument, after, flags)
            case "AT":
                after = machine.add(after, anchor=str(argument))
            case other:
                raise ValueError(f"{other.lower().replace('_', ' ')} is not known here, as in RE2")
    return after


def _repeat(machine: _Machine, argument: Any, after: int, flags: int) -> int:  # noqa: ANN401 - a parsed node
    least, most, body = argument
    nodes = list(body)
    if most is _parser.MAXREPEAT:
        loop = machine.add(after)
        machine.following[loop].append(_build(machine, nodes, loop, flags))
        after = loop
    else:
        final = after
        for _ in range(int(most) - least):
            after = machine.add(final, _build(machine, nodes, after, flags))
    for _ in range(least):
        first = _build(machine, nodes, after, flags)
        if first == after:  # nothing inside: once is as often as any number
            break
        after = first
    return after


def _make_test(op: Any, argument: Any, flags: int) -> Test:  # noqa: ANN401 - a parsed node
    match str(op):
        case "ANY":
            return lambda character: bool(flags & re.DOTALL) or character != "\n"
        case "LITERAL":
            return _fold([(op, argument)], flags)
        case "NOT_LITERAL":
            held = _fold([(_parser.LITERAL, argument)], flags)
            return lambda character: not held(character)
        case _:
            items = list(argument)
            if str(items[0][0]) != "NEGATE":
                return _fold(items, flags)
            held = _fold(items[1:], flags)
            return lambda character: not held(character)


def _fold(items: list[Any], flags: int) -> Test:
    """Whether one of the items has the character, in either case where that is ignored."""
    if not flags & re.IGNORECASE:
        return lambda character: any(_has(op, argument, character) for op, argument in items)
    return lambda character: any(
        _has(op, argument, each) for op, argument in items for each in {character, character.lower(), character.upper()}
    )


def _has(op: Any, argument: Any, character: str) -> bool:  # noqa: ANN401 - a parsed node
    match str(op):
        case "LITERAL":
            return bool(ord(character) == argument) if len(character) == 1 else False
        case "RANGE":
            return len(character) == 1 and bool(argument[0] <= ord(character) <= argument[1])
        case _:
            return _CATEGORIES[str(argument)].fullmatch(character) is not None


_CATEGORIES = {
    f"CATEGORY_{negation}{name}": re.compile(f"\\{letter.upper() if negation else letter}")
    for name, letter in (("DIGIT", "d"), ("SPACE", "s"), ("WORD", "w"))
    for negation in ("", "NOT_")
}


def _holds(anchor: str, text: str, at: int) -> bool:
    match anchor:
        case "":
            return True
        case "AT_BEGINNING" | "AT_BEGINNING_STRING":
            return at == 0
        case "AT_END" | "AT_END_STRING":
            return at == len(text)
        case _:
            sides = [
                _CATEGORIES["CATEGORY_WORD"].fullmatch(text[here : here + 1]) is not None for here in (at - 1, at) if here >= 0
            ]
            boundary = (sides[0] if at else False) != sides[-1]
            return boundary is (anchor == "AT_BOUNDARY")
