"""What a diagnosis changes in an incident."""

from dataclasses import replace

from detector.domain.check import Check, Diagnosis, Result, Verdict
from detector.domain.examination import CALM_INCIDENTS, PAGE_SECONDS, record_diagnosis, record_results, summarise
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
    assert [(notice.channel, notice.kind, notice.values["message"]) for notice in decision.notices[:1]] == [
        ("slack", NoticeKind.UPDATE, summarise(FOUND))
    ]
    assert len(decision.notices) == 1


def test_an_incident_that_is_gone_is_no_fault() -> None:
    """It was closed while it was being diagnosed."""
    play = Play()
    course = play.course
    assert record_diagnosis(course.book, course.rules.catalogue, course.paging, "gone", 1, FOUND, 0.0) == Decision()


def record_early(play: Play, *results: Result, told: frozenset[Check] = frozenset(), later_seconds: float = 0.0) -> Decision:
    """Results while the rest is asked."""
    course = play.course
    incident, at = play.incident, course.now + later_seconds
    decision = record_results(course.book, course.rules.catalogue, course.paging, incident.id, incident.episode, results, told, at)
    course.accept(decision)
    return decision


def test_results_go_into_ticket_thread_and_page_before_the_diagnosis_ends() -> None:
    """What came first is in the ticket in the practice's order and is told; the end says only what is new."""
    play = Play(audience=(("slack", ""),), tells_pages=True)
    play("fired errors medium")
    early = record_early(play, RESULTS[1], RESULTS[0])
    assert play.incident.checks == RESULTS[:2]
    assert [event.message for event in early.events] == [
        "🔴 recent deploy: v42 deployed 5m before by ann",
        "❔ database: no such metric",
    ]
    thread, page = early.notices
    assert (thread.channel, thread.values["message"]) == (
        "slack",
        "diagnosis so far: recent deploy: v42 deployed 5m before by ann",
    )
    assert (page.channel, page.kind, page.key) == ("pagerduty", NoticeKind.UPDATE, play.incident.pages[0].key)
    assert page.values["diagnosis"][0] == "🔴 recent deploy: v42 deployed 5m before by ann"
    course = play.course
    told = frozenset({Check.DEPLOY, Check.DATABASE})
    end = record_diagnosis(
        course.book, course.rules.catalogue, course.paging, play.incident.id, play.incident.episode, FOUND, course.now, told=told
    )
    course.accept(end)
    assert [event.kind for event in end.events] == ["check", "suspect"]
    assert [(notice.channel, notice.values["message"]) for notice in end.notices] == [
        ("slack", "diagnosis: likely cause cart (error_rate went from 0% to 12%)")
    ]
    assert len(play.incident.checks) == len(RESULTS)


def test_results_without_a_finding_wait_for_the_end_to_be_told() -> None:
    """They are in the ticket at once; the thread hears one line, at the end."""
    play = Play(audience=(("slack", ""),), tells_pages=True)
    play("fired errors medium")
    early = record_early(play, *RESULTS[1:])
    assert (len(early.events), early.notices) == (2, ())
    course = play.course
    told = frozenset({Check.DATABASE, Check.RESOURCES})
    found = Diagnosis("shop", 1.0, RESULTS[1:])
    incident = play.incident
    end = record_diagnosis(
        course.book, course.rules.catalogue, course.paging, incident.id, incident.episode, found, course.now, told=told
    )
    assert [notice.values["message"] for notice in end.notices] == ["diagnosis: nothing found; 1 checks fine, 1 could not tell"]


def page_updates(play: Play, *, later_seconds: float = 0.0, result: Result = RESULTS[0]) -> int:
    """How many events a finding is worth to PagerDuty."""
    decision = record_early(play, result, later_seconds=later_seconds)
    return sum(notice.channel == "pagerduty" for notice in decision.notices)


def test_a_page_hears_only_where_one_more_trigger_harms_nobody() -> None:
    """Not late, not of a symptom, not in a storm, not what somebody has taken, not where it is a note."""
    play = Play(tells_pages=True)
    play("fired errors medium")
    assert page_updates(play) == 1
    late = Play(tells_pages=True)
    late("fired errors medium")
    assert page_updates(late, later_seconds=PAGE_SECONDS + 1) == 0
    symptom = Play(tells_pages=True)
    symptom("fired errors medium")
    assert page_updates(symptom, result=Result(Check.ERROR_RATE, Verdict.BAD, "12%")) == 0
    noted = Play()
    noted("fired errors medium")
    assert page_updates(noted) == 0


def test_in_a_storm_the_events_belong_to_the_pages() -> None:
    """With more incidents under way than a calm day has, a diagnosis sends PagerDuty nothing."""
    play = Play(tells_pages=True)
    for number in range(CALM_INCIDENTS + 1):
        play("fired errors medium", service=f"s{number}")
    course = play.course
    incident = next(iter(course.book.incidents.values()))
    decision = record_results(
        course.book, course.rules.catalogue, course.paging, incident.id, incident.episode, RESULTS, frozenset(), course.now
    )
    assert len(decision.events) == 3
    assert not [notice for notice in decision.notices if notice.channel == "pagerduty"]
