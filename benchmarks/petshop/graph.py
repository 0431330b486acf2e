"""`python -m benchmarks.petshop.graph SCENARIO` writes rules/services.yaml: the call graph of graph.csv as a catalogue."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import yaml

SERVICES = Path(__file__).parent / "rules" / "services.yaml"
FRONT = "PetSite"
_HEAD = "# Who calls whom, from graph.csv of the PetShop data set (CC-BY-4.0): `python -m benchmarks.petshop.graph SCENARIO`.\n"


def read_graph(path: Path) -> dict[str, list[str]]:
    """Callees by caller, of the matrix in graph.csv: a row calls the columns that are above 0."""
    head, *rows = csv.reader(path.open())
    return {row[0]: [name for name, value in zip(head[1:], row[1:], strict=True) if float(value or 0) > 0] for row in rows}


def write_services(graph: dict[str, list[str]]) -> str:
    """The catalogue as YAML; the front end is the core service that customers see."""
    services: dict[str, dict[str, object]] = {}
    for name, callees in sorted(graph.items()):
        entry: dict[str, object] = {"core": True} if name == FRONT else {"customer_facing": False}
        services[name] = entry | ({"depends_on": callees} if callees else {})
    return _HEAD + yaml.safe_dump({"services": services}, sort_keys=False, width=1000)


if __name__ == "__main__":
    SERVICES.write_text(write_services(read_graph(Path(sys.argv[1]) / "graph.csv")))
