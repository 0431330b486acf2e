"""The dashboards of deploy/ are what Grafana's own types say: every key known, every value of its type, and nothing lost."""

from __future__ import annotations

import enum
import json
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models import prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARDS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "grafana").glob("*.json"))
# read by the data source's plugin, not by the dashboard: Grafana, packages/grafana-prometheus/src/annotations.ts
OF_PROMETHEUS = {"titleFormat", "step", "tagKeys", "textFormat", "useValueForTime"}


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A dashboard as it lies there."""
    plugins.register_default_plugins()
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


def _list_lost(given: object, kept: object, path: str) -> Iterator[str]:
    match given, kept:
        case dict(), dict():
            for name, value in given.items():
                if name in kept:
                    yield from _list_lost(value, kept[name], f"{path}.{name}")
                elif not (path.startswith(".annotations.list") and name in OF_PROMETHEUS):
                    yield f"{path}.{name}: Grafana knows no such key"
        case list(), list() if len(given) == len(kept):
            for number, (value, other) in enumerate(zip(given, kept, strict=True)):
                yield from _list_lost(value, other, f"{path}[{number}]")
        case _ if given != kept:
            yield f"{path}: {given!r} is read as {kept!r}"


def _list_wrong(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Values that are not of the type that Grafana's schema gives them."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        faults = [list(_list_wrong(value, each, path)) for each in arguments]
        if all(faults):
            yield from faults[0]
    elif origin in {list, dict}:
        yield from _list_wrong_items(value, origin, arguments[-1], path)
    elif origin is typing.Literal:
        yield from () if value in arguments else (f"{path}: {value!r} is none of {arguments}",)
    elif isinstance(hint, type) and hint is not object:
        yield from _list_wrong_fields(value, hint, path)


def _list_wrong_items(value: Any, kind: type, inner: Any, path: str) -> Iterator[str]:
    if not isinstance(value, kind):
        yield f"{path}: {value!r} is no {kind.__name__}"
    else:
        items: Any = value
        for name, each in items.items() if kind is dict else enumerate(items):
            yield from _list_wrong(each, inner, f"{path}.{name}")


def _list_wrong_fields(value: Any, hint: type, path: str) -> Iterator[str]:
    wanted: tuple[type, ...] = (int, float) if hint is float else (hint,)
    if issubclass(hint, enum.Enum):
        if value not in {*hint, *(member.value for member in hint)}:  # the types leave some as they are written
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        yield f"{path}: {value!r} is no {hint.__name__}"
    elif hint.__module__.startswith("grafana"):
        for name, inner in typing.get_type_hints(type(value)).items():
            yield from _list_wrong(getattr(value, name), inner, f"{path}.{name}")


def test_every_key_is_one_of_grafanas(given: dict[str, Any]) -> None:
    """Read and written by Grafana's types, the dashboard is the same; the keys of annotations are also those of its data source."""
    kept = json.loads(json.dumps(schema.Dashboard.from_json(given), cls=JSONEncoder))
    assert list(_list_lost(given, kept, "")) == []


def test_every_value_is_of_its_type(given: dict[str, Any]) -> None:
    """Down to the queries, which are those of the Prometheus data source."""
    read = schema.Dashboard.from_json(given)
    assert list(_list_wrong(read, schema.Dashboard, "")) == []
    queries = [query for panel in read.panels or [] if isinstance(panel, schema.Panel) for query in panel.targets or []]
    assert len(queries) >= len(given["panels"])
    assert {type(query) for query in queries} == {prometheus.Dataquery}
    assert [wrong for query in queries for wrong in _list_wrong(query, prometheus.Dataquery, "query")] == []


def test_a_wrong_dashboard_is_found(given: dict[str, Any]) -> None:
    """The checks of this module can fail: a key that is none, a number that is a text."""
    given["panels"][0] |= {"tilte": "x", "gridPos": {"x": "0", "y": 0, "w": 6, "h": 4}}
    read = schema.Dashboard.from_json(given)
    kept = json.loads(json.dumps(read, cls=JSONEncoder))
    assert any("tilte" in line for line in _list_lost(given, kept, ""))
    assert any("grid_pos" in line or "panels" in line for line in _list_wrong(read, schema.Dashboard, ""))


def test_incidents_and_deploys_are_marked(given: dict[str, Any]) -> None:
    """Both dashboards draw them over every panel."""
    assert [each["name"] for each in given["annotations"]["list"]] == ["incidents", "deploys"]
    assert all(each["enable"] and each["expr"] for each in given["annotations"]["list"])
