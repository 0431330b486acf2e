"""What a diagnosis changes in an incident."""

from dataclasses import replace

from detector.domain.check import Check, Diagnosis, Result, Verdict
from detector.domain.examination import record_diagnosis, summarise
from detector.domain.incident import Book, Decision, NoticeKind
from detector.domain.suspect import Suspect
from tests.kit.play import Play

RESULTS = (
    Result(Check.DEPLOY, Verdict.BAD, "v42 deployed 5m before by ann"),
    Result(Check.DATABASE, Verdict.UNKNOWN, "no such metric"),
    Result(Check.RESOURCES, Verdict.OK, "disk 10%, limit 90%"),
)
SUSPECTS = (Suspect("cart", 0.9, "error_rate went from 0% to 12%"), Suspect("shop", 0.4, "explained"))
FOUND = Diagnosis("shop", 1000.0, RESULTS, SUSPECTS)


def record(play: Play, found: Diagnosis = FOUND, *, episode: int | None = None) -> Decision:
    """Record it in the only incident."""
    course = play.course
    identity = next(iter(course.book.incidents), "gone")
    chosen = play.incident.episode if episode is None else episode
    decision = record_diagnosis(course.book, course.rules.catalogue, course.paging, identity, chosen, found, course.now)
    course.accept(decision)
    return decision


def test_checks_and_suspects_go_into_the_ticket() -> None:
    """Each check is a line of the timeline in its order, then the likely cause; the incident holds all of it."""
    play = Play()
    play("fired errors medium")
    decision = record(play)
    assert (play.incident.checks, play.incident.suspects) == (RESULTS, SUSPECTS)
    assert [(event.kind, event.message) for event in decision.events] == [
        ("check", "🔴 recent deploy: v42 deployed 5m before by ann"),
        ("check", "❔ database: no such metric"),
        ("check", "✅ resources: disk 10%, limit 90%"),
        ("suspect", "likely cause: cart: error_rate went from 0% to 12%"),
    ]


def test_a_diagnosis_is_recorded_once_an_episode() -> None:
    """Again, or of an episode that is over: nothing."""
    play = Play()
    play("fired errors medium")
    assert record(play, episode=play.incident.episode + 1) == Decision()
    assert not record(play).empty
    assert record(play) == Decision()


def test_the_thread_hears_the_likely_cause_and_what_is_bad() -> None:
    """One line; where nothing was found it says so."""
    assert summarise(FOUND) == (
        "diagnosis: likely cause cart (error_rate went from 0% to 12%) · recent deploy: v42 deployed 5m before by ann"
    )
    nothing = Diagnosis("shop", 1.0, RESULTS[1:])
    assert summarise(nothing) == "diagnosis: nothing found; 1 checks fine, 1 could not tell"


def test_a_second_look_says_only_what_is_new() -> None:
    """The same again is nothing; a check that turned bad and a cause that could be named are."""
    play = Play()
    play("fired errors medium")
    course = play.course
    unsure = replace(FOUND, suspects=(), results=(replace(RESULTS[0], verdict=Verdict.OK), *RESULTS[1:]))
    record(play, unsure)

    def look_again(found: Diagnosis) -> list[str]:
        identity, episode = play.incident.id, play.incident.episode
        decision = record_diagnosis(course.book, course.rules.catalogue, course.paging, identity, episode, found, 0.0, again=True)
        course.accept(decision)
        return [f"{event.kind} {event.message}" for event in decision.events]

    assert look_again(unsure) == []
    assert look_again(FOUND) == [
        "check 🔴 recent deploy: v42 deployed 5m before by ann",
        "suspect likely cause: cart: error_rate went from 0% to 12%",
    ]
    assert look_again(replace(FOUND, suspects=())) == []
    assert play.incident.suspects == SUSPECTS


def test_who_follows_the_incident_gets_one_update() -> None:
    """The thread of an open incident hears the summary once; nobody is paged by it."""
    play = Play()
    play("fired errors medium")
    course = play.course
    incident = replace(play.incident, told=("slack:",))
    book, paging = Book({incident.id: incident}), replace(course.paging, audience=(("slack", ""),))
    decision = record_diagnosis(book, course.rules.catalogue, paging, incident.id, incident.episode, FOUND, course.now)
    assert [(notice.channel, notice.kind, notice.values["message"]) for notice in decision.notices] == [
        ("slack", NoticeKind.UPDATE, summarise(FOUND))
    ]


def test_an_incident_that_is_gone_is_no_fault() -> None:
    """It was closed while it was being diagnosed."""
    play = Play()
    course = play.course
    assert record_diagnosis(course.book, course.rules.catalogue, course.paging, "gone", 1, FOUND, 0.0) == Decision()
