"""Regular expressions of matchers: the same answers as Python's engine gives, in time that no pattern can blow up."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain import pattern

_ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", "-", "(?i:A)", r"\b", "^", "$"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: f"({'|'.join(each)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{2,}"])).map(
            lambda each: f"(?:{each[0]}){each[1]}"
        ),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.text("abA1-", max_size=7))
def test_the_answer_is_that_of_python(expression: str, text: str) -> None:
    """Whichever way it is found."""
    pattern.check(expression)
    assert pattern.fullmatch(expression, text) is (re.fullmatch(expression, text) is not None)


@pytest.mark.parametrize(
    "expression",
    [
        *("(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*a){12}", "a*a*a*a*a*b", "(?:a?){40}a{40}", "(([a-z]+-?)*,)*"),
        *("(?:){4000000000}", "(?:(?:(?:){3000}){3000}){3000}", "(?:a{0}){4000000000}", "(?:|a){1000}"),
    ],
)
def test_no_pattern_takes_long(expression: str) -> None:
    """Python's engine would need years for some of these."""
    pattern.check(expression)
    began = time.monotonic()
    pattern.fullmatch(expression, "a" * 200 + "!")
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (r"(a)\1", "groupref is not known here, as in RE2"),
        ("(?=a)a", "assert is not known here, as in RE2"),
        ("((a{99}){99}){99}", "repeats too much"),
        ("a" * 1001, "at most 1000 characters"),
        ("(", "is not a regular expression"),
    ],
)
def test_what_is_refused_is_named(expression: str, words: str) -> None:
    """What RE2 has not, and what would be too large."""
    with pytest.raises(ValueError, match=re.escape(words)):
        pattern.check(expression)
