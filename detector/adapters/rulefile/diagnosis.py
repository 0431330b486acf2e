"""The `diagnosis:` of a service: checked here, read by `domain.inquiry`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from detector.adapters.rulefile.query import check_query
from detector.adapters.rulefile.reader import Fields, quote

if TYPE_CHECKING:
    from detector.adapters.rulefile.reader import Reader

WINDOW_SECONDS = 300.0
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):(\d{1,5})")
_HIGHEST_PORT = 65_535
_FREE = {"traffic_spike", "error_rate"}  # whose `above` alone is the limit of the check's own measurement


def build_diagnosis(reader: Reader, fields: Fields | None) -> dict[str, Any]:
    """Plain values by check, of those that were good."""
    if fields is None:
        return {}
    return {name: _build_check(reader, name, check) for name, check in fields.values.items()}


def _build_check(reader: Reader, name: str, fields: Fields) -> dict[str, Any]:
    values = dict(fields.values)
    if name == "recent_errors":
        _check_logs(reader, fields)
        return values
    if fields.has("query") and fields.has("queries"):
        reader.fault(fields.places["queries"], "`queries` beside `query`; write one of them")
    if "query" in values:
        values["query"] = _take_query(reader, fields)
    elif name not in _FREE:
        for limit in ("above", "below", "unit"):
            if fields.has(limit):
                reader.fault(fields.places[limit], f"`{limit}` without a `query`; the defaults have limits of their own")
    if "queries" in values:
        values["queries"] = {
            key: {**item.values, "query": _take_query(reader, item)}
            for key, item in values["queries"].items()
            if "query" in item.values
        }
    if "connect" in values:
        _check_address(reader, fields, values["connect"])
    return values


def _take_query(reader: Reader, fields: Fields) -> str:
    node = fields.values["query"]
    check_query(reader, node, WINDOW_SECONDS)
    if not fields.has("above") and not fields.has("below"):
        reader.fault(fields.places["query"], "`query` without a limit; add `above` or `below`, else nothing would be bad")
    text: str = node.text
    return text


def _check_address(reader: Reader, fields: Fields, address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[1]) <= _HIGHEST_PORT:
        reader.fault(fields.places["connect"], f"`connect` is {quote(address)}; write host:port, e.g. db.internal:5432")


def _check_logs(reader: Reader, fields: Fields) -> None:
    if fields.has("loki") == fields.has("file"):
        reader.fault(fields.node.place, "`recent_errors` needs either `loki` or `file`")
    pattern = fields.get("pattern")
    if pattern is None:
        return
    try:
        re.compile(pattern)
    except re.error as error:
        reader.fault(
            fields.places["pattern"], f"`pattern` is {quote(pattern)}: {error}; write a regular expression, e.g. ERROR|FATAL"
        )
