"""Conditions in CEL, behind this one module: text from a rule file becomes a `domain.condition.Condition`.

The rule file adapter compiles here; `advance` evaluates. Every variable is a double or a boolean. Integer literals are read as
doubles (`p95 > 1`), which CEL itself refuses. cel-expr-python 0.1.3 is pinned: an error comes back as a truthy `str`, so only a
result that is `True` or `False` itself is an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel

from detector.adapters.condition.envelope import read_envelope
from detector.adapters.condition.text import BASELINE as BASELINE  # given on to rulefile
from detector.adapters.condition.text import find_comparisons, find_names, rewrite, split_alternatives
from detector.domain.condition import Bindings, Comparison, Envelope

if TYPE_CHECKING:
    from collections.abc import Iterable

FLAGS = ("core", "customer_facing", "workaround")
OPEN = "open"
LONGEST = 4_000
RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let"}
    | {"loop", "namespace", "null", "package", "return", "true", "var", "void", "while"}
)

_ERROR = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_OVERLOAD = re.compile(r"found no matching overload for '@?([^']+)' applied to '\((.*)\)'")
_WORDING = (
    ("token recognition error at: '= '", "`=` stands alone; equality is `==`"),
    ("token recognition error at:", "unexpected"),
    ("mismatched input '<EOF>'", "it ends too early"),
    ("'<EOF>'", "the end"),
    ("mismatched input", "unexpected"),
    ("extraneous input", "unexpected"),
    ("no viable alternative at input", "unexpected"),
)
_TYPES = {"double": "a number", "bool": "a boolean", "int": "an integer", "uint": "an unsigned integer", "string": "text"}


@dataclass(frozen=True, slots=True, order=True)
class ConditionFault:
    """One fault inside a condition; `offset` counts characters of its text from 0."""

    offset: int
    message: str


class ConditionError(Exception):
    """The text is no condition; `faults` has every fault, in reading order."""

    def __init__(self, faults: Iterable[ConditionFault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("; ".join(fault.message for fault in self.faults))


@dataclass(frozen=True, slots=True)
class CelCondition:
    """A compiled condition; see `domain.condition.Condition`."""

    text: str
    names: frozenset[str]
    comparisons: tuple[Comparison, ...]
    expression: Any = field(repr=False, compare=False)
    source: str = field(default="", repr=False, compare=False)
    numbers: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _last: list[tuple[Bindings | None, bool | None]] = field(default_factory=lambda: [(None, None)], repr=False, compare=False)

    def evaluate(self, bindings: Bindings) -> bool | None:
        """True, False, or None where the answer is unknown.

        The last answer is kept: CEL costs more than the rest of an evaluation, and healthy services come with the same values.
        """
        last, answer = self._last[0]
        if bindings != last:
            value = self.expression.eval(data=bindings).value()
            answer = value if value is True or value is False else None
            self._last[0] = dict(bindings), answer
        return answer

    def find_envelope(self) -> Envelope | None:
        """A wider condition whose variables drive one way each, for `domain.quiet`; None where it would rule nothing out."""
        return _widen(self.source, self.numbers)


@dataclass(frozen=True, slots=True)
class Present:
    """Holds wherever a series is: the condition of a Prometheus alerting rule lies in its query, which is `text`."""

    text: str
    names: frozenset[str] = frozenset()
    comparisons: tuple[Comparison, ...] = ()

    def evaluate(self, bindings: Bindings) -> bool | None:  # noqa: ARG002  the protocol's signature
        """Always True: `advance` asks only where the query returned a series."""
        return True


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables that a rule's conditions may name. `aliases`: names that stand for another (affected_users -> error_rate)."""

    signals: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """Signals and their baselines."""
        return (*self.signals, *(f"{name}{BASELINE}" for name in self.signals))

    def compile(self, text: str, *, recover: bool = False) -> CelCondition:
        """Compile `text`; in a `recover` condition the boolean `open` may be named. Raises ConditionError."""
        return _compile(self, text, recover)

    def split(self, text: str) -> tuple[tuple[CelCondition, ...], ...]:
        """The terms of a `recover` condition, each a tuple of alternatives: top-level `&&`, then `||`. Raises ConditionError."""
        self.compile(text, recover=True)
        return tuple(tuple(self.compile(part, recover=True) for part in term) for term in split_alternatives(text))


@lru_cache(maxsize=256)
def _environment(numbers: tuple[str, ...], flags: tuple[str, ...]) -> Any:  # noqa: ANN401  the extension has no stubs
    variables = dict.fromkeys(numbers, cel.Type.DOUBLE) | dict.fromkeys(flags, cel.Type.BOOL)
    return cel.NewEnv(variables=variables)


@lru_cache(maxsize=4096)
def _compile(scope: Scope, text: str, recover: bool) -> CelCondition:  # noqa: FBT001  the cache takes positional arguments
    flags = (*FLAGS, OPEN) if recover else FLAGS
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConditionError([ConditionFault(0, "half of a surrogate pair is no character")])
    if len(text) > LONGEST:
        raise ConditionError([ConditionFault(0, f"condition of {len(text)} characters; the most is {LONGEST}")])
    if not text.strip():
        raise ConditionError([ConditionFault(0, "empty condition; write one such as `error_rate > 0.01`")])
    source, positions = rewrite(text, dict(scope.aliases))
    numbers = scope.numbers
    try:
        expression = _environment(numbers, flags).compile(source)
    except RuntimeError as error:
        raise ConditionError(_read_faults(str(error), source, positions, (*numbers, *flags))) from None
    kind = expression.return_type().name()
    if kind != "BOOL":
        name = _TYPES.get(kind.lower(), kind.lower())
        raise ConditionError(
            [ConditionFault(0, f"a condition is true or false, this is {name}; compare it, e.g. `error_rate > 0.01`")]
        )
    variables = frozenset((*numbers, *flags))
    known = frozenset(numbers)
    names = find_names(source) & variables
    return CelCondition(text, names, find_comparisons(source, known), expression, source, numbers)


@lru_cache(maxsize=1024)
def _widen(source: str, numbers: tuple[str, ...]) -> Envelope | None:
    flags = (*FLAGS, OPEN)
    found = read_envelope(source, frozenset(numbers), frozenset((*numbers, *flags)))
    if found is None:
        return None
    text, ends = found
    try:
        expression = _environment(tuple(sorted(ends)), flags).compile(text)
    except RuntimeError:  # its brackets are more than CEL takes
        return None
    wide = CelCondition(text, find_names(text) & frozenset((*ends, *flags)), (), expression)
    return None if wide.evaluate({}) is True else Envelope(wide, ends)


def _read_faults(report: str, source: str, positions: list[int], known: tuple[str, ...]) -> list[ConditionFault]:
    lines = source.split("\n")
    faults: dict[int, ConditionFault] = {}
    report = report.removesuffix(" [INVALID_ARGUMENT]")
    for line, column, message in _ERROR.findall(report):
        start = sum(len(previous) + 1 for previous in lines[: int(line) - 1])
        offset = positions[min(start + int(column) - 1, len(positions) - 1)]
        faults.setdefault(offset, ConditionFault(offset, _explain(message, known)))
    if faults:
        syntax = [fault for fault in faults.values() if fault.message.startswith("syntax")]
        return syntax[:1] or list(faults.values())  # what follows a syntax fault is its echo
    return [ConditionFault(0, report.partition(": ")[2].partition(" [")[0] or report)]


def _explain(message: str, known: tuple[str, ...]) -> str:
    if match := _UNDECLARED.search(message):
        return f"unknown name `{match[1]}`; {suggest(match[1], known)}"
    if match := _OVERLOAD.search(message):
        types = " and ".join(_TYPES.get(name, name) for name in match[2].split(", "))
        return f"`{match[1].replace('_', '')}` does not apply to {types}"
    if message.startswith("Syntax error: "):
        what = message.removeprefix("Syntax error: ").partition(" expecting ")[0]
        for theirs, ours in _WORDING:
            what = what.replace(theirs, ours)
        return f"syntax error: {what}; a condition looks like `core && error_rate > 0.01`"
    return message


def suggest(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, or all of them where none is near."""
    words = dict.fromkeys(known)
    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"nearest: `{near[0]}`" if near else f"known: {', '.join(words)}"
