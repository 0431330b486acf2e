"""Conditions: what CEL must do for us, and what we read from their text."""

import math
from collections.abc import Mapping

import pytest
from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.condition import LONGEST, ConditionError, Present, Scope
from detector.domain.condition import Comparison

SCOPE = Scope(("error_rate", "p95"))
KNOWN = "error_rate, p95, error_rate_baseline, p95_baseline, core, customer_facing, workaround"
ALIASED = Scope(("error_rate",), (("affected_users", "error_rate"), ("affected_users_baseline", "error_rate_baseline")))
RECOVER = "!open && (error_rate < 0.001 || error_rate <= 1.2 * error_rate_baseline) && p95 <= 1.2 * p95_baseline"


class TestPinnedCel:
    """The contract of cel-expr-python: a new version that breaks one of these needs changes behind the module."""

    @pytest.fixture
    def environment(self) -> "cel.Env":
        """Two numbers and a boolean."""
        return cel.NewEnv(variables={"a": cel.Type.DOUBLE, "b": cel.Type.DOUBLE, "core": cel.Type.BOOL})

    @pytest.mark.parametrize(("text", "answer"), [("a > 1.0", True), ("a < 1.0", False), ("core && a > b * 1.5", True)])
    def test_an_answer_is_a_bool_itself(self, environment: "cel.Env", text: str, *, answer: bool) -> None:
        """True and False come back as Python's own, so that `is` tells them from everything else."""
        assert environment.compile(text).eval(data={"a": 2.0, "b": 1.0, "core": True}).value() is answer

    @pytest.mark.parametrize("text", ["a > 1.0", "core", "core && a > 1.0", "a > 1.0 || core", "!core"])
    def test_a_missing_variable_is_an_error_value(self, environment: "cel.Env", text: str) -> None:
        """A missing variable raises nothing: an error comes back, as a string that would pass for true."""
        result = environment.compile(text).eval(data={})
        assert result.type() == cel.Type.ERROR
        assert isinstance(result.value(), str)

    @pytest.mark.parametrize(
        ("text", "answer"),
        [("false && a > 1.0", False), ("a > 1.0 && false", False), ("true || a > 1.0", True), ("a > 1.0 || true", True)],
    )
    def test_logic_absorbs_errors_from_either_side(self, environment: "cel.Env", text: str, *, answer: bool) -> None:
        """What the known side decides is decided."""
        assert environment.compile(text).eval(data={}).value() is answer

    @pytest.mark.parametrize("data", [{"a": None}, {"a": "2.0"}])
    def test_a_value_of_another_type_is_an_error_value(self, environment: "cel.Env", data: Mapping[str, object]) -> None:
        """A binding that is no number raises nothing either."""
        assert environment.compile("a > 1.0").eval(data=data).type() == cel.Type.ERROR

    def test_bindings_that_nobody_declared_are_ignored(self, environment: "cel.Env") -> None:
        """All signals may be bound, whatever the condition names."""
        assert environment.compile("a > 1.0").eval(data={"a": 2.0, "more": 1.0}).value() is True

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("zz > 1.0", "1:1: undeclared reference to 'zz'"),
            ("core &&\n zz > 1.0", "2:2: undeclared reference to 'zz'"),
            ('"é😀" == "" && zz', "1:15: undeclared reference to 'zz'"),
            ("a > 1", "1:3: found no matching overload for '_>_' applied to '(double, int)'"),
            ("a > 1.0 and core", "1:9: Syntax error: mismatched input 'and'"),
            ("a >", "1:4: Syntax error: mismatched input '<EOF>'"),
        ],
    )
    def test_faults_say_where(self, environment: "cel.Env", text: str, place: str) -> None:
        """A compile error is a RuntimeError that names line and column, counted in characters from 1."""
        with pytest.raises(RuntimeError) as caught:
            environment.compile(text)
        assert f"ERROR: <input>:{place}" in str(caught.value)

    def test_the_type_of_the_result_is_known(self, environment: "cel.Env") -> None:
        """`return_type` tells a condition from a number before anything is evaluated."""
        assert [environment.compile(text).return_type().name() for text in ("a > 1.0", "a", "'x'")] == ["BOOL", "DOUBLE", "STRING"]

    def test_depth_is_bounded(self, environment: "cel.Env") -> None:
        """A deep expression is refused, it does not overflow the stack."""
        with pytest.raises(RuntimeError, match="recursion limit"):
            environment.compile("(" * 5000 + "core" + ")" * 5000)


@pytest.mark.parametrize(
    ("text", "bindings", "answer"),
    [
        ("error_rate > 0.01", {"error_rate": 0.02}, True),
        ("error_rate > 0.01", {"error_rate": 0.01}, False),
        ("error_rate > 0.01", {}, None),
        ("p95 > 1", {"p95": 1.5}, True),
        ("p95 > 0x10", {"p95": 17.0}, True),
        ("1 < p95 && p95 < 1e3", {"p95": 2.0}, True),
        ("core && error_rate > 0.01", {"core": False}, False),
        ("core && error_rate > 0.01", {"core": True}, None),
        ("core || error_rate > 0.01", {"core": True}, True),
        ("error_rate / 0 > 1", {"error_rate": 1.0}, True),
        ("core ? p95 > 1 : error_rate > 0", {"core": False, "error_rate": 0.5}, True),
        ("true", {}, True),
        ("error_rate > 0.01 // per window\n || p95 > 2", {"error_rate": 0.0, "p95": 3.0}, True),
    ],
)
def test_a_condition_answers_with_three_values(text: str, bindings: Mapping[str, float | bool], *, answer: bool | None) -> None:
    """True, False, or None where a variable is missing and the others do not decide."""
    assert SCOPE.compile(text).evaluate(bindings) is answer


@given(
    st.dictionaries(
        st.sampled_from(["error_rate", "p95", "error_rate_baseline", "p95_baseline"]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.booleans(),
)
def test_recover_agrees_with_kleene_logic(numbers: dict[str, float], opened: bool) -> None:  # noqa: FBT001  hypothesis gives it
    """The default recovery is, for any values and any missing ones, what three-valued logic says."""

    def both(*answers: bool | None) -> bool | None:
        return False if False in answers else None if None in answers else True

    def compare(left: float | None, right: float | None, *, strict: bool) -> bool | None:
        if left is None or right is None:
            return None
        return left < right if strict else left <= right

    def scale(name: str) -> float | None:
        return 1.2 * numbers[name] if name in numbers else None

    low = compare(numbers.get("error_rate"), 0.001, strict=True)
    usual = compare(numbers.get("error_rate"), scale("error_rate_baseline"), strict=False)
    either = True if True in {low, usual} else None if None in {low, usual} else False
    expected = both(not opened, either, compare(numbers.get("p95"), scale("p95_baseline"), strict=False))
    assert SCOPE.compile(RECOVER, recover=True).evaluate({**numbers, "open": opened}) is expected


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", [(0, "empty condition; write one such as `error_rate > 0.01`")]),
        ("eror_rate > 1 && core", [(0, "unknown name `eror_rate`; nearest: `error_rate`")]),
        ("p95 > 10 && eror_rate > 2", [(12, "unknown name `eror_rate`; nearest: `error_rate`")]),
        ("p95 > 1 &&\n  xyzzy", [(13, f"unknown name `xyzzy`; known: {KNOWN}")]),
        ("p95", [(0, "a condition is true or false, this is a number; compare it, e.g. `error_rate > 0.01`")]),
        ("core > 1", [(5, "`>` does not apply to a boolean and a number")]),
        ("p95 > ", [(6, "syntax error: it ends too early; a condition looks like `core && error_rate > 0.01`")]),
        ("p95 > 5m", [(7, "syntax error: unexpected 'm'; a condition looks like `core && error_rate > 0.01`")]),
        ("open", [(0, f"unknown name `open`; known: {KNOWN}")]),
        ("p95 > 1 || " * LONGEST, [(0, f"condition of {11 * LONGEST} characters; the most is {LONGEST}")]),
        ("p95 > 1 \ud800", [(0, "half of a surrogate pair is no character")]),
    ],
)
def test_a_fault_says_where_and_what_would_be_right(text: str, faults: list[tuple[int, str]]) -> None:
    """Faults carry the offset in the text as written, although integers and aliases were rewritten before."""
    with pytest.raises(ConditionError) as caught:
        SCOPE.compile(text)
    assert [(fault.offset, fault.message) for fault in caught.value.faults] == faults


@pytest.mark.parametrize(
    ("text", "comparisons"),
    [
        ("error_rate > 0.01", [Comparison("error_rate", ">", 0.01)]),
        ("1 <= p95", [Comparison("p95", ">=", 1.0)]),
        ("p95 > -1", [Comparison("p95", ">", -1.0)]),
        ("error_rate > 4 * error_rate_baseline", [Comparison("error_rate", ">", 4.0, "error_rate_baseline")]),
        ("error_rate > error_rate_baseline * 4.0", [Comparison("error_rate", ">", 4.0, "error_rate_baseline")]),
        ("2.0 * p95_baseline < p95", [Comparison("p95", ">", 2.0, "p95_baseline")]),
        ("p95 > p95_baseline", [Comparison("p95", ">", 1.0, "p95_baseline")]),
        ("p95_baseline < p95", [Comparison("p95", ">", 1.0, "p95_baseline")]),
        ("p95 > error_rate + 1", [Comparison("p95", ">", None)]),
        ("p95 > 2 * (error_rate + 1)", [Comparison("p95", ">", None)]),
        ("(p95) > (2)", [Comparison("p95", ">", 2.0)]),
        (
            "core && (error_rate > 0.5 || (p95 > 1 && !workaround))",
            [Comparison("error_rate", ">", 0.5), Comparison("p95", ">", 1.0)],
        ),
        ("error_rate + p95 > 1", []),
        ("core == true", []),
        (
            "error_rate != 0 ? p95 > 1 : p95 > 2",
            [Comparison("error_rate", "!=", 0.0), Comparison("p95", ">", 1.0), Comparison("p95", ">", 2.0)],
        ),
    ],
)
def test_comparisons_are_read_in_order(text: str, comparisons: list[Comparison]) -> None:
    """A page can say value and threshold of whatever has the form `signal OP number` or `signal OP k * reference`."""
    assert list(SCOPE.compile(text).comparisons) == comparisons


def test_the_terms_of_a_recovery_are_its_top_level_parts() -> None:
    """`&&` first, then `||`, so that an alternative with a missing baseline can be left out."""
    assert [[condition.text for condition in term] for term in SCOPE.split(RECOVER)] == [
        ["!open"],
        ["error_rate < 0.001", "error_rate <= 1.2 * error_rate_baseline"],
        ["p95 <= 1.2 * p95_baseline"],
    ]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("core || error_rate < 1 && p95 < 1", [["core", "error_rate < 1 && p95 < 1"]]),
        ("((core && p95 < 1))", [["core"], ["p95 < 1"]]),
        ("(core || p95 < 1) && (p95 < 2)", [["core", "p95 < 1"], ["p95 < 2"]]),
        ("core ? p95 < 1 : p95 < 2 && open", [["core ? p95 < 1 : p95 < 2 && open"]]),
        ("!(core && open)", [["!(core && open)"]]),
        ('"a && b" == "a && b" && core', [['"a && b" == "a && b"'], ["core"]]),
    ],
)
def test_terms_are_cut_only_where_logic_allows(text: str, terms: list[list[str]]) -> None:
    """Precedence, parentheses, the conditional operator and quoted text are respected."""
    assert [[condition.text for condition in term] for term in SCOPE.split(text)] == terms


ATOMS = st.sampled_from(["open", "core", "workaround", "error_rate < 1", "p95 < 2.5", "p95 <= 1.2 * p95_baseline"])
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" && ", " || "]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"!({text})"),
    ),
    max_leaves=6,
)


@given(CONDITIONS, st.booleans(), st.booleans(), st.floats(0, 5), st.floats(0, 5))
def test_the_terms_together_say_what_the_whole_says(text: str, core: bool, opened: bool, rate: float, p95: float) -> None:  # noqa: FBT001
    """Splitting changes no answer: every term holds, by one of its alternatives, exactly when the condition does."""
    bindings = {"core": core, "open": opened, "workaround": False, "error_rate": rate, "p95": p95, "p95_baseline": 1.0}
    together = all(any(condition.evaluate(bindings) for condition in term) for term in SCOPE.split(text))
    assert together is SCOPE.compile(text, recover=True).evaluate(bindings)


def test_an_alias_is_the_name_it_stands_for() -> None:
    """affected_users that is not declared equals error_rate, in values, names and comparisons; the text stays as written."""
    condition = ALIASED.compile("core && affected_users >= 0.995 || affected_users > 2 * affected_users_baseline")
    assert condition.text.startswith("core && affected_users")
    assert condition.names == {"core", "error_rate", "error_rate_baseline"}
    assert condition.comparisons[0] == Comparison("error_rate", ">=", 0.995)
    assert condition.evaluate({"core": True, "error_rate": 1.0}) is True


def test_names_are_variables_only() -> None:
    """Functions, fields, macros' own variables and text are no names."""
    assert SCOPE.compile("[p95, 1.0].exists(x, x > 2.0) && double('3') > error_rate").names == {"p95", "error_rate"}


def test_a_prometheus_rule_is_true_where_a_series_is() -> None:
    """The condition of a vector rule lies in its query, which is its text."""
    assert Present("up == 0").evaluate({}) is True
    assert Present("up == 0").text == "up == 0"


def test_infinity_is_compared_like_any_number() -> None:
    """Callers remove NaN and infinity; should one slip through, nothing raises."""
    assert SCOPE.compile("p95 > 1").evaluate({"p95": math.inf}) is True
    assert SCOPE.compile("p95 > 1").evaluate({"p95": math.nan}) is False


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0]), st.booleans()), min_size=2, max_size=8))
def test_the_kept_answer_is_never_that_of_other_values(asked: list[tuple[float, bool]]) -> None:
    """Whatever was asked before, also in the same dict with other values, a condition answers for the values it is given."""
    condition = Scope(("p95",)).compile("core && p95 > 1.0")
    bindings: dict[str, float | bool] = {}
    for p95, core in asked:
        bindings.update(p95=p95, core=core)
        assert condition.evaluate(bindings) is (core and p95 > 1.0)
    assert condition.evaluate({}) is None
