"""Which signals the ranking looks at, and how their answers become courses."""

from pathlib import Path

import pytest

from detector.adapters.rulefile import RuleDirectory
from detector.app.evidence import plan_signals, read_courses
from detector.domain.course import HISTORY_STEPS
from detector.domain.label import make_labels
from detector.domain.outcome import FailureReason, Matrix, QueryFailed, Trace
from detector.domain.rule import RuleSet

STEPS = HISTORY_STEPS + 1


def load(folder: Path, signals: str, more: str = "") -> RuleSet:
    """A rule set with one rule of these signals, which are written as YAML in braces."""
    rule = f"rules:\n  - {{name: r, by: [service], window: 5m, signals: {{{signals}}}, open: 'true'}}\n{more}"
    (folder / "r.yaml").write_text(rule)
    return RuleDirectory(folder).load().rules


@pytest.mark.parametrize(
    ("signals", "wanted"),
    [
        ("a: 'rate(x[$window])', b: 'rate(x[5m])', c: up", ["a", "b", "c"]),
        ("a: 'rate(x[$window])', before: 'rate(x[5m] offset 10m)'", ["a"]),
        ("a: 'rate(x[$window])', slow: 'rate(x[10m])', burn: 'rate(x[3d])'", ["a"]),
        ("a: 'rate(x[$window])', deep: 'max_over_time(rate(x[1m])[1h:1m])'", ["a"]),
        ("slow: 'rate(x[10m])', burn: 'rate(x[3d])'", ["slow"]),
        ("burn: 'rate(x[3d])'", []),
        ("then: 'up @ 1700000000'", []),
    ],
)
def test_signals_that_cannot_show_when_a_change_began_are_left_out(tmp_path: Path, signals: str, wanted: list[str]) -> None:
    """Of another time, or over so long a window that there is something sharper."""
    assert [signal.name for _, signal, _ in plan_signals(load(tmp_path, signals).rules)] == wanted


def test_the_same_signal_of_two_rules_is_asked_once(tmp_path: Path) -> None:
    """Prometheus alerting rules have no history and are not asked at all."""
    (tmp_path / "group.yaml").write_text("groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]\n")
    rules = load(tmp_path, "a: up", "  - {name: s, by: [service], signals: {a: up}, open: a > 1}\n")
    assert [(rule.name, signal.name) for rule, signal, _ in plan_signals(rules.rules)] == [("r", "a")]


RATIO = "e: {ratio: [bad, all]}"
SHOP, MAIL = make_labels({"service": "shop"}), make_labels({"service": "mail"})


def test_a_ratio_is_divided_step_by_step(tmp_path: Path) -> None:
    """A missing numerator is 0, a missing or zero denominator is nothing; unwanted services are left out."""
    ((rule, signal, texts),) = plan_signals(load(tmp_path, RATIO).rules)
    answers = {
        "bad": Matrix({SHOP: Trace({0: 5.0})}),
        "all": Matrix({SHOP: Trace({0: 10.0, 1: 10.0, 2: 0.0}), MAIL: Trace({0: 1.0})}),
    }
    (course,) = read_courses(rule, signal, texts, answers, frozenset({"shop"}))
    assert course.values == (0.5, 0.0, None, *(None,) * (STEPS - 3))
    assert course.traffic is not None
    assert course.traffic[:3] == (10.0, 10.0, 0.0)
    assert (course.service, course.query, course.labels) == ("shop", "all", SHOP)


def test_a_query_that_failed_leaves_its_signal_out(tmp_path: Path) -> None:
    """Half a ratio is no ratio."""
    ((rule, signal, texts),) = plan_signals(load(tmp_path, RATIO).rules)
    answers: dict[str, Matrix | QueryFailed] = {"bad": QueryFailed(FailureReason.TIMEOUT), "all": Matrix({SHOP: Trace({0: 10.0})})}
    assert list(read_courses(rule, signal, texts, answers, frozenset({"shop"}))) == []
