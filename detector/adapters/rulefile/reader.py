"""Reads nodes by the table of keys: every value in its type, every fault as a finding at its place.

`node` comes before, `build` after. A value that is faulty is left out, so that reading goes on and all faults come at once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from detector.adapters.rulefile.key import Choice, Either, Kind, ListOf, MapOf, Section
from detector.adapters.rulefile.node import Listing, Place, Scalar, Table, place_inside, plain_value
from detector.domain.duration import parse_duration
from detector.domain.quantity import format_count
from detector.domain.rule import Location
from detector.ports.rulefile import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.adapters.rulefile.key import Shape
    from detector.adapters.rulefile.node import Node

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_URL = re.compile(r"https?://[^\s/?#@]+([/?#]\S*)?")  # without user and password: rule files hold no secrets
_MOST_UNREAD = 4_000  # a text without markup that is longer than a template may be is refused like one: it would go out as failed
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class _Absent:
    """What a faulty value reads as."""


ABSENT = _Absent()
WHOLE = ""  # the name that a file's root stands under


@dataclass(frozen=True, slots=True)
class Fields:
    """A section as read: the values that were good, by key, and where each key and the whole stand."""

    node: Table
    values: dict[str, Any]
    places: dict[str, Place]

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  the table of keys says the type
        """The value of `key`, or the default where it is missing or faulty."""
        return self.values.get(key, default)

    def has(self, key: str) -> bool:
        """Whether the key stands in the file, faulty or not."""
        return key in self.places


@dataclass(frozen=True, slots=True)
class Query:
    """One query that the files hold, as Prometheus would be asked, and where it stands."""

    location: Location
    text: str


@dataclass(slots=True)
class Reader:
    """One file being read; `findings`, `notes` and `queries` grow."""

    file: str
    source: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    lenient: bool = False

    def fault(self, place: Place, message: str) -> None:
        """Record a fault at a place."""
        self.findings.append(Finding(self.file, place.line, place.column, message))

    def fault_inside(self, scalar: Scalar, offset: int, message: str) -> None:
        """Record a fault at a character of a scalar's text."""
        self.fault(place_inside(self.source, scalar, offset), message)

    def note(self, place: Place, message: str) -> None:
        """Record what is no fault but worth knowing."""
        self.notes.append(f"{self.file}:{place.line}:{place.column}: {message}")

    def locate(self, place: Place) -> Location:
        """The place as the domain knows it."""
        return Location(self.file, place.line, place.column)

    def read(self, shape: Shape, node: Node, name: str) -> Any:  # noqa: ANN401  the shape says the type
        """The value of a node, or ABSENT with findings. `name` is the key it stands under."""
        match shape:
            case Section():
                return self.read_section(shape, node, name)
            case ListOf():
                return self._read_list(shape, node, name)
            case MapOf():
                return self._read_map(shape, node, name)
            case Either():
                return (
                    self.read_section(shape.section, node, name) if isinstance(node, Table) else self.read(shape.scalar, node, name)
                )
            case Choice(words=words):
                text = self._text(node, name, "one of " + ", ".join(words))
                if isinstance(text, _Absent) or text in words:
                    return text
                return self._refuse(node, f"`{name}` is {quote(text)}; {suggest_word(text, words)}")
            case Kind():
                return self._read_kind(shape, node, name)

    def read_section(self, section: Section, node: Node, name: str) -> Fields | _Absent:
        """A mapping with known keys; unknown and missing ones are findings."""
        if not isinstance(node, Table):
            subject = f"`{name}`" if name else "the file"
            return self._refuse(node, f"{subject} is {describe(node)}; {section.what} is a mapping with {_list_keys(section)}")
        values: dict[str, Any] = {}
        places: dict[str, Place] = {}
        for key, value in node.entries:
            known = section.find(key.text)
            if known is None:
                self._unknown(key, section)
                continue
            places[key.text] = key.place
            read = self.read(known.shape, value, key.text)
            if not isinstance(read, _Absent):
                values[key.text] = read
        for wanted in section.keys:
            if wanted.required and wanted.name not in places:
                self.fault(node.place, f"{section.what} needs `{wanted.name}`: {wanted.about}")
        return Fields(node, values, places)

    def _unknown(self, key: Scalar, section: Section) -> None:
        if self.lenient:
            self.note(key.place, f"key `{key.text}` of {section.what} is not used here")
            return
        self.fault(
            key.place,
            f"unknown key {quote(key.text)} in {section.what}; {suggest_word(key.text, [known.name for known in section.keys])}",
        )

    def _read_list(self, shape: ListOf, node: Node, name: str) -> Any:  # noqa: ANN401  as `read`
        if shape.single and not isinstance(node, Listing) and not (isinstance(node, Scalar) and node.empty):
            value = self.read(shape.item, node, name)
            return value if isinstance(value, _Absent) else (value,)
        if not isinstance(node, Listing):
            return self._refuse(
                node, f"`{name}` is {describe(node)}; a list is needed, e.g. `[a, b]` or lines that begin with `- `"
            )
        if len(node.items) < shape.least or (shape.most is not None and len(node.items) > shape.most):
            count = f"exactly {shape.most}" if shape.most == shape.least else f"at least {shape.least}"
            return self._refuse(node, f"`{name}` has {format_count(len(node.items), 'item')}; {count} are needed")
        values = [self.read(shape.item, item, name) for item in node.items]
        good = tuple(value for value in values if not isinstance(value, _Absent))
        return good if len(good) == len(values) or isinstance(shape.item, Section) else ABSENT

    def _read_map(self, shape: MapOf, node: Node, name: str) -> Any:  # noqa: ANN401  as `read`
        if not isinstance(node, Table):
            return self._refuse(node, f"`{name}` is {describe(node)}; a mapping is needed, `name: value`")
        values: dict[str, Any] = {}
        for key, value in node.entries:
            if shape.key is Kind.IDENTIFIER and not IDENTIFIER.fullmatch(key.text):
                self.fault(key.place, f"{quote(key.text)} is no name; use letters, digits and _, not beginning with a digit")
                continue
            read = self.read(shape.value, value, key.text)
            if not isinstance(read, _Absent):
                values[key.text] = read
        return values

    def _read_kind(self, kind: Kind, node: Node, name: str) -> Any:  # noqa: ANN401  as `read`
        if kind is Kind.PLAIN:
            return plain_value(node)
        text = self._text(node, name, kind.value)
        if isinstance(text, _Absent) or not isinstance(node, Scalar):
            return ABSENT
        match kind:
            case Kind.CONDITION | Kind.QUERY:
                return node
            case Kind.DURATION:
                return self._duration(node, name)
            case Kind.FLAG:
                return self._flag(node, name)
            case Kind.POSITIVE | Kind.SHARE | Kind.NUMBER:
                return self._number(kind, node, name)
            case Kind.STATUS:
                return self._status(node, name)
            case _:
                return self._words(kind, node, name)

    def _words(self, kind: Kind, node: Scalar, name: str) -> Any:  # noqa: ANN401  as `read`
        if kind is Kind.TEMPLATE:
            return self._template(node)
        if kind is Kind.URL and "@" in node.text.partition("://")[2].partition("/")[0]:
            return self._refuse(node, f"`{name}` holds a user or password; leave it out, rule files hold no secrets")
        if kind is Kind.URL and not _URL.fullmatch(node.text):
            return self._refuse(node, f"`{name}` is {quote(node.text)}; {kind.value} is needed")
        return self._time(node, name) if kind is Kind.TIME else node.text

    def _text(self, node: Node, name: str, wanted: str) -> str | _Absent:
        if not isinstance(node, Scalar):
            return self._refuse(node, f"`{name}` is {describe(node)}; {wanted} is needed")
        if node.empty or not node.text.strip():
            return self._refuse(node, f"`{name}` is empty; {wanted} is needed")
        return node.text

    def _flag(self, node: Scalar, name: str) -> bool | _Absent:
        if node.text in {"true", "True", "false", "False"}:
            return node.text.lower() == "true"
        return self._refuse(node, f"`{name}` is {quote(node.text)}; true or false is needed")

    def _template(self, node: Scalar) -> str | _Absent:
        if "{" not in node.text and len(node.text) <= _MOST_UNREAD:
            return node.text
        from detector.adapters.template import TemplateRenderer  # noqa: PLC0415  imported only where a file has a template

        if (found := TemplateRenderer().find_fault(node.text)) is not None:
            offset = sum(len(line) + 1 for line in node.text.split("\n")[: found.line - 1])
            example = "{{ service }} fails {{ error_rate | percent }}"
            self.fault_inside(node, offset, f"template: {found.message}; write e.g. `{example}`")
            return ABSENT
        return node.text

    def _duration(self, node: Scalar, name: str) -> Any:  # noqa: ANN401  as `read`
        seconds = parse_duration(node.text)
        if seconds is not None:
            return seconds
        if _NUMBER.fullmatch(node.text):
            return self._refuse(node, f"`{name}` is {node.text} without a unit; write {node.text.lstrip('+-')}s, 5m or 1h30m")
        return self._refuse(
            node, f"`{name}` is {quote(node.text)}, no duration; write 30s, 5m or 1h30m (units y w d h m s ms, large to small)"
        )

    def _number(self, kind: Kind, node: Scalar, name: str) -> Any:  # noqa: ANN401  as `read`
        if match := _PERCENT.fullmatch(node.text):
            return self._refuse(node, f"`{name}` is {quote(node.text)}; write {float(match[1]) / 100:g}")
        value = float(node.text) if _NUMBER.fullmatch(node.text) else math.nan
        low = -math.inf if kind is Kind.NUMBER else 0.0
        high = 1.0 if kind is Kind.SHARE else math.inf
        if not low < value < high:
            return self._refuse(node, f"`{name}` is {quote(node.text)}; {kind.value} is needed")
        return value

    def _status(self, node: Scalar, name: str) -> Any:  # noqa: ANN401  as `read`
        if re.fullmatch(r"[1-5][0-9][0-9]", node.text):
            return int(node.text)
        return self._refuse(node, f"`{name}` is {quote(node.text)}; {Kind.STATUS.value} is needed")

    def _time(self, node: Scalar, name: str) -> Any:  # noqa: ANN401  as `read`
        try:
            moment = datetime.fromisoformat(node.text)
        except ValueError:
            return self._refuse(node, f"`{name}` is {quote(node.text)}; {Kind.TIME.value} is needed")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _refuse(self, node: Node, message: str) -> _Absent:
        self.fault(node.place, message)
        return ABSENT


def describe(node: Node) -> str:
    """A node in words."""
    match node:
        case Scalar():
            return "empty" if node.empty else quote(node.text)
        case Listing():
            return "a list"
        case Table():
            return "a mapping"


def quote(text: str) -> str:
    """Text for a message: one line, short."""
    line = " ".join(text.split())
    return f"`{line[:60]}...`" if len(line) > 60 else f"`{line}`"  # noqa: PLR2004  a message stays one line


def suggest_word(word: str, known: Iterable[str]) -> str:
    """The nearest known word, or all of them."""
    words = list(known)
    near = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(words)}"


def _list_keys(section: Section) -> str:
    names = [key.name for key in section.keys if key.required] or [key.name for key in section.keys][:3]
    return ", ".join(f"`{name}`" for name in names)
