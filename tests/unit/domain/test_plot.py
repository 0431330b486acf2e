"""Geometry of plots and what is written into them."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from detector.domain.plot import Frame, choose_watched, draw_panel, draw_spark, draw_words, fit_values, place_words
from detector.domain.postmortem import Curve, Mark
from detector.domain.rule import Instant
from tests.kit.sample import NASTY
from tests.kit.stage import make_rule

NUMBERS = st.floats(-1e12, 1e12)
MOMENTS = st.floats(0, 2e9)


@given(st.lists(st.tuples(MOMENTS, NUMBERS), min_size=1, max_size=40), st.lists(NUMBERS, max_size=3))
def test_everything_lies_inside_its_frame(points: list[tuple[float, float]], limits: list[float]) -> None:
    """Whatever values and limits there are, no point lies outside, and a larger value is never drawn lower."""
    values = [value for _, value in points]
    frame = Frame(points[0][0], points[-1][0], *fit_values(values, limits), 500, 100, 20, 10)
    heights = [frame.y(value) for value in sorted([*values, *limits])]
    assert heights == sorted(heights, reverse=True)
    assert all(10 <= height <= 110 for height in heights)
    assert all(20 <= frame.x(at) <= 520 for at, _ in points)


def test_a_hole_is_not_bridged() -> None:
    """Samples that are missing for long leave a gap in the line."""
    frame = Frame(0, 100, 0, 1, 100, 100)
    assert frame.trace([(0, 0.0), (10, 0.0), (90, 1.0)], 20) == "M0.0 100.0L10.0 100.0M90.0 0.0"


@given(st.lists(st.tuples(MOMENTS, st.sampled_from(["breach", "page", "mitigation route-to-backup", "recovery"])), max_size=12))
def test_words_do_not_stand_on_each_other(moments: list[tuple[float, str]]) -> None:
    """Two marks in one row are as far apart as the words of the narrowest panel are long."""
    marks = [Mark(at, word) for at, word in sorted(moments)]
    begin, end = 0.0, 2e9
    rows = place_words(marks, begin, end)
    spans: dict[int, list[tuple[float, float]]] = {}
    for mark, row in zip(marks, rows, strict=True):
        at, length = 300 * mark.at / end, 6.7 * (len(mark.word) + 9)
        spans.setdefault(row, []).append((at - length, at) if at > 180 else (at, at + length))
    for taken in spans.values():
        taken.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(taken))


def test_hostile_words_stay_words() -> None:
    """Names of signals, rules and mitigations are text in the drawing, which stays well-formed."""
    marks = [Mark(5.0, f'mitigation "><script>{NASTY}'), Mark(0.0, "breach")]
    curve = Curve("r", '"><script>', "{}", ((0.0, 1.0), (9.0, 2.0)), 1.5)
    drawn = "".join(
        [*draw_words(marks, 0, 10), *draw_panel(curve, marks, 0, 10, 100), *draw_spark(curve.points, 0, 10, (1.5,), 90, 20)]
    )
    root = ET.fromstring(f"<svg>{drawn}</svg>")  # noqa: S314 - our own
    assert {element.tag for element in root.iter()} == {"svg", "circle", "line", "path", "rect", "text"}
    assert {line.get("class") for line in root.iter("line")} == {"mark breach", "mark mitigation", "limit"}


def test_a_rule_is_about_what_it_recovers_by() -> None:
    """The signal of the condition, with the numbers that it is compared with; a rule that compares nothing: its first signal."""
    rule = make_rule("errors")
    watched = choose_watched(rule)
    assert watched is not None
    assert (watched.signal, watched.falling, watched.limits) == ("error_rate", False, (0.01,))
    other = choose_watched(make_rule("x", signals=(Instant("depth", "d"),)))
    assert other is not None
    assert (other.signal, other.limits) == ("depth", ())
    assert choose_watched(make_rule("x", signals=())) is None
