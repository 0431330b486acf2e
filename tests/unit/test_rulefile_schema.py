"""The JSON Schema of rule files: the same rules as the loader's, from the same table."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from detector.adapters.rulefile.node import parse_yaml, plain_value
from detector.adapters.rulefile.schema import make_schema

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    path
    for path in [*(ROOT / "rules").rglob("*.yaml"), *(ROOT / "rules").glob("*.example")]
    if not path.name.endswith(".test.yaml")
)


def find_faults(text: str) -> list[str]:
    """What the schema says of a file."""
    root, _ = parse_yaml(text)
    validator = jsonschema.Draft202012Validator(make_schema())
    return [error.message for error in validator.iter_errors(None if root is None else plain_value(root))]


def test_the_schema_is_a_schema() -> None:
    """It follows draft 2020-12 itself."""
    jsonschema.Draft202012Validator.check_schema(make_schema())


def test_the_shipped_schema_is_up_to_date() -> None:
    """rules/schema.json is what `detector schema` prints; run `detector schema > rules/schema.json` after a change."""
    assert (ROOT / "rules" / "schema.json").read_text() == json.dumps(make_schema(), indent=2) + "\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_fulfil_it(path: Path) -> None:
    """What the loader takes, an editor takes."""
    assert find_faults(path.read_text()) == []


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_shipped_files_name_it(path: Path) -> None:
    """Their first line leads an editor to the schema, for library files from where they are copied to."""
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize(
    "name",
    [
        *("unknown-key", "unknown-top-level-key", "missing-name", "missing-signals-and-open", "duration-without-unit"),
        *("duration-unknown-unit", "severity-unknown-name", "no-data-unknown-word", "ratio-with-one-query", "slo-beside-signals"),
        *("not-a-mapping", "rules-not-a-list", "group-without-expr"),
    ],
)
def test_faults_of_form_are_seen_by_an_editor(name: str) -> None:
    """What is wrong with keys and types is wrong by the schema too."""
    assert find_faults((ROOT / "tests" / "broken" / f"{name}.yaml").read_text())


def test_every_key_is_explained() -> None:
    """An editor shows a sentence for each key."""

    def walk(schema: Any) -> list[str]:
        if not isinstance(schema, dict):
            return []
        missing = [name for name, key in schema.get("properties", {}).items() if not key.get("description", "").endswith(".")]
        return [*missing, *(name for value in schema.values() for name in walk(value))]

    assert walk(make_schema()["$defs"]) == []
