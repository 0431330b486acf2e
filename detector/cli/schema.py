"""`detector schema`: the JSON Schema of rule files, for editors and for checks in CI."""

from __future__ import annotations

import json

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help="Print the JSON Schema of rule files; rules/schema.json is the same text.")
def schema() -> None:
    """Print the schema."""
    from detector.adapters.rulefile.schema import make_schema

    print(json.dumps(make_schema(), indent=2))
