"""The daemon's own blindness: when it is said, under which name, and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.domain.alert import Change, Transition
from detector.domain.blind import BlindState, RuleHealth, advance_blind
from detector.domain.catalogue import Catalogue
from detector.domain.correlate import correlate
from detector.domain.incident import BLIND_ID, Book, Status
from detector.domain.ledger import Paging
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FAILED, GONE, IDLE = RuleHealth.OK, RuleHealth.FAILED, RuleHealth.GONE, RuleHealth.IDLE


def look(healths: Sequence[RuleHealth], times: Sequence[float], state: BlindState | None = None) -> list[tuple[float, Transition]]:
    """Look at the same rules at each of the times; returns what was said, and when."""
    state = state or BlindState()
    said = []
    for now in times:
        state, transition = advance_blind(state, set(healths), now, 120.0)
        if transition is not None:
            said.append((now, transition))
    return said


@pytest.mark.parametrize(
    ("healths", "at"),
    [
        ([FAILED], 120.0),
        ([GONE, GONE], 120.0),
        ([FAILED, GONE, IDLE], 120.0),
        ([FAILED, OK], None),
        ([GONE, OK, IDLE], None),
        ([IDLE, IDLE], None),
        ([OK], None),
        ([], None),
    ],
)
def test_blind_is_said_once_after_two_minutes_in_which_nothing_was_seen(healths: list[RuleHealth], at: float | None) -> None:
    """One rule that sees is enough; an idle one counts neither way; nothing is said twice."""
    said = look(healths, [float(now) for now in range(0, 600, 5)])
    assert [now for now, _ in said] == ([] if at is None else [at])


def test_gaps_count_as_thirty_seconds_at_most() -> None:
    """A pause of an hour or a clock that jumps is no hour of blindness."""
    assert look([FAILED], [0, 3600, 7200, 10800]) == []
    assert [now for now, _ in look([FAILED], [0, 3600, 7200, 10800, 14400])] == [14400]
    assert [now for now, _ in look([FAILED], [3600, 0, 30, 60, 90, 119])] == []


@pytest.mark.parametrize("health", [OK, IDLE])
def test_it_ends_with_the_first_answer(health: RuleHealth) -> None:
    """A rule that sees ends it, and so does an answered query of a rule that never had series, where no other is blind."""
    state = BlindState(active=True, since=100.0, evaluated=300.0, seconds=200.0)
    after, transition = advance_blind(state, {health}, 305.0, 120.0)
    assert after == BlindState()
    assert transition is not None
    assert (transition.change, transition.reason) == (Change.ENDED, "recovered")


def test_no_rules_at_all_say_nothing() -> None:
    """Before the first evaluation there is nothing to judge; a restored blindness stays."""
    state = BlindState(active=True, since=100.0, seconds=120.0)
    assert advance_blind(state, set(), 300.0, 120.0) == (state, None)


def test_an_interrupted_blindness_starts_again_from_zero() -> None:
    """Two minutes in one piece."""
    state, _ = advance_blind(BlindState(since=0.0, evaluated=115.0, seconds=115.0), {OK}, 116.0, 120.0)
    assert look([FAILED], [120, 125, 130], state) == []


def test_what_was_said_tells_why() -> None:
    """Vanished series and failing queries read differently; the caller's own line comes first."""
    (_, gone), *_ = look([GONE], range(0, 200, 5))
    assert gone.summary == "detector is blind: every series seen before is gone"
    (_, failed), *_ = look([FAILED, GONE], range(0, 200, 5))
    assert failed.reason == "every query fails"
    _, told = advance_blind(BlindState(since=0, evaluated=100, seconds=115), {FAILED}, 110, 120, "errors: timeout")
    assert told is not None
    assert told.summary == "detector is blind: errors: timeout"


def test_the_blind_incident_has_one_id_and_comes_back_as_its_next_episode() -> None:
    """HIGH, default key, closed at once when it ends; the next blindness is a new episode under a new key, with its own times."""
    book, kinds, keys = Book(), list[str](), list[str]()
    for start in (0, 10_000):
        (at, fired), *_ = look([FAILED], range(start, start + 200, 5))
        _, ended = advance_blind(BlindState(active=True, since=start, evaluated=at, seconds=120), {OK}, at + 60, 120)
        assert ended is not None
        for transition in (fired, fired, ended):
            decision = correlate(book, (transition,), Catalogue(), Paging(), transition.at)
            book = Book({**book.incidents, **{incident.id: incident for incident in decision.incidents}})
            kinds += [notice.kind.value for notice in decision.notices]
            keys += [notice.key for notice in decision.notices]
            (incident,) = book.incidents.values()
            if transition is fired:
                assert (incident.status, incident.severity, incident.service) == (Status.OPEN, Severity.HIGH, "detector")
                assert (incident.opened, incident.detected) == (start, start + 120)
    assert set(book.incidents) == {BLIND_ID}
    assert book.incidents[BLIND_ID].status is Status.CLOSED
    assert kinds == ["trigger", "resolve", "relapse", "resolve"]
    assert keys == ["blind:1:default"] * 2 + ["blind:2:default"] * 2
