"""Text that may hold anything is made fit to travel."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from detector.domain.text import clean_line, clean_value, cut_text

SURROGATES = st.text(st.characters(), max_size=60)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | SURROGATES | st.binary(max_size=9)
ANYTHING = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SURROGATES, inner, max_size=3))


@given(text=SURROGATES)
def test_a_line_is_one_line_of_valid_text(text: str) -> None:
    """No control character, no line end, encodable; cleaning again changes nothing."""
    line = clean_line(text)
    assert line.encode().decode() == line
    assert len(line.splitlines()) <= 1
    assert clean_line(line) == line


def test_marks_that_reorder_or_hide_are_replaced() -> None:
    """NUL, escape, half surrogates and direction overrides become the replacement character."""
    assert clean_line("a\x00b\x1bc\ud800d\u202ee") == "a\ufffdb\ufffdc\ufffdd\ufffde"


def test_a_cut_is_told_and_within_the_limit() -> None:
    """What fits stays; what does not ends in a mark."""
    assert cut_text("abc", 3) == "abc"
    assert cut_text("a" * 20, 10) == "aaaa [cut]"


@given(value=ANYTHING)
def test_any_value_becomes_strict_json(value: object) -> None:
    """NaN, huge numbers, bytes and odd names end as JSON that every reader takes."""
    assert json.dumps(clean_value(value), allow_nan=False, ensure_ascii=False).encode()
