"""Slots: batches, phases, missed slots, clocks that jump."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.app.slot import Grid, Position, make_batches, make_grid, start_position, take_turn
from tests.kit.stage import make_rule

GRID = Grid(5000, 1200)
WALL = GRID.time_of(340_000_000)


def test_rules_that_share_a_query_form_a_batch_through_a_third_one() -> None:
    """A and C have no query in common, but B has one with each; D stands alone, and so does E with another `every`."""
    a, c, d = make_rule("a", "q1"), make_rule("c", "q3"), make_rule("d", "q4")
    b = make_rule("b", "q1", signals=(*a.signals, *c.signals))
    e = make_rule("e", "q1", every_seconds=10.0)
    batches = make_batches([a, c, d, b, e])
    assert sorted(sorted(rule.name for rule in batch.rules) for batch in batches) == [["a", "b", "c"], ["d"], ["e"]]


def test_a_batch_is_the_same_whatever_the_order_and_white_space() -> None:
    """Moving rules between files changes neither key nor phase."""
    rules = [make_rule("a", "sum( x )"), make_rule("b", "sum(\n  x )"), make_rule("c", "y")]
    again = [rules[2], rules[1], rules[0]]
    assert {batch.key for batch in make_batches(rules)} == {batch.key for batch in make_batches(again)}
    assert {batch.grid for batch in make_batches(rules)} == {batch.grid for batch in make_batches(again)}


def test_a_phase_is_the_same_in_another_process() -> None:
    """The hash is not Python's, which differs from process to process."""
    code = "from detector.app.slot import make_grid; print(make_grid(5, 'errors').phase_ms)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == make_grid(5, "errors").phase_ms


def test_equal_queries_at_different_intervals_meet_on_the_grid() -> None:
    """Every slot of the 10 s grid is one of the 5 s grid, so that the answer is shared."""
    slow, fast = make_grid(10, "errors"), make_grid(5, "errors")
    moment = slow.time_of(123_456_789)
    assert fast.time_of(fast.index_at(moment)) == moment


@given(st.integers(1, 3_600_000), st.integers(0, 10**12), st.integers(0, 3_599_999))
def test_a_slot_belongs_to_itself(every_ms: int, index: int, phase_ms: int) -> None:
    """Index and time are each other's inverse, and a slot is never later than the moment it was found for."""
    grid = Grid(every_ms, phase_ms % every_ms)
    index %= 4_000_000_000_000 // every_ms
    assert grid.index_at(grid.time_of(index)) == index
    assert grid.index_at(grid.time_of(index) - 0.001) == index - 1


@pytest.mark.parametrize(
    ("passed_seconds", "slot_seconds", "missed"),
    [(0.0, None, 0), (4.9, None, 0), (5.0, 5.0, 0), (9.9, 5.0, 0), (10.0, 10.0, 1), (3600.0, 3600.0, 719)],
)
def test_only_the_newest_slot_runs(passed_seconds: float, slot_seconds: float | None, missed: int) -> None:
    """After a pause of any length one slot runs, at its own time, and the older ones are counted."""
    position = start_position(GRID, WALL, 100.0, catch_up=False)
    _, turn = take_turn(GRID, position, WALL + passed_seconds, 100.0 + passed_seconds)
    assert turn.slot == (None if slot_seconds is None else pytest.approx(WALL + slot_seconds))
    assert turn.missed == missed
    assert 0 < turn.wait_seconds <= 5.0


@pytest.mark.parametrize("jump_seconds", [-3600.0, -7.0, -1.5, 1.5, 7.0, 3600.0])
def test_a_clock_that_was_set_stalls_nothing_and_misses_nothing(jump_seconds: float) -> None:
    """Whichever way the wall clock is set, a slot of the new time runs within one interval and none counts as missed."""
    position = start_position(GRID, WALL, 0.0, catch_up=False)
    monotonic, slots, missed = 2.0, [], 0
    for _ in range(3):
        position, turn = take_turn(GRID, position, WALL + jump_seconds + monotonic, monotonic)
        slots.append((monotonic, turn.slot))
        missed += turn.missed
        monotonic += turn.wait_seconds
    ran = [(at, slot) for at, slot in slots if slot is not None]
    assert ran
    assert ran[0][0] <= 7.0
    assert missed == 0
    assert all(0 <= WALL + jump_seconds + at - slot < 5.0 for at, slot in ran)


def test_slow_drift_is_no_jump() -> None:
    """A clock that is slewed by half a second a turn keeps its slots, each once."""
    position = Position(WALL, GRID.index_at(WALL))
    slots = []
    for turn_number in range(1, 20):
        wall = WALL + 5.0 * turn_number
        position, turn = take_turn(GRID, position, wall, 5.0 * turn_number - 0.5 * turn_number)
        slots.append(turn.slot)
    assert slots == [pytest.approx(WALL + 5.0 * number) for number in range(1, 20)]


def test_catching_up_runs_the_slot_that_has_just_passed() -> None:
    """A baseline is asked at once at start, still on the grid."""
    position = start_position(GRID, WALL + 3.0, 0.0, catch_up=True)
    _, turn = take_turn(GRID, position, WALL + 3.0, 0.0)
    assert turn.slot == WALL
    assert turn.missed == 0
