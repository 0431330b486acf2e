"""Alert states through scripted evaluations, five seconds apart unless a step says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detector.domain.advance import Advanced, advance, end_alerts
from detector.domain.alert import Change, Phase
from detector.domain.label import make_labels
from detector.domain.outcome import NoData, Samples
from detector.domain.severity import Severity
from tests.kit.course import FAILED, GONE, Answer, Course, shop

GOOD, BAD, MIDDLE = 0.0, 0.2, 0.005
NAN = NoData(1, frozenset({shop()}))
OTHER = Samples({shop("other"): 0.0})


def make_course(**keys: Any) -> Course:
    """One rule `errors` by service over the metric `errors`; keys replace or add. `core`: whether the service is."""
    core = keys.pop("core", False)
    rule = {
        "name": "errors",
        "by": "[service]",
        "signals": "{error_rate: errors}",
        "open": "error_rate > 0.01",
        "recover": "error_rate < 0.001",
        "recover_for": "10s",
    } | keys
    text = "\n      ".join(f"{key}: {value}" for key, value in rule.items())
    return Course("\n".join([f"services: {{shop: {{core: {str(core).lower()}}}}}", "rules:", f"    - {text}"]))


def walk(course: Course, *answers: Answer | float) -> list[str]:
    """One step for each answer; the changes of each step, joined; "-" where nothing changed."""
    said = []
    for answer in answers:
        step = course.step(errors={"shop": answer} if isinstance(answer, int | float) else answer)
        said.append("+".join(step.changes) or "-")
    return said


@pytest.mark.parametrize(
    ("keys", "answers", "changes"),
    [
        pytest.param({}, [GOOD, BAD, BAD], ["-", "fired", "-"], id="for 0 fires at once"),
        pytest.param({"for": "10s"}, [BAD, BAD, BAD], ["pending", "-", "fired"], id="for is reached, not exceeded"),
        pytest.param({"for": "11s"}, [BAD, BAD, BAD, BAD], ["pending", "-", "-", "fired"], id="for is not reached early"),
        pytest.param({"for": "10s"}, [BAD, BAD, GOOD, BAD], ["pending", "-", "cleared", "pending"], id="one good clears"),
        pytest.param({}, [BAD, GOOD, GOOD, GOOD], ["fired", "-", "-", "ended"], id="recover_for is reached"),
        pytest.param({}, [BAD, GOOD, GOOD, BAD, GOOD], ["fired", "-", "-", "-", "-"], id="a breach restarts recover_for"),
        pytest.param({}, [BAD, GOOD, MIDDLE, GOOD, GOOD, GOOD], ["fired", "-", "-", "-", "-", "ended"], id="between is neither"),
        pytest.param({"recover_for": "0s"}, [BAD, GOOD], ["fired", "ended"], id="recover_for 0 ends at once"),
        pytest.param({"keep_open": "20s"}, [BAD, *[GOOD] * 5], ["fired", "-", "-", "-", "-", "ended"], id="keep_open outlasts"),
        pytest.param({"keep_open": "5s"}, [BAD, GOOD, GOOD, GOOD], ["fired", "-", "-", "ended"], id="keep_open is shorter"),
    ],
)
def test_durations_are_reached_exactly(keys: dict[str, str], answers: list[float], changes: list[str]) -> None:
    """`for`, `recover_for` and `keep_open` end with the evaluation that reaches them, and begin anew after the contrary."""
    assert walk(make_course(**keys), *answers) == changes


@pytest.mark.parametrize(
    ("answers", "changes"),
    [
        pytest.param([FAILED, FAILED], ["-", "-"], id="failed, inactive"),
        pytest.param([GOOD, GONE, FAILED], ["-", "-", "-"], id="gone, inactive"),
        pytest.param([NAN, NAN], ["-", "-"], id="NaN, inactive"),
        pytest.param([BAD, FAILED, FAILED, BAD], ["fired", "unknown", "-", "known"], id="failed, firing"),
        pytest.param([BAD, GONE, GONE, GONE, GONE], ["fired", "unknown", "-", "-", "-"], id="gone, firing"),
        pytest.param([BAD, NAN, NAN, NAN, NAN], ["fired", "unknown", "-", "-", "-"], id="NaN, firing"),
        pytest.param([BAD, OTHER, OTHER, OTHER], ["fired", "unknown", "-", "-"], id="vanished beside another, firing"),
        pytest.param([BAD, FAILED, GONE, NAN, GOOD], ["fired", "unknown", "-", "-", "known"], id="one unknown after another"),
        pytest.param(
            [BAD, GOOD, GOOD, FAILED, GOOD], ["fired", "-", "-", "unknown", "known+ended"], id="a failure freezes recovery"
        ),
        pytest.param([BAD, GOOD, GOOD, GONE, GOOD], ["fired", "-", "-", "unknown", "known"], id="no data is not recovered"),
    ],
)
def test_unknown_neither_opens_nor_resolves(answers: list[Answer | float], changes: list[str]) -> None:
    """A failed query, an empty answer, NaN and a vanished series keep the state; only the first of them is told."""
    assert walk(make_course(), *answers) == changes


def test_unknown_keeps_a_pending_alert_where_it_is() -> None:
    """Progress towards `for` neither grows nor is lost while the query fails."""
    course = make_course(**{"for": "20s"})
    assert walk(course, BAD, BAD) == ["pending", "-"]
    before = course.state().pending_seconds
    assert walk(course, FAILED, FAILED, FAILED) == ["unknown", "-", "-"]
    assert course.state().pending_seconds == before == 5.0
    assert course.state().unknown == "query failed: timeout"
    assert walk(course, BAD, BAD) == ["known", "fired"], "10 s for the first gap, at most twice `every`, then 5"


@pytest.mark.parametrize("jump", [3600.0, 86400.0, -3600.0, 0.0])
def test_downtime_and_clock_jumps_add_two_intervals_at_most(jump: float) -> None:
    """An hour without an evaluation is no hour of breach, nor of recovery; a clock set back adds nothing."""
    course = make_course(**{"for": "1m", "recover_for": "1m"})
    course.step(errors={"shop": BAD})
    course.step(jump, errors={"shop": BAD})
    assert course.state().pending_seconds == (10.0 if jump > 0 else 0.0)
    course.run(60, errors={"shop": BAD})
    assert course.phase() == "firing"
    course.step(errors={"shop": GOOD})
    course.step(jump, errors={"shop": GOOD})
    assert course.phase() == "firing"
    assert course.state().recovering_seconds == (10.0 if jump > 0 else 0.0)


def test_too_little_traffic_neither_opens_nor_resolves() -> None:
    """Below `min_total` the state is kept and says why."""
    signals = "{error_rate: {ratio: [errors, total], min_total: 20}}"
    course = make_course(signals=signals)
    assert course.step(errors={"shop": 3}, total={"shop": 3}).changes == []
    assert course.phase() == "inactive"
    assert course.step(errors={"shop": 30}, total={"shop": 30}).changes == ["fired"]
    assert course.step(errors={"shop": 0}, total={"shop": 3}).changes == ["unknown"]
    assert course.state().unknown == "insufficient traffic"
    course.run(60, errors={"shop": 0}, total={"shop": 0})
    assert course.phase() == "firing"


def test_a_service_that_never_failed_has_an_error_rate_of_zero() -> None:
    """A numerator without the service's series is no unknown."""
    course = make_course(signals="{error_rate: {ratio: [errors, total]}}")
    course.step(errors={"shop": 5}, total={"shop": 100})
    assert [course.step(errors=GONE, total={"shop": 100}).changes for _ in range(3)] == [[], [], ["ended"]]


def test_confidence_delays_opening_and_nothing_else() -> None:
    """2 errors in 100 are not surely over 1%; severity, recovery and the numbers shown use the plain ratio."""
    keys = {"signals": "{error_rate: {ratio: [errors, total], confidence: 0.95}}", "recover": "error_rate < 0.02"}
    course = make_course(**keys)
    assert course.step(errors={"shop": 2}, total={"shop": 100}).changes == []
    assert course.step(errors={"shop": 6}, total={"shop": 100}).changes == ["fired"]
    state = course.state()
    assert state.severity is Severity.HIGH, "6% is over 5%, its lower bound is not"
    assert state.signals["error_rate"].value == 0.06
    assert [course.step(errors={"shop": 2}, total={"shop": 100}).changes for _ in range(4)] == [[]] * 4, "2% is not under 2%"


def test_a_failed_signal_leaves_the_decision_to_the_others() -> None:
    """`a || b` is true when b is, whatever a might be; it is unknown when b is false. Bounds stay bounds meanwhile."""
    signals = "{error_rate: {ratio: [errors, total], confidence: 0.95}, p95: slow}"
    course = make_course(signals=signals, open="error_rate > 0.01 || p95 > 1.0")
    assert course.step(errors={"shop": 2}, total={"shop": 100}, slow=FAILED).changes == []
    assert course.step(errors=FAILED, total=FAILED, slow={"shop": 0.5}).changes == []
    assert course.step(errors=FAILED, total=FAILED, slow={"shop": 2.0}).changes == ["fired"]
    assert course.step(errors=FAILED, total=FAILED, slow={"shop": 0.5}).changes == ["unknown"]


# --- severity


LADDER = {"signals": "{error_rate: 'rate(errors[$window])'}", "demote_after": "20s"}


def test_severity_is_judged_over_its_own_window() -> None:
    """A full outage is CRITICAL in one minute, while the five-minute value still says 20%."""
    course = make_course(core=True, **LADDER)
    course.step(errors={"shop": 0.2}, recent={"errors": {"shop": 1.0}})
    assert course.state().severity is Severity.CRITICAL
    assert course.state().signals["error_rate"].value == 0.2, "the numbers shown are those of the rule's window"


def test_where_the_severity_window_is_empty_the_rules_window_counts() -> None:
    """A minute without traffic is no reason to lower anything."""
    course = make_course(**LADDER)
    course.step(errors={"shop": 0.2}, recent={"errors": GONE})
    assert course.state().severity is Severity.HIGH


def test_severity_rises_at_once_and_falls_after_demote_after() -> None:
    """The fall is to the highest severity seen meanwhile; a rise in between starts it anew."""
    course = make_course(core=True, **LADDER)
    rates = [0.02, 0.2, 1.0, 0.2, 0.02, 0.02, 0.2, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02]
    said = walk(course, *rates)
    assert said == ["fired", "rose", "rose", "-", "-", "-", "-", "fell", "-", "-", "-", "-", "fell"]
    assert course.state().severity is Severity.MEDIUM
    course = make_course(core=True, **LADDER)
    walk(course, 1.0, 0.02, 0.02, 0.02, 0.02)
    assert walk(course, 1.0, 0.02, 0.02, 0.02, 0.02, 0.02) == ["-", "-", "-", "-", "-", "fell"]


def test_an_unknown_rung_blocks_any_fall_below_it_and_is_named() -> None:
    """While affected_users is not known, HIGH cannot be ruled out; CRITICAL may still fall to it."""
    signals = "{error_rate: errors, affected_users: users}"
    severity = '{critical: "error_rate > 0.5", high: "affected_users > 0.5", medium: "true"}'
    course = make_course(signals=signals, severity=severity, demote_after="20s")
    course.step(errors={"shop": 0.9}, users={"shop": 0.9})
    assert course.state().severity is Severity.CRITICAL
    steps = course.run(60, errors={"shop": 0.02}, users=FAILED)
    assert [change for step in steps for change in step.changes] == ["fell"]
    assert (course.state().severity, course.state().blocked) == (Severity.HIGH, ("high",))
    steps = course.run(30, errors={"shop": 0.02}, users={"shop": 0.1})
    assert [change for step in steps for change in step.changes] == ["fell"]
    assert (course.state().severity, course.state().blocked) == (Severity.MEDIUM, ())


def test_a_failed_severity_window_blocks_too() -> None:
    """An unknown minute cannot lower what the five minutes before it said."""
    course = make_course(**LADDER)
    course.step(errors={"shop": 0.2}, recent={"errors": {"shop": 0.2}})
    for _ in range(20):
        course.step(errors={"shop": 0.02}, recent={"errors": FAILED})
    assert course.state().severity is Severity.HIGH


def test_durations_of_a_fall_count_evaluated_time() -> None:
    """An hour of downtime is ten seconds of lower severity."""
    course = make_course(**LADDER)
    walk(course, 0.2, 0.02)
    course.step(3600, errors={"shop": 0.02})
    assert course.state().severity is Severity.HIGH
    assert course.state().lower_seconds == 10.0


def test_severity_is_asked_for_only_where_something_is_pending_or_firing() -> None:
    """Without severity readings `advance` says that it wants them, and only then."""
    course = make_course(**{"for": "10s"})
    for answer, wanted in ((GOOD, False), (BAD, True)):
        evaluation = replace(course.read(course.rule, errors={"shop": answer}), severity_readings=None)
        assert advance(evaluation, [shop()], {}).wants_severity is wanted


# --- baselines


BASED = {"open": "error_rate > 4.0 * error_rate_baseline", "recover": "'!open && error_rate <= 1.2 * error_rate_baseline'"}


def test_a_missing_baseline_leaves_open_unknown() -> None:
    """No baseline, no page; nor an end of one."""
    course = make_course(**BASED)
    course.run(30, errors={"shop": 0.9})
    assert course.phase() == "inactive"
    course.step(errors={"shop": 0.9}, baselines={"error_rate": {"shop": 0.1}})
    assert course.phase() == "firing"
    assert course.state().threshold == pytest.approx(0.4)


def test_the_baseline_is_frozen_when_the_alert_becomes_pending() -> None:
    """What the breach does to the median of the last hour changes neither the judgement nor the threshold shown."""
    course = make_course(**BASED, **{"for": "10s"})
    course.step(errors={"shop": 0.5}, baselines={"error_rate": {"shop": 0.1}})
    for _ in range(5):
        course.step(errors={"shop": 0.5}, baselines={"error_rate": {"shop": 0.5}})
    assert course.phase() == "firing"
    assert course.state().baselines == {"error_rate": 0.1}
    assert course.state().threshold == pytest.approx(0.4)


def test_after_an_hour_the_greater_of_frozen_and_history_counts() -> None:
    """A level that is usual at this hour ends the breach; before the hour is over it does not."""
    course = make_course(**BASED)
    course.step(errors={"shop": 0.5}, baselines={"error_rate": {"shop": 0.1}})
    for _ in range(10):
        course.step(errors={"shop": 0.5}, history={"error_rate": {"shop": 0.5}})
    assert course.phase() == "firing"
    course.step(3600, errors={"shop": 0.5}, history={"error_rate": {"shop": 0.5}})
    assert course.state().threshold == pytest.approx(0.4), "nothing holds at the new threshold: the one that held stays"
    said = [course.step(errors={"shop": 0.5}, history={"error_rate": {"shop": 0.5}}).changes for _ in range(3)]
    assert said == [[], ["ended"], []]
    assert course.phase() == "inactive"


def test_the_term_of_a_missing_baseline_is_left_out_of_recover() -> None:
    """The default recovery has two ways to be well; without a baseline one is left, and it is enough."""
    keys = {"recover": "'!open && (error_rate < 0.001 || error_rate <= 1.2 * error_rate_baseline)'"}
    course = make_course(**keys)
    assert walk(course, BAD, MIDDLE, MIDDLE, MIDDLE, MIDDLE) == ["fired", "-", "-", "-", "-"]
    assert walk(course, GOOD, GOOD, GOOD) == ["-", "-", "ended"]
    course = make_course(**keys)
    course.step(errors={"shop": BAD}, baselines={"error_rate": {"shop": 0.005}})
    assert walk(course, MIDDLE, MIDDLE, MIDDLE) == ["-", "-", "ended"]
    course = make_course(recover="error_rate <= 1.2 * error_rate_baseline")
    assert walk(course, BAD, MIDDLE, MIDDLE, MIDDLE) == ["fired", "-", "-", "ended"], "with no term left, `!open` counts"


# --- no data


@pytest.mark.parametrize(
    ("policy", "answers", "changes"),
    [
        ("open", [GOOD, GONE, GONE], ["-", "fired", "-"]),
        ("open", [GOOD, GONE, FAILED, GOOD, GOOD, GOOD], ["-", "fired", "unknown", "known", "-", "ended"]),
        ("open", [GOOD, NAN], ["-", "fired"]),
        ("resolve", [BAD, GONE, GONE, GONE], ["fired", "-", "-", "ended"]),
        ("resolve", [BAD, FAILED, FAILED, FAILED, FAILED], ["fired", "unknown", "-", "-", "-"]),
        ("keep", [BAD, GONE, GONE, GONE], ["fired", "unknown", "-", "-"]),
    ],
)
def test_no_data_means_what_the_rule_says_and_a_failed_query_always_keeps(
    policy: str, answers: list[Answer | float], changes: list[str]
) -> None:
    """`no_data` speaks of successful queries only."""
    assert walk(make_course(no_data=policy), *answers) == changes


def test_an_end_without_data_claims_no_value_at_recovery() -> None:
    """What is gone has not been seen to be well."""
    course = make_course(no_data="resolve")
    walk(course, BAD, GONE, GONE)
    (ended,) = course.step(errors=GONE).transitions
    assert ended.reason == "no data"
    assert (ended.state.signals["error_rate"].value, ended.state.signals["error_rate"].at_recovery) == (BAD, None)


GROUPS = """
groups:
  - name: imported
    interval: 5s
    rules:
      - {alert: Errors, expr: errors > 0.01, for: 5s}
"""


def test_a_prometheus_rule_fires_while_its_query_answers() -> None:
    """An empty answer of a successful query means not firing; a failed one and NaN are unknown."""
    course = Course(GROUPS)
    said = [
        course.step(errors=answer).changes
        for answer in ({"shop": 0.2}, {"shop": 0.2}, FAILED, FAILED, {"shop": 0.2}, NAN, {"shop": 0.2}, GONE)
    ]
    assert said == [["pending"], ["fired"], ["unknown"], [], ["known"], ["unknown"], ["known"], ["ended"]]


def test_a_prometheus_rule_forgets_what_it_no_longer_returns() -> None:
    """Every pod that ever failed would stay for ever."""
    course = Course(GROUPS)
    course.step(errors={"shop": 0.2})
    for _ in range(730):
        course.step(errors=OTHER)
    assert course.phase() == "none"


# --- vanished series


def test_a_core_service_that_vanishes_is_told_after_three_minutes_and_ends_when_it_is_back() -> None:
    """Others answer meanwhile; the absence is told once."""
    course = make_course(core=True)
    course.step(errors={"shop": 0.0, "other": 0.0})
    said = [(number * 5, change) for number in range(60) for change in course.step(errors=OTHER).changes]
    assert said == [(180, "absent")]
    (present,) = course.step(errors={"shop": 0.0, "other": 0.0}).transitions
    assert (present.change.value, present.reason) == ("present", "recovered")
    assert course.state().missing_seconds is None


@pytest.mark.parametrize("answer", [FAILED, NAN])
def test_unknown_is_not_vanished(answer: Answer) -> None:
    """A failing query and a series without a value (a night without traffic) never make a core service "absent"."""
    course = make_course(core=True)
    course.step(errors={"shop": 0.0})
    assert all(step.changes == [] for step in course.run(600, errors=answer))


def test_a_core_service_without_traffic_is_not_absent() -> None:
    """A denominator of zero is no data, but the series is there."""
    course = make_course(core=True, signals="{error_rate: {ratio: [errors, total]}}")
    course.step(errors={"shop": 0}, total={"shop": 100})
    assert all(step.changes == [] for step in course.run(600, errors={"shop": 0}, total={"shop": 0}))


@pytest.mark.parametrize(("core", "answering"), [(False, True), (True, False)])
def test_absence_needs_a_core_service_and_others_that_answer(core: bool, answering: bool) -> None:  # noqa: FBT001
    """Whether everything is gone is for `blind` to say."""
    course = make_course(core=core)
    course.step(errors={"shop": 0.0})
    assert all(step.changes == [] for step in course.run(600, errors=OTHER if answering else GONE, answering=answering))


def test_absence_ends_when_a_reload_makes_nobody_wait_for_it() -> None:
    """The service is no longer core: its "no data" incident may not stand for ever."""
    course = make_course(core=True)
    course.step(errors={"shop": 0.0})
    course.run(200, errors=OTHER)
    assert course.state().absent
    course.rules = make_course(core=False).rules
    (present,) = course.step(errors=OTHER).transitions
    assert (present.change.value, present.reason) == ("present", "gone")


def test_a_vanished_series_is_forgotten_after_an_hour_unless_something_is_open() -> None:
    """Only inactive alerts are forgotten, and only while others answer."""
    course = make_course()
    course.step(errors={"shop": GOOD, "other": GOOD, "third": BAD})
    course.run(3600, errors=OTHER)
    assert course.phase() == "inactive"
    course.run(10, errors=OTHER)
    assert course.phase() == "none"
    assert course.phase("third") == "firing"
    course = make_course()
    course.step(errors={"shop": GOOD})
    course.run(4000, errors=GONE, answering=False)
    assert course.phase() == "inactive"


# --- relapses, flaps, peaks


def test_each_relapse_within_the_watch_doubles_recover_for() -> None:
    """10 s, then 20, then 40; after the watch it starts at 10 again."""
    course = make_course(watch="2m")
    lengths = []
    for pause in (0, 60, 60, 150):
        if pause:
            course.run(pause, errors={"shop": GOOD})
        walk(course, BAD)
        lengths.append(next(number for number in range(100) if "ended" in course.step(errors={"shop": GOOD}).changes) * 5)
    assert lengths == [10, 20, 40, 10]


def test_recover_for_doubles_to_an_hour_at_most() -> None:
    """A rule that flaps for a day still can end within an hour of calm."""
    course = make_course(recover_for="20m", watch="10h")
    lengths = []
    for _ in range(3):
        walk(course, BAD)
        steps = course.run(4000, errors={"shop": GOOD})
        lengths.append(next(number for number, step in enumerate(steps) if "ended" in step.changes) * 5)
    assert lengths == [1200, 2400, 3600]


def test_a_pending_alert_that_clears_is_no_relapse() -> None:
    """Only what fired counts."""
    course = make_course(**{"for": "10s"})
    walk(course, BAD, BAD, BAD, GOOD, GOOD, GOOD)
    walk(course, BAD, GOOD, BAD, GOOD)
    assert course.state().relapses == 0
    walk(course, BAD, BAD, BAD)
    assert course.state().relapses == 1


def test_flaps_are_counted() -> None:
    """Each return of the breach before recovery is verified is one."""
    course = make_course()
    walk(course, BAD, GOOD, BAD, BAD, GOOD, GOOD, BAD)
    assert course.state().flaps == 2
    assert course.phase() == "firing"


def test_the_worst_value_is_the_greatest_or_for_a_lower_bound_the_smallest() -> None:
    """The peak of "traffic gone" is its lowest point."""
    course = make_course()
    walk(course, 0.02, 0.3, 0.1)
    assert (course.state().signals["error_rate"].value, course.state().signals["error_rate"].peak) == (0.1, 0.3)
    course = make_course(open="error_rate < 10.0", recover="error_rate > 20.0", severity='{medium: "true"}')
    walk(course, 5.0, 1.0, 3.0)
    state = course.state()
    assert (state.signals["error_rate"].peak, state.signal, state.threshold) == (1.0, "error_rate", 10.0)


def test_the_end_carries_value_peak_and_value_at_recovery() -> None:
    """What the page of the resolve says was measured, not remembered."""
    course = make_course()
    walk(course, 0.2, 0.9, 0.0005, 0.0004)
    (ended,) = course.step(errors={"shop": 0.0003}).transitions
    track = ended.state.signals["error_rate"]
    assert (ended.change.value, track.value, track.peak, track.at_recovery) == ("ended", 0.0003, 0.9, 0.0003)
    assert ended.state.breached == course.now - 20


# --- objects, chunks, overrides, removal


def test_what_outlasts_the_breach_is_not_what_was_wrong() -> None:
    """A count beside the rate holds long after the rate is well: the rate stays the signal, to its value at recovery."""
    course = make_course(signals="{error_rate: errors, failures: failures}", open="'error_rate > 0.01 && failures >= 5'")
    for rate, failures in ((0.2, 400.0), (0.0005, 40.0), (0.0002, 10.0)):
        course.step(errors={"shop": rate}, failures={"shop": failures})
        assert (course.state().signal, course.state().threshold) == ("error_rate", 0.01)
    ended = course.step(errors={"shop": 0.0}, failures={"shop": 0.0}).transitions[-1].state
    track = ended.signals["error_rate"]
    assert (ended.signal, track.peak, track.at_recovery) == ("error_rate", 0.2, 0.0)


def test_the_very_same_object_comes_back_where_nothing_changed() -> None:
    """A healthy alert, and an unknown one, cost no write."""
    course = make_course()
    walk(course, GOOD)
    before = course.state()
    walk(course, GOOD, FAILED, GOOD)
    assert course.state() is before
    walk(course, BAD, FAILED)
    before = course.state()
    walk(course, FAILED)
    assert course.state() is before


def test_an_override_judges_its_alerts_by_its_own_thresholds() -> None:
    """The others keep the rule's."""
    course = make_course(overrides='[{match: {service: [batch]}, open: "error_rate > 0.5", for: 5s}]')
    course.step(errors={"shop": 0.2, "batch": 0.2})
    assert (course.phase("shop"), course.phase("batch")) == ("firing", "inactive")
    course.step(errors={"shop": 0.2, "batch": 0.6})
    assert course.phase("batch") == "pending"


def test_a_removed_rule_ends_what_fires_and_what_is_absent() -> None:
    """Everything is dropped; only what somebody heard of is told."""
    course = make_course(core=True)
    course.step(errors={"shop": GOOD, "other": BAD, "third": GOOD})
    course.run(200, errors={"other": BAD, "third": GOOD})
    ended = end_alerts("errors", course.states["errors"], course.now, "rule removed")
    assert isinstance(ended, Advanced)
    told = sorted((transition.change.value, dict(transition.labels)["service"]) for transition in ended.transitions)
    assert told == [("ended", "other"), ("present", "shop")]
    assert ended.dropped == set(course.states["errors"])
    step = course.tell(*ended.transitions)
    assert step.notices == ["resolve", "resolve"]
    assert {incident.end_reason for incident in course.incidents.values()} == {"rule removed"}
    assert Phase.FIRING in {state.phase for state in course.states["errors"].values()}, "pure: the states given are left alone"


@pytest.mark.parametrize(
    ("rest", "reason"), [({"instance": "b", "job": "node"}, "gone"), ({"instance": "b", "job": "other"}, ""), (None, "")]
)
def test_a_vanished_target_is_gone_only_if_the_rest_of_its_job_answers(rest: dict[str, str] | None, reason: str) -> None:
    """After an hour without its series; if its whole job is silent, or none can be told, the alert stays where it is."""
    text = """
rules:
  - {name: memory, by: [instance, job], every: 5m, signals: {used: used}, open: used > 0.8, recover_for: 0s}
"""
    course = Course(text)
    lost = make_labels({"instance": "a", "job": "node"})
    others = {} if rest is None else {make_labels(rest): 0.1}
    course.step(300, used=Samples({lost: 0.9, **others}))
    steps = [course.step(300, used=Samples(others) if others else NoData()) for _ in range(14)]
    ended = [change for step in steps for change in step.transitions if change.change is Change.ENDED]
    assert [change.reason for change in ended] == ([reason] if reason else [])
