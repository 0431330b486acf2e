"""The last hour of a rule's signal in memory: bounded, the worst of each half minute, right after pauses and jumps of the clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.app.trail import BUCKET_SECONDS, BUCKETS, Trail
from detector.domain.label import make_labels
from detector.domain.reading import Column, Readings
from tests.kit.stage import make_rule

RULE = make_rule("errors")
HOUR = BUCKETS * BUCKET_SECONDS


def read(**values: float) -> Readings:
    """What one evaluation read."""
    column = {make_labels({"service": name}): value for name, value in values.items()}
    return Readings({"error_rate": Column(column)}, frozenset(column))


def test_the_worst_of_all_alerts_counts() -> None:
    """Of every half minute, over all alerts."""
    trail = Trail()
    for at, values in ((60.0, {"a": 0.1, "b": 0.3}), (85.0, {"a": 0.2}), (90.0, {"a": 0.05})):
        trail.add(RULE, read(**values), at)
    assert trail.show(100.0).points == ((75.0, 0.3), (105.0, 0.05))
    assert trail.show(100.0).limits == (0.01,)


@given(st.lists(st.floats(-4000, 8000), max_size=60))
def test_it_holds_what_a_plain_list_would(steps: list[float]) -> None:
    """However the clock goes, forward by hours or back: as many points as buckets of the last hour were seen, and no older ones."""
    trail, at, known, newest = Trail(), 1e6, dict[int, float](), -1
    for number, step in enumerate(steps):
        at = max(1e4, at + step)
        bucket = int(at // BUCKET_SECONDS)
        trail.add(RULE, read(a=float(number)), at)
        if bucket > newest - BUCKETS:
            newest = max(newest, bucket)
            known[bucket] = float(number)
        known = {each: value for each, value in known.items() if each > newest - BUCKETS}
    now = (newest + 1) * BUCKET_SECONDS - 1
    assert [value for _, value in trail.show(now).points] == [known[bucket] for bucket in sorted(known)]
    assert trail.show(now + 2 * HOUR).points == ()


def test_a_rule_that_changes_its_signal_begins_anew() -> None:
    """A reload that keeps the signal keeps the hour; another signal does not go on under its line."""
    trail = Trail()
    trail.add(RULE, read(a=0.5), 60.0)
    trail.add(make_rule("errors"), read(a=0.1), 90.0)
    assert len(trail.show(100.0).points) == 2
    renamed = make_rule("errors", signals=())
    trail.add(renamed, read(a=0.1), 120.0)
    assert trail.show(130.0).points == ()


def test_the_last_error_is_kept() -> None:
    """With its time, when the rule is well again."""
    trail = Trail()
    trail.fail("timeout", 50.0)
    trail.add(RULE, read(a=0.5), 60.0)
    shown = trail.show(90.0)
    assert (shown.fault, shown.fault_at) == ("timeout", 50.0)
