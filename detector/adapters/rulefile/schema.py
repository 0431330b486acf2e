"""JSON Schema (draft 2020-12) of rule files, made from the table of keys that the reader checks by.

`detector schema` prints it; `rules/schema.json` is the same text, so that editors complete and check the shipped files.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from detector.adapters.rulefile import key
from detector.adapters.rulefile.key import Choice, Either, Key, Kind, ListOf, MapOf, Section, Shape
from detector.domain.duration import DURATION_PATTERN

Schema: TypeAlias = dict[str, Any]

_WORDS = ["string", "number", "boolean"]  # `team: 7` is text to the reader, a number to an editor
_KINDS: dict[Kind, Schema] = {
    Kind.TEXT: {"type": _WORDS},
    Kind.TEMPLATE: {"type": "string"},
    Kind.IDENTIFIER: {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    Kind.DURATION: {"anyOf": [{"type": "string", "minLength": 1, "pattern": f"^(?:0|{DURATION_PATTERN})$"}, {"const": 0}]},
    Kind.POSITIVE: {"type": "number", "exclusiveMinimum": 0},
    Kind.NUMBER: {"type": "number"},
    Kind.SHARE: {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    Kind.FLAG: {"type": "boolean"},
    Kind.CONDITION: {"type": ["string", "boolean"]},
    Kind.QUERY: {"type": ["string", "number"]},
    Kind.URL: {"type": "string", "pattern": "^https?://[^\\s/]+"},
    Kind.STATUS: {"type": "integer", "minimum": 100, "maximum": 599},
    Kind.TIME: {"type": "string"},
    Kind.PLAIN: {},
}
_REQUIRED: dict[str, Schema] = {
    key.RULE.what: {"oneOf": [{"required": ["signals", "open"]}, {"required": ["slo"]}]},
    key.MAINTENANCE.what: {"oneOf": [{"required": ["rrule", "lasts"]}, {"required": ["from", "until"]}]},
    key.GROUP_RULE.what: {"oneOf": [{"required": ["alert"]}, {"required": ["record"]}]},
}
_LENIENT = {key.GROUPS_FILE.what, key.GROUP.what, key.GROUP_RULE.what}


def make_schema() -> Schema:
    """The schema as JSON values."""
    definitions: Schema = {}
    own = _describe(key.FILE, definitions)
    groups = _describe(key.GROUPS_FILE, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detector rule file",
        "if": {"type": "object", "required": ["groups"]},
        "then": groups,
        "else": {"anyOf": [own, {"type": "null"}]},
        "$defs": dict(sorted(definitions.items())),
    }


def _describe(shape: Shape, definitions: Schema) -> Schema:
    match shape:
        case Kind():
            return dict(_KINDS[shape])
        case Choice(words=words):
            return {"enum": list(words)}
        case Either(scalar=scalar, section=section):
            return {"anyOf": [_describe(scalar, definitions), _describe(section, definitions)]}
        case MapOf(value=value, key=kind):
            names = {"propertyNames": _KINDS[kind]} if kind is Kind.IDENTIFIER else {}
            return {"type": "object", **names, "additionalProperties": _describe(value, definitions)}
        case ListOf():
            return _describe_list(shape, definitions)
        case Section():
            name = shape.what.removeprefix("a ").removeprefix("an ").replace(" ", "-")
            if name not in definitions:
                definitions[name] = _describe_section(shape, definitions)
            return {"$ref": f"#/$defs/{name}"}


def _describe_list(shape: ListOf, definitions: Schema) -> Schema:
    item = _describe(shape.item, definitions)
    listing: Schema = {"type": "array", "items": item}
    if shape.least:
        listing["minItems"] = shape.least
    if shape.most is not None:
        listing["maxItems"] = shape.most
    return {"anyOf": [item, listing]} if shape.single else listing


def _describe_section(section: Section, definitions: Schema) -> Schema:
    schema: Schema = {"type": "object"}
    if section.what not in _LENIENT:
        schema["additionalProperties"] = False
    schema["properties"] = {known.name: _describe_key(known, definitions) for known in section.keys}
    required = [known.name for known in section.keys if known.required]
    if required:
        schema["required"] = required
    return {**schema, **_REQUIRED.get(section.what, {})}


def _describe_key(known: Key, definitions: Schema) -> Schema:
    return {"description": known.about, **_describe(known.shape, definitions)}
