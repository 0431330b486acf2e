"""What holds for every sequence of outcomes: the promises of the path, over scripts that hypothesis invents.

In CI hypothesis loads its own `ci` profile: the same examples every time, and the blob of a failure is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from detector.domain.advance import advance
from detector.domain.alert import Phase
from detector.domain.correlate import correlate
from detector.domain.ledger import Paging
from detector.domain.outcome import NoData, Outcome, Samples
from detector.domain.severity import Severity
from tests.kit.course import FAILED, Course, Step, shop
from tests.kit.play import Play

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from detector.domain.label import Labels

EVERY, FOR, RECOVER_FOR, DEMOTE_AFTER = 5.0, 10.0, 15.0, 30.0
SERVICES = ("shop", "other")
RULES = ("errors", "latency")
TEXT = """
services:
  shop: {core: true}
  other: {pagerduty: other-team}
rules:
  - name: errors
    by: [service]
    signals: {error_rate: errors}
    open: error_rate > 0.01
    for: 10s
    recover: error_rate < 0.005
    recover_for: 15s
    demote_after: 30s
    watch: 5m
    severity: {critical: error_rate > 0.9, high: error_rate > 0.05, medium: 'true'}
  - name: latency
    by: [service]
    signals: {p95: slow}
    open: p95 > 1.0
    recover: p95 < 0.5
    recover_for: 15s
    demote_after: 30s
    watch: 5m
    severity: {high: p95 > 5.0, low: 'true'}
"""
NAN, MISSING = "nan", "missing"

Value: TypeAlias = "float | str"


@dataclass(frozen=True)
class Scene:
    """The same answers for `count` evaluations, each `gap` seconds after the one before."""

    errors: tuple[Value, ...] | None
    slow: tuple[Value, ...] | None
    gap: float
    count: int


VALUES = st.sampled_from([0.0, 0.0, 0.2, 0.2, 0.02, 0.95, 0.007, NAN, MISSING])
LATENCIES = st.sampled_from([0.1, 0.1, 2.0, 9.0, 0.7, NAN, MISSING])
SCENES = st.builds(
    Scene,
    st.none() | st.tuples(VALUES, VALUES),
    st.none() | st.tuples(LATENCIES, LATENCIES),
    st.sampled_from([5.0, 5.0, 5.0, 5.0, 4.0, 12.0, 3600.0, -3600.0, 0.0]),
    st.sampled_from([1, 1, 1, 2, 3, 5, 8, 45]),
)
SCRIPTS = st.lists(SCENES, min_size=1, max_size=12)
relaxed = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


def to_outcome(values: tuple[Value, ...] | None) -> Outcome:
    """None is a failed query."""
    if values is None:
        return FAILED
    series = {shop(name): value for name, value in zip(SERVICES, values, strict=True) if not isinstance(value, str)}
    undefined = frozenset(shop(name) for name, value in zip(SERVICES, values, strict=True) if value == NAN)
    return Samples(series, len(undefined), undefined) if series else NoData(len(undefined), undefined)


def play(course: Course, script: list[Scene]) -> Iterator[tuple[Scene, Step]]:
    """Step through the script; between two steps the course stands as it is then."""
    for scene in script:
        for _ in range(scene.count):
            yield scene, course.step(scene.gap, errors=to_outcome(scene.errors), slow=to_outcome(scene.slow))


def finish(course: Course, script: list[Scene]) -> None:
    """Step through the script to its end."""
    for _ in play(course, script):
        pass


def value_of(scene: Scene, rule: str, labels: Labels) -> Value | None:
    """What the scene says of an alert: a number, NaN, missing, or None where the query failed."""
    values = scene.errors if rule == "errors" else scene.slow
    return None if values is None else values[SERVICES.index(dict(labels)["service"])]


@relaxed
@given(SCRIPTS)
def test_unknown_never_resolves_opens_raises_or_lowers(script: list[Scene]) -> None:
    """At an evaluation that had no value for an alert, nothing but its being unknown or gone is told of it."""
    for scene, step in play(Course(TEXT), script):
        for transition in step.transitions:
            if transition.change.value not in {"unknown", "absent"}:
                known = isinstance(value_of(scene, transition.rule, transition.labels), float)
                back = transition.change.value == "present" and value_of(scene, transition.rule, transition.labels) == NAN
                assert known or back, (transition.change, scene)


@relaxed
@given(SCRIPTS)
def test_every_trigger_is_followed_by_exactly_one_resolve_once_all_is_well(script: list[Scene]) -> None:
    """After the script everything is healthy for as long as the longest recovery; then nothing is open and all keys are closed."""
    course = Course(TEXT)
    finish(course, script)
    for _ in range(200):
        course.step(EVERY, errors=dict.fromkeys(SERVICES, 0.0), slow=dict.fromkeys(SERVICES, 0.1))
    assert not any(incident.status.active for incident in course.incidents.values())
    opened = {notice.key for notice in course.notices if notice.kind.value in {"trigger", "rise", "relapse"}}
    resolved = [notice.key for notice in course.notices if notice.kind.value == "resolve"]
    assert sorted(resolved) == sorted(opened)
    event(f"{len(opened)} keys")


@relaxed
@given(SCRIPTS, st.booleans())
def test_keys_are_never_opened_twice_nor_touched_after_their_resolve(script: list[Scene], new_key: bool) -> None:  # noqa: FBT001
    """At most one open key for (incident, route), but by a rise; none is open in an incident that is over."""
    course = Course(TEXT)
    course.paging = Paging(on_rise_new_key=new_key)
    open_keys: dict[tuple[str, str], list[str]] = {}
    closed: set[str] = set()
    for _, step in play(course, script):
        for notice in step.decision.notices:
            held = open_keys.setdefault((notice.incident, notice.route), [])
            assert notice.key not in closed
            match notice.kind.value:
                case "trigger" | "relapse":
                    assert held == []
                    held.append(notice.key)
                case "rise":
                    assert held
                    assert (notice.key in held) or new_key
                    held += [] if notice.key in held else [notice.key]
                case "resolve":
                    held.remove(notice.key)
                    closed.add(notice.key)
        for (identity, _), keys in open_keys.items():
            assert bool(keys) <= course.incidents[identity].status.active


@relaxed
@given(SCRIPTS)
def test_whoever_should_be_paged_was(script: list[Scene]) -> None:
    """An active incident of at least medium severity has an open key for its route; every firing alert is in an active incident."""
    course = Course(TEXT)
    for _ in play(course, script):
        for incident in course.book.incidents.values():
            if incident.status.active and incident.severity >= Severity.MEDIUM:
                route = "other-team" if incident.service == "other" else "default"
                assert [page for page in incident.pages if page.route == route and not page.closed]
        firing = {(rule, labels) for rule in RULES for labels, state in course.states[rule].items() if state.phase is Phase.FIRING}
        held = {
            (alert.rule, alert.labels)
            for incident in course.book.incidents.values()
            if incident.status.active
            for alert in incident.alerts.values()
            if alert.firing and not alert.absent
        }
        assert firing == held


@dataclass
class Witness:
    """What one alert's values were, in evaluated time: an account of the rules that shares no code with them."""

    rule: str
    seen: float | None = None
    elapsed: float = 0.0
    breaching_since: float | None = None
    well_since: float | None = None
    judged: list[tuple[float, Severity]] = field(default_factory=list)

    def look(self, value: Value | None, now: float) -> None:
        """One evaluation. Time passes only between those that had a value, at most twice `every` at once."""
        if not isinstance(value, float):
            self.well_since = self.well_since if value is None else None  # only a failed query freezes a recovery
            return
        self.elapsed += 0.0 if self.seen is None else min(max(0.0, now - self.seen), 2 * EVERY)
        self.seen = now
        opens, well = (0.01, 0.005) if self.rule == "errors" else (1.0, 0.5)
        if value <= opens:
            self.breaching_since = None
        elif self.breaching_since is None:
            self.breaching_since = self.elapsed
        if value >= well:
            self.well_since = None
        elif self.well_since is None:
            self.well_since = self.elapsed
        self.judged.append((self.elapsed, judge(self.rule, value)))

    def worst_since(self, elapsed: float) -> Severity:
        """The highest severity judged after that moment of evaluated time."""
        return max(severity for at, severity in self.judged if at > elapsed)


def judge(rule: str, value: float) -> Severity:
    """The ladder of the rule."""
    if rule == "latency":
        return Severity.HIGH if value > 5.0 else Severity.LOW
    return Severity.CRITICAL if value > 0.9 else Severity.HIGH if value > 0.05 else Severity.MEDIUM


@relaxed
@given(SCRIPTS)
def test_durations_count_evaluated_time_only(script: list[Scene]) -> None:
    """`for`, `recover_for` and `demote_after` are reached by the witness's account, and `for` is not overstayed."""
    course = Course(TEXT)
    witnesses = {(rule, shop(name)): Witness(rule) for rule in RULES for name in SERVICES}
    for scene, step in play(course, script):
        for (rule, labels), witness in witnesses.items():
            witness.look(value_of(scene, rule, labels), step.at)
            if rule == "errors" and witness.breaching_since is not None and witness.elapsed - witness.breaching_since >= FOR:
                assert course.states[rule][labels].phase is Phase.FIRING
        for transition in step.transitions:
            witness = witnesses[transition.rule, transition.labels]
            match transition.change.value:
                case "fired":
                    assert witness.breaching_since is not None
                    assert witness.rule == "latency" or witness.elapsed - witness.breaching_since >= FOR
                case "ended":
                    assert witness.well_since is not None
                    assert witness.elapsed - witness.well_since >= RECOVER_FOR
                case "fell":
                    event("an alert fell")
                    assert transition.state.severity is not None
                    assert witness.worst_since(witness.elapsed - DEMOTE_AFTER) <= transition.state.severity
                case "rose":
                    assert transition.state.severity == witness.judged[-1][1]


@relaxed
@given(SCRIPTS)
def test_the_severity_of_an_incident_never_falls_early(script: list[Scene]) -> None:
    """It never is below what fires, nor below what ended within `demote_after`; nor does the peak ever fall."""
    course = Course(TEXT)
    before = dict(course.incidents)
    for _ in play(course, script):
        for identity, incident in course.incidents.items():
            past = before.get(identity, incident)
            assert incident.peak_severity >= max(past.peak_severity, incident.severity)
            if incident.status.active:
                assert all(alert.severity <= incident.severity for alert in incident.alerts.values() if alert.firing)
            if incident.severity < past.severity and incident.episode == past.episode:
                event("an incident fell")
                for alert in past.alerts.values():
                    if alert.ended is not None and course.now < alert.ended + DEMOTE_AFTER:
                        assert alert.severity <= incident.severity
        before = dict(course.incidents)


@relaxed
@given(SCRIPTS, SCENES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_advance_depends_on_neither_chunks_nor_order_of_keys(
    script: list[Scene], last: Scene, size: int, shuffler: random.Random
) -> None:
    """Alerts are independent: any split and any order give the same states and the same transitions."""
    course = Course(TEXT)
    finish(course, script)
    course.now += last.gap
    for rule in course.rules.rules:
        evaluation = course.read(rule, errors=to_outcome(last.errors), slow=to_outcome(last.slow))
        states = course.states[rule.name]
        keys = sorted(evaluation.readings.keys | states.keys())
        whole = advance(evaluation, keys, states)
        shuffler.shuffle(keys)
        parts = [advance(evaluation, keys[start : start + size], states) for start in range(0, len(keys), size)]
        assert {labels: state for part in parts for labels, state in part.states.items()} == whole.states
        assert set().union(*(part.dropped for part in parts)) == whole.dropped
        told = [transition for part in parts for transition in part.transitions]
        assert sorted(told, key=repr) == sorted(whole.transitions, key=repr)


@relaxed
@given(SCRIPTS, SCENES)
def test_advance_returns_the_very_same_object_where_nothing_changed(script: list[Scene], last: Scene) -> None:
    """A state is among the changed ones exactly where it differs; so a healthy alert costs no write."""
    course = Course(TEXT)
    finish(course, script)
    course.now += last.gap
    for rule in course.rules.rules:
        evaluation = course.read(rule, errors=to_outcome(last.errors), slow=to_outcome(last.slow))
        states = course.states[rule.name]
        changed = advance(evaluation, [*states], states).states
        for labels, state in changed.items():
            assert state != states[labels] or state.phase is not Phase.INACTIVE
        for labels, state in states.items():
            value = value_of(last, rule.name, labels)
            calm = isinstance(value, float) and judge_calm(rule.name, value)
            if state.phase is Phase.INACTIVE and state.missing_seconds is None and calm:
                assert labels not in changed


def judge_calm(rule: str, value: float) -> bool:
    """Whether the rule does not open at this value."""
    return value <= (0.01 if rule == "errors" else 1.0)


@relaxed
@given(SCRIPTS)
def test_a_batch_that_is_told_twice_changes_nothing_more(script: list[Scene]) -> None:
    """A commit whose answer was lost may be decided again on the book that already holds it."""
    course = Course(TEXT)
    for _, step in play(course, script):
        again = correlate(course.book, step.transitions, course.rules.catalogue, course.paging, course.now)
        assert again.empty, (step.changes, again)


@relaxed
@given(SCRIPTS)
def test_the_same_script_gives_the_same_notices_and_no_id_twice(script: list[Scene]) -> None:
    """Ids are facts of the metrics: a replay after a crash names everything as before."""
    first, second = Course(TEXT), Course(TEXT)
    finish(first, script)
    finish(second, script)
    assert first.notices == second.notices
    assert first.events == second.events
    ids = [notice.id for notice in first.notices]
    assert len(ids) == len(set(ids))


WORDS = st.builds(
    lambda change, rule, severity: f"{change} {rule} {severity}",
    st.sampled_from(["fired", "fired", "ended", "absent", "present", "rose", "unknown"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([severity.value for severity in Severity]),
)


@relaxed
@given(
    st.lists(st.lists(WORDS, max_size=4, unique_by=lambda line: line.split()[1]), max_size=5),
    st.lists(WORDS, min_size=2, max_size=3, unique_by=lambda line: line.split()[1]),
    st.randoms(use_true_random=False),
)
def test_the_order_of_alerts_in_one_batch_changes_nothing_that_counts(
    past: list[list[str]], batch: list[str], shuffler: random.Random
) -> None:
    """Severity, services, status and whether each route was paged are the same for every order."""
    shuffled = [*batch]
    shuffler.shuffle(shuffled)
    found = []
    for order in (batch, shuffled):
        course = Play()
        for lines in past:
            course(*lines)
        course(*order)
        incidents = course.course.incidents.values()
        pages = {page.route for incident in incidents for page in incident.pages if not page.closed}
        facts = sorted((item.severity.value, item.peak_severity.value, item.status.value, item.services) for item in incidents)
        found.append((facts, pages, len(course.course.book.incidents)))
    assert found[0] == found[1]
