"""The list of faults names tests that exist, that end with the oracle, and the page made from it is up to date."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.faults import ROWS, Row
from tests.kit.reliability import PAGE, make_page

TESTS = Path(__file__).resolve().parents[1]
ORACLES = {"check_oracle", "judge", "play_rounds", "play_barrage"}
WITHOUT_ORACLE = {
    "acceptance/test_channel.py": "measures latency, or plays what was never paged, or watches channels beside PagerDuty",
    "acceptance/test_road.py": "channels beside PagerDuty",
    "acceptance/test_replica.py": "three daemons; it counts alerts and incidents at its end itself",
    "soak/test_replica.py": "as above",
    "soak/test_dead_channel.py": "a dispatcher on virtual time",
}


@cache
def _read(path: str) -> dict[str, ast.AST]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def _reach(path: str, function: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether the function calls an oracle, itself or through functions of its file."""
    for node in ast.walk(_read(path)[function]):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ORACLES:
            return True
        if called in _read(path) and called not in seen and _reach(path, called, seen | {function}):
            return True
    return False


def test_every_row_is_there() -> None:
    """1 to 34, in order, each with a test of the running process."""
    assert [row.number for row in ROWS] == list(range(1, 35))
    assert [row.number for row in ROWS if not row.real] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_a_fault_is_played_by_tests_that_exist(row: Row) -> None:
    """Every test named beside it is a function of that file."""
    for name in row.tests:
        path, _, function = name.partition("::")
        assert function in _read(path), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_a_test_of_the_process_ends_with_the_oracle(row: Row) -> None:
    """Or it is said why not."""
    for name in row.real:
        path, _, function = name.partition("::")
        assert path in WITHOUT_ORACLE or _reach(path, function), f"{name} does not ask the oracle"


def test_the_page_is_made_from_the_list() -> None:
    """docs/reliability.md is what the list and the recorded results make."""
    assert PAGE.read_text() == make_page(), "out of date: python -m tests.kit.reliability write"
