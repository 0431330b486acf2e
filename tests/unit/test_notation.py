"""promtool's notation of input series, held against promtool's documentation and, in test_cli_test, against promtool itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain.notation import Mark, NotationError, Sample, read_series, read_values

MISSING, STALE = Mark.MISSING, Mark.STALE


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("1 2 3", (1, 2, 3)),
        ("0+10x3", (0, 10, 20, 30)),
        ("-2+4x3", (-2, 2, 6, 10)),
        ("1-2x4", (1, -1, -3, -5, -7)),
        ("5x3", (5, 5, 5, 5)),
        ("5x0", (5,)),
        ("1 _ 3 _x2 4", (1, MISSING, 3, MISSING, MISSING, 4)),
        ("_x0 1", (1,)),
        ("1 stale 2", (1, STALE, 2)),
        ("1e3 -.5 +2", (1000, -0.5, 2)),
        ("1e2+1e1x1", (100, 110)),
        ("Inf -Inf", (math.inf, -math.inf)),
        ("  \n", ()),
    ],
)
def test_reads(text: str, samples: tuple[Sample, ...]) -> None:
    """The examples of promtool's documentation among them."""
    assert read_values(text) == samples


def test_reads_nan() -> None:
    """NaN is a value, not the end of the series."""
    (value,) = read_values("NaN")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "offset"), [("1 2x", 2), ("1+x3", 0), ("0 1 nope", 4), ("1+2", 0), ("_y", 0), ("1--2x3", 0), ("1x999999999999", 0)]
)
def test_refuses(text: str, offset: int) -> None:
    """Where, and what can be written instead."""
    with pytest.raises(NotationError) as caught:
        read_values(text)
    assert caught.value.offset == offset


@given(st.integers(-50, 50), st.integers(0, 20), st.booleans(), st.integers(0, 30))
def test_steps_add_up(first: int, step: int, falls: bool, count: int) -> None:  # noqa: FBT001 - drawn
    """a+bxn and a-bxn are n + 1 samples, each b apart."""
    found = read_values(f"{first}{'-' if falls else '+'}{step}x{count}")
    assert found == tuple(float(first + (-step if falls else step) * index) for index in range(count + 1))


@pytest.mark.parametrize(
    ("text", "name", "labels"),
    [
        ("up", "up", ()),
        ("up{}", "up", ()),
        ('up{job="a", instance="b:9100",}', "up", (("instance", "b:9100"), ("job", "a"))),
        ('{__name__="up",job="a"}', "up", (("job", "a"),)),
        ("up{job='a',empty=\"\"}", "up", (("job", "a"),)),
        (r'up{path="a\"b\\c}"}', "up", (("path", 'a"b\\c}'),)),
    ],
)
def test_reads_series(text: str, name: str, labels: tuple[tuple[str, str], ...]) -> None:
    """Metric and labels, sorted; empty values are none."""
    assert read_series(text) == (name, labels)


@pytest.mark.parametrize("text", ["", "{}", "up{job=a}", 'up{job="a"', 'up{job="a" b="c"}', "up job", 'up{a="1",a="2"}', "up{} x"])
def test_refuses_series(text: str) -> None:
    """What is no series is refused, and never with an error of another kind."""
    with pytest.raises(NotationError):
        read_series(text)


@given(st.text(alphabet="up{}job=\"a,_x1 +-\\'", max_size=30))
def test_never_fails_otherwise(text: str) -> None:
    """Whatever stands there: a result or a NotationError."""
    for read in (read_series, read_values):
        offset = 0
        try:
            read(text)
        except NotationError as error:
            offset = error.offset
        assert 0 <= offset <= len(text)
