"""The fuzzing of tests/unit/test_fuzz.py for far longer."""

from __future__ import annotations

import os

import pytest

from tests.kit.fuzz import TARGETS, run
from tests.kit.fuzzweb import run_site

EXAMPLES = int(os.environ.get("DETECTOR_TEST_EXAMPLES", "20000"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_is_read_raises_for_long(name: str) -> None:
    """As in tests/unit/test_fuzz.py; DETECTOR_TEST_EXAMPLES says how many."""
    run(TARGETS[name], EXAMPLES)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_request_is_answered_500_for_long() -> None:
    """As in tests/unit/test_fuzz.py."""
    run_site(EXAMPLES)
