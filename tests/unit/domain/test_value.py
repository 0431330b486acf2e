"""The small values everything else is made of: label sets, durations, severities, comparisons, overrides, names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain.condition import Comparison
from detector.domain.duration import format_duration, parse_duration
from detector.domain.incident import NoticeKind, name_alert, name_incident, name_key, name_notice
from detector.domain.label import digest_labels, digest_parts, format_labels, label_value, make_labels, project_labels
from detector.domain.severity import Severity
from tests.kit.course import Course

TEXTS = st.text(max_size=8)
SETS = st.dictionaries(TEXTS, TEXTS, max_size=4)


def test_label_sets_are_sorted_and_hold_no_empty_values() -> None:
    """The same labels give the same set, wherever they came from."""
    assert make_labels({"b": "2", "a": "1", "c": "", "__name__": "up"}) == (("a", "1"), ("b", "2"))
    assert project_labels((("a", "1"), ("b", "2")), ("b", "z")) == (("b", "2"),)
    assert label_value((("a", "1"),), "a") == "1"
    assert label_value((("a", "1"),), "b") is None


def test_label_sets_are_shown_as_prometheus_shows_them() -> None:
    """Quotes, backslashes and line ends are escaped."""
    assert format_labels((("a", 'x"\\\n'), ("b", "2"))) == '{a="x\\"\\\\\\n", b="2"}'


@given(SETS, SETS, TEXTS, TEXTS)
def test_digests_differ_wherever_names_or_labels_do(one: dict[str, str], two: dict[str, str], first: str, second: str) -> None:
    """A rule's name never runs into its labels. NUL, which no label of Prometheus' text format can hold, is left aside."""
    left = (first.replace("\0", ""), make_labels({key.replace("\0", ""): value.replace("\0", "") for key, value in one.items()}))
    right = (second.replace("\0", ""), make_labels({key.replace("\0", ""): value.replace("\0", "") for key, value in two.items()}))
    assert (digest_labels(*left) == digest_labels(*right)) == (left == right)


def test_ids_of_odd_text_are_made_all_the_same() -> None:
    """Half a surrogate pair and a thousand characters give an id of twenty hex digits."""
    for text in ("\ud800", "x" * 1000, "", "🔥"):
        assert len(digest_parts([text])) == 20
        assert int(digest_parts([text]), 16) >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1d", 86400.0),
        ("1w2d", 9 * 86400.0),
        ("1y", 365 * 86400.0),
        ("1m500ms", 60.5),
        ("0", 0.0),
        ("0s", 0.0),
        ("", None),
        ("5", None),
        ("5 m", None),
        ("-5m", None),
        ("1.5h", None),
        ("30m1h", None),
        ("5m5m", None),
        ("5M", None),
        ("9999999999s", None),
        ("5m\n", None),
        ("\u0665m", None),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: float | None) -> None:
    """Units from large to small, each once; everything else is no duration."""
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**12))
def test_a_duration_that_is_written_is_read_as_the_same(milliseconds: int) -> None:
    """Whole milliseconds survive the way to text and back."""
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


def test_severities_are_ordered_by_rank() -> None:
    """Not by spelling: `critical` would be less than `low`."""
    assert sorted(Severity, reverse=True) == [Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW]
    assert Severity.LOW.__lt__("low") is NotImplemented


@pytest.mark.parametrize(
    ("operator", "held"),
    [
        (">", [False, False, True]),
        (">=", [False, True, True]),
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        ("==", [False, True, False]),
        ("!=", [True, False, True]),
    ],
)
def test_comparisons_hold_as_they_read(operator: str, held: list[bool]) -> None:
    """Below, at and above the bound, which may be a multiple of another value."""
    plain, based = Comparison("x", operator, 2.0), Comparison("x", operator, 2.0, "x_baseline")
    assert [plain.holds({"x": value}) for value in (1.0, 2.0, 3.0)] == held
    assert [based.holds({"x": value, "x_baseline": 1.0}) for value in (1.0, 2.0, 3.0)] == held


def test_a_comparison_without_its_values_does_not_hold() -> None:
    """What is missing is not known to be true, and its threshold is not known either."""
    assert not Comparison("x", "!=", 2.0).holds({})
    assert not Comparison("x", ">", 2.0, "x_baseline").holds({"x": 9.0})
    assert Comparison("x", ">", 2.0, "x_baseline").bound({"x": 9.0}) is None
    assert Comparison("x", ">", None).bound({"x": 9.0}) is None


RULES = """
rules:
  - name: errors
    signals: {error_rate: errors}
    open: error_rate > 0.01
    overrides:
      - {match: {service: [batch, reports]}, open: error_rate > 0.05}
      - {match: {service: [batch], env: [test]}, open: error_rate > 0.5}
      - {match: {env: [test]}, open: error_rate > 0.9}
"""


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"service": "batch"}, "error_rate > 0.05"),
        ({"service": "batch", "env": "test"}, "error_rate > 0.05"),
        ({"service": "shop", "env": "test"}, "error_rate > 0.9"),
        ({"service": "shop"}, "error_rate > 0.01"),
        ({}, "error_rate > 0.01"),
    ],
)
def test_the_first_override_that_covers_an_alert_is_its_policy(labels: dict[str, str], text: str) -> None:
    """Every named label must have one of the values."""
    assert Course(RULES).rule.policy_for(make_labels(labels)).open.text == text


@pytest.mark.parametrize(
    ("service", "labels", "name"),
    [
        ("", {"service": "shop", "job": "node"}, "shop"),
        ("", {"job": "node"}, "node"),
        ("", {"pod": "a"}, "errors"),
        ("service: pod", {"pod": "a", "service": "shop"}, "a"),
        ("service: payments", {"service": "shop"}, "payments"),
    ],
)
def test_what_an_alert_is_about(service: str, labels: dict[str, str], name: str) -> None:
    """`service:` names a label or is a constant; else label service, job, or the rule's name."""
    rule = Course(f"rules:\n  - name: errors\n    signals: {{e: errors}}\n    open: e > 1\n    {service}\n").rule
    assert rule.service_of(make_labels(labels)) == name


def test_names_of_incidents_notices_and_keys_are_facts() -> None:
    """The second of the breach counts, not its fraction; every part of a notice's identity changes its id."""
    labels = (("service", "shop"),)
    assert name_incident("errors", labels, 100.2) == name_incident("errors", labels, 100.9)
    assert name_incident("errors", labels, 100.2) != name_incident("errors", labels, 101.2)
    assert name_alert("errors", labels) != name_alert("errors", labels, absent=True)
    assert (name_key("i", 1, "default"), name_key("i", 2, "default", 3)) == ("i:1:default", "i:2:default:3")
    ids = {
        name_notice(incident, episode, sequence, kind, channel, route)
        for incident in ("a", "b")
        for episode in (1, 2)
        for sequence in (1, 2)
        for kind in (NoticeKind.TRIGGER, NoticeKind.RESOLVE)
        for channel in ("pagerduty", "slack")
        for route in ("x", "y")
    }
    assert len(ids) == 64
