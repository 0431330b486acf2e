"""YAML text as a tree of nodes that know where they stand.

Built from PyYAML's events without recursion, so that hostile files (deep nesting, alias bombs) end in one finding. Scalars keep
their text; what type it should be is the reader's business, which keeps `no` and `1e3` from turning into something else.
`discover` comes before, `reader` after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import yaml

MAX_BYTES = 5 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 200_000

_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDING = {
    "found character that cannot start any token": "a tab, or another character that cannot stand here; indent with spaces",
    "mapping values are not allowed in this context": "no `key: value` can stand here; check the indentation, quote text with `: `",
    "did not find expected key": "a key was expected; check the indentation and quotes above",
    "did not find expected '-' indicator": "a `- item` was expected; check the indentation",
    "did not find expected node content": "a value was expected",
    "found unexpected end of stream": "these quotes are never closed",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `style` is the quote, `|`, `>` or "" where plain; `start` and `end` are offsets in the file's text."""

    place: Place
    text: str
    style: str = ""
    start: int = 0
    end: int = 0
    size: int = 1

    @property
    def empty(self) -> bool:
        """Whether it is a null: nothing, `~` or `null`."""
        return not self.style and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    place: Place
    items: tuple[Node, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order of the file."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]
    size: int

    def find(self, key: str) -> Node | None:
        """The value of `key`."""
        return next((node for name, node in self.entries if name.text == key), None)


Node: TypeAlias = Scalar | Listing | Table


class NodeError(Exception):
    """The text is no YAML that could be read: where, and why."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(slots=True)
class _Frame:
    place: Place
    listing: bool
    anchor: str | None
    children: list[Node]
    size: int = 1


def parse_yaml(text: str) -> tuple[Node | None, tuple[NodeError, ...]]:
    """The tree (None for an empty file) and the faults that do not hinder reading on (duplicate keys). Raises NodeError."""
    if match := _CONTROL.search(text):
        raise NodeError(place_of(text, match.start()), f"control character 0x{ord(match[0]):02x}; is this a text file?")
    try:
        return _Composer().compose(text)
    except yaml.MarkedYAMLError as error:
        opened = (error.problem or "").startswith("found unexpected end")
        mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        problem = error.problem or "cannot be read"
        raise NodeError(place, f"YAML: {_WORDING.get(problem, problem)}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise NodeError(Place(1, 1), f"YAML: {str(error).splitlines()[0]}") from None


class _Composer:
    """One document out of events: a stack of open collections, and the anchors seen."""

    def __init__(self) -> None:
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Node] = {}
        self.faults: list[NodeError] = []
        self.root: Node | None = None
        self.documents = 0

    def compose(self, text: str) -> tuple[Node | None, tuple[NodeError, ...]]:
        for event in yaml.parse(text, Loader=_LOADER):
            mark, last = event.start_mark, event.end_mark
            if mark is None or last is None:
                continue
            place = Place(mark.line + 1, mark.column + 1)
            match event:
                case yaml.DocumentStartEvent():
                    self._begin_document(place)
                case yaml.ScalarEvent():
                    self._refuse_tag(event.tag, place)
                    self._add(Scalar(place, event.value, event.style or "", mark.index, last.index), event.anchor)
                case yaml.AliasEvent():
                    self._add(self._follow(event.anchor, place), None)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._refuse_tag(event.tag, place)
                    self._begin(_Frame(place, isinstance(event, yaml.SequenceStartEvent), event.anchor, []))
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    frame = self.stack.pop()
                    self._add(self._close(frame), frame.anchor)
        return self.root, tuple(self.faults)

    def _begin_document(self, place: Place) -> None:
        self.documents += 1
        if self.documents > 1:
            raise NodeError(place, "a second document; one file holds one, put it into a file of its own")

    def _begin(self, frame: _Frame) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise NodeError(frame.place, f"nested deeper than {MAX_DEPTH} levels")
        self.stack.append(frame)

    def _follow(self, anchor: str | None, place: Place) -> Node:
        if anchor is None or anchor not in self.anchors:
            raise NodeError(place, f"alias *{anchor} names nothing that stands complete before it")
        return self.anchors[anchor]

    def _refuse_tag(self, tag: str | None, place: Place) -> None:
        if tag not in {None, "!", "tag:yaml.org,2002:str"}:
            raise NodeError(place, f"tag {tag} is not read here; remove it")

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.children.append(node)
        frame.size += node.size
        if frame.size > MAX_NODES:
            raise NodeError(frame.place, f"holds more than {MAX_NODES} values, aliases counted as often as they are used")

    def _close(self, frame: _Frame) -> Node:
        if frame.listing:
            return Listing(frame.place, tuple(frame.children), frame.size)
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Table] = []
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise NodeError(key.place, "a key is plain text here, not a list or a mapping; quote text that begins with {{")
            if key.text == "<<" and not key.style:
                merged.extend(self._merge(value))
            elif key.text in entries:
                first = entries[key.text][0].place
                self.faults.append(NodeError(key.place, f"duplicate key `{key.text}`; it stands already in line {first.line}"))
            else:
                entries[key.text] = (key, value)
        for table in merged:
            for key, value in table.entries:
                entries.setdefault(key.text, (key, value))
        return Table(frame.place, tuple(entries.values()), frame.size)

    def _merge(self, value: Node) -> list[Table]:
        tables = list(value.items) if isinstance(value, Listing) else [value]
        found = [table for table in tables if isinstance(table, Table)]
        if len(found) != len(tables):
            raise NodeError(value.place, "`<<` merges mappings only, e.g. `<<: *defaults`")
        return found


def place_of(text: str, offset: int) -> Place:
    """Line and column of an offset in `text`."""
    before = text[:offset]
    return Place(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def place_inside(source: str, scalar: Scalar, offset: int) -> Place:
    """Where in the file the character at `offset` of a scalar's text stands; escapes and folding are followed, aliases too.

    The characters that are not white space are the same in the file and in the value, in the same order (escapes aside).
    """
    raw = scalar.start
    if scalar.style in {"|", ">"}:
        raw = source.find("\n", raw) + 1
    elif scalar.style:
        raw += 1
    for character in scalar.text[:offset]:
        if not character.isspace():
            raw = _skip_space(source, raw, scalar)
            raw += 2 if _escaped(source, raw, scalar.style) else 1
    if offset < len(scalar.text):
        raw = _skip_space(source, raw, scalar) if not scalar.text[offset].isspace() else raw
    return place_of(source, min(raw, max(scalar.end, scalar.start)))


def _skip_space(source: str, raw: int, scalar: Scalar) -> int:
    while raw < scalar.end and source[raw].isspace():
        raw += 1
    return raw


def _escaped(source: str, raw: int, style: str) -> bool:
    return (style == '"' and source[raw : raw + 1] == "\\") or (style == "'" and source[raw : raw + 2] == "''")


def plain_value(node: Node) -> object:
    """The node as plain Python values, scalars by YAML 1.2's core rules (true/false, null, numbers, else text)."""
    match node:
        case Scalar():
            return _plain_scalar(node)
        case Listing(items=items):
            return [plain_value(item) for item in items]
        case Table(entries=entries):
            return {key.text: plain_value(value) for key, value in entries}


def _plain_scalar(scalar: Scalar) -> object:
    if scalar.style:
        return scalar.text
    if scalar.empty:
        return None
    if scalar.text in {"true", "True", "TRUE"}:
        return True
    if scalar.text in {"false", "False", "FALSE"}:
        return False
    if re.fullmatch(r"[-+]?\d{1,18}", scalar.text):
        return int(scalar.text)
    if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?", scalar.text):
        return float(scalar.text)
    return scalar.text
