"""The list of faults names tests that exist."""

import ast
from pathlib import Path

import pytest

from tests.faults import FAULTS

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_played_by_tests_that_exist(fault: str) -> None:
    """Every test named beside it is a function of that file."""
    assert FAULTS[fault]
    for name in FAULTS[fault]:
        path, _, function = name.partition("::")
        tree = ast.parse((TESTS / path).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert function in defined, name
