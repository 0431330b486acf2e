"""What may be passed over in a long past: a span that is called quiet holds no moment at which the condition is true."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.condition import Scope
from detector.domain.outcome import Trace
from detector.domain.quiet import Bound, find_worst, sift
from detector.domain.reading import divide
from detector.domain.rule import Instant, Ratio

SIGNALS = ("error_rate", "p95", "requests")
SCOPE = Scope(SIGNALS)
FLAGS = {"core": True, "customer_facing": False, "workaround": False}
ODD = "p95 * error_rate > 0.5"
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 2.0]))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    """Conditions of comparisons, flags, && and ||, ! and parentheses, with a part of another form among them."""
    kind = draw(st.sampled_from(["compare", "compare", "flag", "both", "either", "not", "odd"] if depth else ["compare", "flag"]))
    if kind == "odd":
        return ODD
    if kind == "flag":
        return draw(st.sampled_from(sorted(FLAGS)))
    if kind == "compare":
        name = draw(st.sampled_from(SIGNALS))
        other = draw(st.sampled_from(["1", "0.5", "2.0 * p95_baseline", "error_rate_baseline", "-1.0 * requests", "p95 * 0.5"]))
        mark = draw(st.sampled_from([">", ">=", "<", "<=", "==", "!="]))
        return f"{name} {mark} {other}" if draw(st.booleans()) else f"{other} {mark} {name}"
    first = draw(conditions(depth=depth - 1))
    if kind == "not":
        return f"!({first})"
    return f"({first}) {'&&' if kind == 'both' else '||'} {draw(conditions(depth=depth - 1))}"


NUMBERS = (*SIGNALS, "p95_baseline", "error_rate_baseline")


@given(conditions(), st.lists(st.tuples(*[VALUES] * 5), min_size=1, max_size=12))
def test_no_breach_is_passed_over(text: str, moments: list[tuple[float | None, ...]]) -> None:
    """Every moment at which the condition is true is among those to be evaluated, and the whole span is not called quiet."""
    condition = SCOPE.compile(text)
    envelope = condition.find_envelope()
    if envelope is None:
        return
    names = {name for name, _ in envelope.ends.values()}
    rows = [dict(zip(NUMBERS, moment, strict=True)) for moment in moments]
    columns = {name: {step: value for step, row in enumerate(rows) if (value := row[name]) is not None} for name in names}
    bound = Bound(envelope, columns, FLAGS)
    true = {
        step
        for step, row in enumerate(rows)
        if condition.evaluate(
            {**FLAGS, **{name: value for name, value in row.items() if value is not None and name in condition.names}}
        )
    }
    breaches = bound.list_breaches(range(len(rows)))
    assert sorted(set(breaches)) == breaches
    assert true <= set(breaches)
    if _is_whole(text):
        assert true == set(breaches)
    if true:
        assert bound.judge_whole() is True
    signals = {name: column for name, column in columns.items() if not name.endswith("_baseline")}
    if Bound(envelope, signals, FLAGS).judge_whole() is False:
        assert not true


@given(text=conditions(), alerts=st.lists(st.tuples(*[VALUES] * 5), min_size=1, max_size=20), unknown=st.booleans())
def test_many_alerts_are_judged_like_each_of_them(text: str, alerts: list[tuple[float | None, ...]], *, unknown: bool) -> None:
    """An alert is left out exactly where nothing that its baselines may turn out to be makes the condition true."""
    condition = SCOPE.compile(text)
    envelope = condition.find_envelope()
    if envelope is None:
        return
    known = SIGNALS if unknown else NUMBERS
    rows = {
        (("service", f"{number}"),): {name: value for name, value in zip(NUMBERS, values, strict=True) if value is not None}
        for number, values in enumerate(alerts)
    }
    members = [
        (labels, {variable: row[name] for variable, (name, _) in envelope.ends.items() if name in row and name in known})
        for labels, row in rows.items()
    ]
    found = set(sift(envelope, FLAGS, members, unknown=unknown))
    missing = [name for name in NUMBERS if name not in known and name in condition.names]
    for labels, row in rows.items():
        given_values = {name: value for name, value in row.items() if name in known and name in condition.names}
        guesses = product([None, 0.0, 0.5, 1.0, 2.0], repeat=len(missing))
        bound = [{name: value for name, value in zip(missing, guess, strict=True) if value is not None} for guess in guesses]
        answers = [condition.evaluate({**FLAGS, **given_values, **more}) for more in bound]
        assert labels in found or True not in answers
        if _is_whole(text):
            assert labels not in found or answers[0] is not False
            assert unknown or labels not in found or answers[0] is True


def _is_whole(text: str) -> bool:
    """Whether nothing in it is of a form that the envelope leaves to others."""
    return ODD not in text


COUNTS = st.dictionaries(st.integers(0, 9), st.sampled_from([-2.0, 0.0, 1.0, 3.0, 7.0, 1e-300, 1e17]), max_size=10)


@given(COUNTS, COUNTS, st.sampled_from([None, 0.0, 2.0]), st.sampled_from([None, 0.2, 0.5, 0.95]), st.sampled_from([1, -1]))
def test_no_value_is_worse_than_the_worst(
    parts: dict[int, float], totals: dict[int, float], least: float | None, confidence: float | None, direction: int
) -> None:
    """Whatever was counted, no share lies beyond the worst, and there is a worst where there is a share."""
    signal = Ratio("error_rate", "a", "b", min_total=least, confidence=confidence)
    shares = divide(signal, parts, totals, frozenset())
    values = (shares.values if shares.lower is None else shares.lower).values()
    worst = find_worst(signal, (Trace(parts), Trace(totals)), direction)
    assert (worst is None) == (not values)
    if worst is not None:
        assert all(value * direction <= worst * direction for value in values)
    level = find_worst(Instant("p95", "p95"), (Trace(parts),), direction)
    assert level == (None if not parts else max(parts.values()) if direction > 0 else min(parts.values()))


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("error_rate > 0.01 && requests >= 5", {"error_rate": 1, "requests": 1}),
        ("!(p95 < 0.4) || core", {"p95": 1}),
        ("requests < 0.05 * requests_baseline", {"requests": -1, "requests_baseline": 1}),
        ("0.01 < error_rate", {"error_rate": 1}),
        ("p95 > -2.0 * p95_baseline", {"p95": 1, "p95_baseline": 1}),
        ("requests < 0.05 * requests_baseline && requests_baseline > 1", {"requests": -1, "requests_baseline": 1}),
        ("p95 > 1.0 && requests + p95 > 3.0", {"p95": 1}),
        ("!(p95 > 1.0 || core == customer_facing)", {"p95": -1}),
        ("p95 > 1.0 && (core ? p95 > 1.0 : p95 > 2.0)", {"p95": 1}),
    ],
)
def test_ends(text: str, ends: dict[str, int]) -> None:
    """Which way each number moves the condition."""
    envelope = SCOPE.compile(text).find_envelope()
    assert envelope is not None
    assert envelope.ends == {name: (name, way) for name, way in ends.items()}


@pytest.mark.parametrize("text", ["p95 >= 1.0 && p95 < 2.0", "p95 == 1.0", "!(p95 != 1.0)", "core && !(p95 < 1.0 || 2.0 < p95)"])
def test_a_number_that_drives_both_ways_stands_for_its_two_ends(text: str) -> None:
    """The greatest and the least are two variables, whose names no signal has."""
    envelope = Scope(("p95", "p95_least")).compile(text).find_envelope()
    assert envelope is not None
    assert envelope.ends == {"p95": ("p95", 1), "p95_least_": ("p95", -1)}
    assert envelope.condition.evaluate({"p95": 5.0, "p95_least_": 0.0, "core": True})
    assert not envelope.condition.evaluate({"p95": 5.0, "p95_least_": 3.0, "core": True})


@pytest.mark.parametrize(
    "text",
    [
        "p95 * p95 > 1.0",
        "core ? p95 > 1.0 : p95 > 2.0",
        "core && customer_facing ? p95 > 1.0 : p95 > 2.0 && requests > 3.0",
        "p95 > 1.0 || p95 + requests > 1.0",
        "(p95) > 1.0",
        "!core == customer_facing",
        "p95 > requests / 2.0",
        "p95 > 0.0 * requests",
        "p95 in [1.0, 2.0]",
        "true",
        "!" * 29 + "(!core)",  # with its brackets written out more than CEL takes
    ],
)
def test_other_forms_rule_nothing_out(text: str) -> None:
    """Then every moment is evaluated."""
    assert Scope(SIGNALS).compile(text).find_envelope() is None


def test_what_is_too_deep_is_a_part_of_another_form() -> None:
    """It rules nothing out, and what stands beside it still does."""
    envelope = SCOPE.compile("!" * 200 + "core && p95 > 1.0").find_envelope()
    assert envelope is not None
    assert envelope.condition.evaluate({"p95": 2.0}) is True
    assert envelope.condition.evaluate({"p95": 1.0}) is False
