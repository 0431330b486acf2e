"""What humans do to an incident, and what follows when they were wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.domain import response
from detector.domain.incident import Decision, Status
from detector.domain.response import ResponseError
from tests.kit.play import Play

if TYPE_CHECKING:
    from collections.abc import Callable

FIVE_MINUTES, QUARTER = 300.0, 900.0


def do(play: Play, act: Callable[..., Decision], *words: str, by: str = "ana", **named: str) -> list[str]:
    """One human action; returns the notices in short form."""
    course = play.course
    identity = next(iter(course.book.incidents), "gone")
    decision = act(course.book, course.rules.catalogue, course.paging, identity, by, *words, course.now, **named)
    course.accept(decision)
    return [f"{notice.kind.value} {notice.key.partition(':')[2]}" for notice in decision.notices]


def test_an_acknowledgement_goes_to_every_open_key_once() -> None:
    """Who has it stands in the ticket; acknowledging again changes nothing."""
    play = Play()
    play("fired errors medium")
    play("rose errors high")
    assert do(play, response.acknowledge) == ["acknowledge 1:default", "acknowledge 1:default:2"]
    assert (play.incident.status, play.incident.acknowledged_by) == (Status.ACKNOWLEDGED, "ana")
    assert play.course.events[-1].actor == "ana"
    assert do(play, response.acknowledge, by="bo") == []
    assert play.incident.acknowledged_by == "ana"


def test_a_key_opened_after_the_acknowledgement_is_acknowledged_by_the_next() -> None:
    """Else it would escalate although somebody has it; the first acknowledgement stays the one that counts."""
    play = Play()
    play("fired errors medium")
    do(play, response.acknowledge)
    first = play.incident.acknowledged
    assert play("rose errors high", seconds=60) == ["rise 1:default:2"]
    assert do(play, response.acknowledge, by="bo") == ["acknowledge 1:default:2"]
    assert (play.incident.acknowledged, play.incident.acknowledged_by) == (first, "ana")
    assert do(play, response.acknowledge) == []


def test_a_join_pages_again_where_the_acknowledgement_is_over_half_an_hour_old() -> None:
    """Acknowledged keys page nobody; the page that was sent for it counts as a fresh one."""
    play = Play()
    play("fired errors high")
    do(play, response.acknowledge)
    assert play("fired latency high", seconds=1800) == []
    assert play("fired traffic high", seconds=1) == ["rise 1:default:2"]
    assert play("fired memory high", seconds=600) == []
    assert play("fired disk high", seconds=1300) == ["rise 1:default:3"]


def test_a_resolve_by_hand_closes_every_key() -> None:
    """While metrics are still bad that is written down."""
    play = Play()
    play("fired errors medium")
    play("rose errors high")
    assert do(play, response.resolve) == ["resolve 1:default", "resolve 1:default:2"]
    assert (play.incident.status, play.incident.end_reason) == (Status.RESOLVED, "resolved by hand")
    assert play.course.events[-1].message == "resolved by hand while metrics are still bad"


def test_what_a_person_says_with_an_answer_is_kept() -> None:
    """Words with an acknowledgement and with a resolve stand in the timeline."""
    play = Play()
    play("fired errors high")
    do(play, response.acknowledge, text="on my way ")
    do(play, response.resolve, text="a test of the pager")
    said = [event.message for event in play.course.events if event.actor != "detector"]
    assert said == ["acknowledged: on my way", "resolved by hand while metrics are still bad: a test of the pager"]


def test_resolved_by_hand_and_still_bad_pages_again_after_a_quarter_of_an_hour() -> None:
    """Under a new key: the old one is closed for ever. It happens after every such resolve."""
    play = Play()
    play("fired errors high")
    do(play, response.resolve)
    assert play("rose errors critical") == []
    assert play(seconds=QUARTER - 11) == []
    assert play(seconds=1) == ["relapse 2:default"]
    assert play.status == ("open", "critical", "critical")
    do(play, response.resolve)
    assert play(seconds=QUARTER) == ["relapse 3:default"]


def test_resolved_by_hand_and_well_since_is_closed_after_the_watch() -> None:
    """The alert ended within the quarter: nobody is paged, and the watch counts from the resolve."""
    play = Play()
    play("fired errors high")
    do(play, response.resolve)
    assert play("ended errors", seconds=FIVE_MINUTES) == []
    assert play(seconds=QUARTER) == []
    assert play.status[0] == "resolved"
    play(seconds=1800 - QUARTER - FIVE_MINUTES)
    assert play.status[0] == "closed"


def test_a_breach_after_a_resolve_by_hand_is_a_relapse() -> None:
    """It ended in the meantime, so it pages at once."""
    play = Play()
    play("fired errors high")
    do(play, response.resolve)
    play("ended errors")
    assert play("fired errors high") == ["relapse 2:default"]


def test_notes_and_the_cause_stand_in_the_timeline() -> None:
    """A later cause replaces the first; the timeline keeps both. Neither pages anybody."""
    play = Play()
    play("fired errors high")
    assert do(play, response.add_note, "looking at the basket") == []
    assert do(play, response.set_cause, "a full disk") == []
    assert do(play, response.set_cause, "a full disk on db-1" + "x" * 5000) == []
    assert play.said[-3:] == ["note", "cause", "cause"]
    assert play.incident.root_cause.startswith("a full disk on db-1")
    assert len(play.incident.root_cause) == 4000


@pytest.mark.parametrize("act", [response.acknowledge, response.resolve])
def test_what_is_over_cannot_be_acknowledged_or_resolved(act: Callable[..., Decision]) -> None:
    """The message says what the incident is."""
    play = Play()
    play("fired errors high")
    play("ended errors")
    with pytest.raises(ResponseError, match="resolved"):
        do(play, act)


@pytest.mark.parametrize("act", [response.acknowledge, response.resolve])
def test_an_unknown_incident_is_named(act: Callable[..., Decision]) -> None:
    """The message says where to look."""
    with pytest.raises(ResponseError, match=r"no incident gone .*incidents list"):
        do(Play(), act)


def keys(play: Play) -> list[str]:
    """The keys that the incident opened, in their order."""
    return [page.key for page in play.incident.pages]


def test_an_acknowledgement_from_pagerduty_is_not_told_back_to_it() -> None:
    """Only the key that was acknowledged there counts as such; the next acknowledgement here is for the other."""
    play = Play()
    play("fired errors medium")
    play("rose errors high")
    first = keys(play)[0]

    def there(*arguments: object) -> Decision:
        return response.acknowledge(*arguments, from_pagerduty=(first,))  # type: ignore[arg-type]  # as `do` gives them

    assert do(play, there, by="Erin (PagerDuty)") == []
    assert (play.incident.status, play.incident.acknowledged_by) == (Status.ACKNOWLEDGED, "Erin (PagerDuty)")
    before = len(play.course.events)
    assert do(play, there, by="Erin (PagerDuty)") == []
    assert len(play.course.events) == before
    assert do(play, response.acknowledge) == ["acknowledge 1:default:2"]


def test_our_own_acknowledgement_that_comes_back_changes_nothing() -> None:
    """PagerDuty tells of what we told it."""
    play = Play()
    play("fired errors high")
    do(play, response.acknowledge)
    course, now = play.course, play.course.now
    echo = response.acknowledge(
        course.book, course.rules.catalogue, course.paging, play.incident.id, "x", now, from_pagerduty=keys(play)
    )
    assert echo.empty


def test_a_late_word_about_an_earlier_episode_changes_nothing() -> None:
    """The resolve of the first episode arrives after the relapse, whose key is another one."""
    play = Play()
    play("fired errors high")
    old = keys(play)
    play("ended errors")
    play("fired errors high")
    course = play.course
    for act in (response.resolve, response.acknowledge):
        late = act(course.book, course.rules.catalogue, course.paging, play.incident.id, "x", course.now, from_pagerduty=old)
        assert late.empty
    assert play.incident.status is Status.OPEN


def test_a_resolve_from_pagerduty_ends_it_everywhere() -> None:
    """Flagged while metrics are bad; the other route's key is closed too; heard twice it changes nothing."""
    play = Play()
    play("fired errors medium")
    play("rose errors high")
    first = keys(play)[0]

    def there(*arguments: object) -> Decision:
        return response.resolve(*arguments, from_pagerduty=(first,))  # type: ignore[arg-type]  # as `do` gives them

    assert do(play, there) == ["resolve 1:default", "resolve 1:default:2"]
    assert play.course.events[-1].message == "resolved by hand while metrics are still bad"
    assert do(play, there) == []
    assert play(seconds=QUARTER) == ["relapse 2:default"]


def test_a_resolve_is_repeated_for_a_closed_key_only() -> None:
    """A key that is open here is none of the repair's business; nor is one that nobody knows."""
    play = Play()
    play("fired errors high")
    (key,) = keys(play)

    def repeat(name: str) -> list[str]:
        course = play.course
        decision = response.repeat_resolve(course.book, course.rules.catalogue, course.paging, play.incident.id, name, course.now)
        course.accept(decision)
        return [notice.kind.value for notice in decision.notices]

    assert repeat(key) == []
    play("ended errors")
    assert repeat(key) == ["resolve"]
    assert play.said[-1] == "resolve repeated"
    assert repeat("nobody:1:default") == []


def test_a_note_from_elsewhere_stands_at_the_moment_it_was_written() -> None:
    """Heard again it is the very same line, which the store keeps once."""
    play = Play()
    play("fired errors high")
    course = play.course
    notes = [
        response.add_note(course.book, course.rules.catalogue, course.paging, play.incident.id, "erin", "hm", now, at=1_000_000.5)
        for now in (1_000_020.0, 1_000_090.0)
    ]
    assert notes[0].events == notes[1].events
    assert notes[0].events[0].at == 1_000_000.5
