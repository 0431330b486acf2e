"""The oracle that judges all three products alike, and the picture of how cost grows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import partial

import pytest

from benchmarks.__main__ import USAGE, main
from benchmarks.plot import draw_growth
from benchmarks.question import Figure
from benchmarks.sidebyside.comparison import QUESTION, _merge, choose_rows
from benchmarks.sidebyside.verdict import Truth, judge
from detector.standin.ledger import Ledger

BROKEN, MENDED = 100.0, 200.0


def play(*events: tuple[float, str]) -> Ledger:
    """An account to which one service's events came at these moments."""
    ledger = Ledger()
    for at, action in events:
        payload = {"summary": "fails", "source": "s", "severity": "error", "component": "shop"}
        ledger.apply({"routing_key": "r", "event_action": action, "payload": payload}, "key", at)
    return ledger


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([(110.0, "trigger"), (210.0, "resolve")], (0, 0, 0, 0)),
        ([], (0, 0, 1, 0)),
        ([(110.0, "trigger")], (0, 0, 0, 1)),
        ([(110.0, "trigger"), (150.0, "resolve"), (160.0, "trigger"), (210.0, "resolve")], (1, 1, 0, 0)),
        ([(110.0, "trigger"), (120.0, "trigger"), (210.0, "resolve")], (0, 0, 0, 0)),
        ([(110.0, "trigger"), (210.0, "resolve"), (260.0, "trigger")], (1, 0, 0, 1)),
    ],
    ids=["kept", "lost", "left open", "false resolve and second page", "joined", "page from the grave"],
)
def test_each_fault_has_its_count(events: list[tuple[float, str]], counts: tuple[int, ...]) -> None:
    """Second alerts, false resolves, lost pages and alerts left open, by what the account shows."""
    verdict = judge([Truth("shop", BROKEN, MENDED)], play(*events).alerts)
    assert (verdict.second, verdict.false_resolves, verdict.lost, verdict.left_open) == counts
    assert verdict.faults == sum(counts)
    assert verdict.delays == ([10.0] if events else [])


def test_what_nobody_broke_is_named() -> None:
    """An alert about something else is no second alert of the service: it is told."""
    verdict = judge([], play((110.0, "trigger")).alerts)
    assert verdict.others == ["fails"]
    assert "also paged: fails" in verdict.describe()


def test_growth_is_drawn() -> None:
    """A line for every column of that unit, on axes that hold every value; other units and values of 0 are left out."""
    figures = [
        Figure(row=f"{size:,} services", column=column, value=size * factor, unit=unit)
        for size in (200, 2_000, 20_000)
        for column, factor, unit in (("wall <ms>", 0.01, "ms"), ("zero", 0.0, "ms"), ("memory", 1.0, "MiB"))
    ]
    root = ET.fromstring(draw_growth("How?", figures, "ms"))  # noqa: S314 - our own picture
    lines = [line.attrib["points"].split() for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [3]
    heights = [float(point.split(",")[1]) for point in lines[0]]
    assert heights == sorted(heights, reverse=True)
    assert any("wall <ms>: 200" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert draw_growth("How?", figures, "% of a core") == ""


def test_faults_are_chosen_by_number() -> None:
    """`--fault` twice the same plays it once, in the order asked for, and keeps the rest of the question."""
    chosen = choose_rows(["29", "4", "29"])
    assert isinstance(chosen.measure, partial)
    assert [row.number for row in chosen.measure.keywords["rows"]] == ["29", "4"]
    assert (chosen.name, chosen.text) == (QUESTION.name, QUESTION.text)


def test_a_fault_that_is_not_played_is_one_line_and_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the faults that are; nothing is measured."""
    assert main(["sidebyside", "--fault", "2"]) == USAGE
    out, err = capsys.readouterr()
    assert (out, err) == ("", "benchmarks: fault 2 is not played side by side; there are 1, 4, 5, 10, 14, 29\n")


def test_one_fault_played_again_leaves_what_is_known_of_the_others() -> None:
    """Its row is replaced, whatever else is kept stays, in the order of the faults, with what is about all at the end."""
    known = {"about": {"seed": 1}, "29": {"detector": "old"}, "4": {"detector": "kept"}}
    merged = _merge(known, {"29": {"detector": "new"}, "about": {"seed": 7}})
    assert list(merged.items()) == [("4", {"detector": "kept"}), ("29", {"detector": "new"}), ("about", {"seed": 7})]
