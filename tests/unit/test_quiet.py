"""What may be passed over in a long past: a span that is called quiet holds no moment at which the condition is true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.condition import Scope
from detector.domain.quiet import Bound

SIGNALS = ("error_rate", "p95", "requests")
SCOPE = Scope(SIGNALS)
FLAGS = {"core": True, "customer_facing": False, "workaround": False}
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 2.0]))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    """Conditions of comparisons, flags, && and ||, ! and parentheses."""
    kind = draw(st.sampled_from(["compare", "compare", "flag", "both", "either", "not"] if depth else ["compare", "flag"]))
    if kind == "flag":
        return draw(st.sampled_from(sorted(FLAGS)))
    if kind == "compare":
        name = draw(st.sampled_from(SIGNALS))
        other = draw(st.sampled_from(["1", "0.5", "2.0 * p95_baseline", "error_rate_baseline", "-1.0 * requests", "p95 * 0.5"]))
        mark = draw(st.sampled_from([">", ">=", "<", "<=", "=="]))
        return f"{name} {mark} {other}" if draw(st.booleans()) else f"{other} {mark} {name}"
    first = draw(conditions(depth=depth - 1))
    if kind == "not":
        return f"!({first})"
    return f"({first}) {'&&' if kind == 'both' else '||'} {draw(conditions(depth=depth - 1))}"


@given(conditions(), st.lists(st.tuples(*[VALUES] * 5), min_size=1, max_size=12))
def test_no_breach_is_passed_over(text: str, moments: list[tuple[float | None, ...]]) -> None:
    """Every moment at which the condition is true is among those to be evaluated, and the whole span is not called quiet."""
    condition = SCOPE.compile(text)
    if condition.directions is None:
        return
    names = [name for name in (*SIGNALS, "p95_baseline", "error_rate_baseline") if name in condition.names]
    rows = [dict(zip((*SIGNALS, "p95_baseline", "error_rate_baseline"), moment, strict=True)) for moment in moments]
    columns = {name: {step: value for step, row in enumerate(rows) if (value := row[name]) is not None} for name in names}
    bound = Bound(condition, condition.directions, columns, FLAGS)
    true = [
        step
        for step, row in enumerate(rows)
        if condition.evaluate({**FLAGS, **{name: value for name, value in row.items() if value is not None and name in names}})
    ]
    assert bound.list_breaches(range(len(rows))) == true
    if true:
        assert bound.judge_whole() is True
    signals = {name: column for name, column in columns.items() if not name.endswith("_baseline")}
    if Bound(condition, condition.directions, signals, FLAGS).judge_whole() is False:
        assert not true


@pytest.mark.parametrize(
    ("text", "directions"),
    [
        ("error_rate > 0.01 && requests >= 5", {"error_rate": 1, "requests": 1}),
        ("!(p95 < 0.4) || core", {"p95": 1}),
        ("requests < 0.05 * requests_baseline", {"requests": -1, "requests_baseline": 1}),
        ("0.01 < error_rate", {"error_rate": 1}),
        ("p95 > -2.0 * p95_baseline", {"p95": 1, "p95_baseline": 1}),
        ("requests < 0.05 * requests_baseline && requests_baseline > 1", {"requests": -1, "requests_baseline": 1}),
    ],
)
def test_directions(text: str, directions: dict[str, int]) -> None:
    """Which way each number moves the condition."""
    assert SCOPE.compile(text).directions == directions


@pytest.mark.parametrize(
    "text",
    [
        "p95 * p95 > 1.0",
        "p95 == 1.0",
        "p95 > 1.0 && p95 < 2.0",
        "core ? p95 > 1.0 : p95 > 2.0",
        "p95 + requests > 1.0",
        "(p95) > 1.0",
        "p95 > requests / 2.0",
        "p95 > 0.0 * requests",
    ],
)
def test_other_forms_have_no_directions(text: str) -> None:
    """Then every moment is evaluated."""
    assert SCOPE.compile(text).directions is None
