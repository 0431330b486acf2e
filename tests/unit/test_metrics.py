"""The daemon's own metrics: every series at zero from the start, fed by the observer's calls."""

import re

import pytest

from detector.adapters.pagerduty.limit import Part
from detector.domain.condition import Bindings, Comparison
from detector.domain.incident import Decision, NoticeKind, Status
from detector.domain.rule import Instant, Location, Policy, Recovery, Rule
from detector.domain.severity import Severity
from detector.ports.store import Backlog, Delivery
from detector.web.metrics import PAGE_PARTS, Metrics
from tests.kit.sample import make_incident


class _Never:
    text = "false"
    names: frozenset[str] = frozenset()
    comparisons: tuple[Comparison, ...] = ()

    def evaluate(self, bindings: Bindings) -> bool | None:
        del bindings
        return False


def _rule(name: str) -> Rule:
    policy = Policy(open=_Never(), recover=Recovery("false", ()), severity=())
    return Rule(name=name, signals=(Instant("up", "up"),), policy=policy, source=Location("a.yaml", 1))


def _delivery(kind: NoticeKind = NoticeKind.TRIGGER, channel: str = "pagerduty") -> Delivery:
    return Delivery("n", "i", 1, kind, channel, "default", "k", Severity.HIGH, created=100.0, values={})


@pytest.fixture
def metrics() -> Metrics:
    """Metrics with one rule and PagerDuty configured."""
    made = Metrics("1.2.3", ["pagerduty"])
    made.rules_loaded([_rule("http-errors")], 50.0)
    return made


def _value(metrics: Metrics, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics.render().decode(), re.MULTILINE)
    return float(found[1]) if found else None


ZERO = [
    *(f'detector_evaluations_total{{outcome="{outcome}",rule="http-errors"}}' for outcome in ("ok", "no_data", "error")),
    'detector_evaluation_duration_seconds_count{rule="http-errors"}',
    'detector_missed_evaluations_total{rule="http-errors"}',
    'detector_last_successful_evaluation_timestamp_seconds{rule="http-errors"}',
    "detector_query_duration_seconds_count",
    'detector_query_errors_total{reason="timeout"}',
    'detector_query_errors_total{reason="partial"}',
    *(f'detector_alerts{{rule="http-errors",state="{state}"}}' for state in ("inactive", "pending", "firing")),
    *(f'detector_incidents{{severity="critical",status="{status}"}}' for status in ("open", "acknowledged", "resolved")),
    *(f'detector_incidents_opened_total{{rule="http-errors",severity="{word}"}}' for word in ("low", "medium", "high", "critical")),
    *(
        f'detector_notifications_total{{channel="pagerduty",outcome="{outcome}"}}'
        for outcome in ("accepted", "retried", "rejected", "collapsed")
    ),
    'detector_notification_latency_seconds_count{channel="pagerduty"}',
    'detector_outbox_depth{channel="pagerduty"}',
    'detector_outbox_oldest_age_seconds{channel="pagerduty"}',
    "detector_detection_to_page_seconds_count",
    *(f'detector_page_cuts_total{{part="{part}"}}' for part in Part),
    *(f'detector_time_to_{what}_seconds_count{{severity="high"}}' for what in ("acknowledge", "mitigate", "resolve")),
    "detector_event_loop_lag_seconds",
    'detector_leader{shard="0"}',
    'detector_leader{shard="63"}',
]


@pytest.mark.parametrize("series", ZERO)
def test_a_series_exists_at_zero_from_the_start(metrics: Metrics, series: str) -> None:
    """Before anything happened the series is there, so that rate() and alerts on it work."""
    assert _value(metrics, series) == 0.0


def test_what_is_cut_from_a_page_is_counted_by_part(metrics: Metrics) -> None:
    """Each part that the channel may name has its series, and no other."""
    assert set(PAGE_PARTS) == set(Part)
    metrics.page_cut(Part.SUMMARY)
    metrics.page_cut(Part.SUMMARY)
    assert _value(metrics, 'detector_page_cuts_total{part="summary"}') == 2
    assert _value(metrics, 'detector_page_cuts_total{part="links"}') == 0


def test_the_build_and_the_reload_are_told(metrics: Metrics) -> None:
    """The version is a label; a load sets the reload's success and time, a refused one only the success."""
    assert _value(metrics, 'detector_build_info{version="1.2.3"}') == 1
    assert _value(metrics, "detector_config_last_reload_successful") == 1
    metrics.rules_refused(["a.yaml:1:1: no"])
    assert _value(metrics, "detector_config_last_reload_successful") == 0
    assert _value(metrics, "detector_config_last_reload_success_timestamp_seconds") == 50.0


def test_the_interval_of_a_rule_is_told(metrics: Metrics) -> None:
    """So that an alert on rules that are not evaluated knows how long each may take."""
    assert _value(metrics, 'detector_rule_interval_seconds{rule="http-errors"}') == 5.0


def test_the_process_is_measured_and_no_created_series_stand_beside_counters(metrics: Metrics) -> None:
    """Memory and CPU of the process are there; `_created` series, which nobody uses, are not."""
    text = metrics.render().decode()
    assert "process_resident_memory_bytes " in text
    assert "python_info{" in text
    assert "_created" not in text


def test_an_evaluation_is_counted_and_timed(metrics: Metrics) -> None:
    """Outcome, duration and the time of the last success; an error leaves that time alone."""
    metrics.rule_evaluated("http-errors", "ok", 0.02, 60.0, "")
    metrics.rule_evaluated("http-errors", "error", 0.02, 65.0, "timeout")
    metrics.slots_missed("http-errors", 3)
    assert _value(metrics, 'detector_evaluations_total{outcome="ok",rule="http-errors"}') == 1
    assert _value(metrics, 'detector_evaluations_total{outcome="error",rule="http-errors"}') == 1
    assert _value(metrics, 'detector_evaluation_duration_seconds_count{rule="http-errors"}') == 2
    assert _value(metrics, 'detector_last_successful_evaluation_timestamp_seconds{rule="http-errors"}') == 60.0
    assert _value(metrics, 'detector_missed_evaluations_total{rule="http-errors"}') == 3


def test_the_series_of_a_removed_rule_go_and_do_not_come_back(metrics: Metrics) -> None:
    """After a load without the rule no series names it, though an evaluation under way may still end; others keep their counts."""
    metrics.rules_loaded([_rule("http-errors"), _rule("other")], 51.0)
    metrics.rule_evaluated("other", "ok", 0.1, 52.0, "")
    metrics.rules_loaded([_rule("other")], 53.0)
    metrics.rule_evaluated("http-errors", "ok", 0.1, 54.0, "")
    metrics.alerts_counted("http-errors", {"firing": 1})
    metrics.slots_missed("http-errors", 1)
    assert 'rule="http-errors"' not in metrics.render().decode()
    assert _value(metrics, 'detector_evaluations_total{outcome="ok",rule="other"}') == 1


def test_queries_and_alerts_are_shown(metrics: Metrics) -> None:
    """A failed query counts under its reason; a phase that is not named has no alerts."""
    metrics.query_done(0.1, None)
    metrics.query_done(0.1, "timeout")
    metrics.alerts_counted("http-errors", {"firing": 2, "inactive": 5})
    metrics.alerts_counted("http-errors", {"inactive": 7})
    assert _value(metrics, "detector_query_duration_seconds_count") == 2
    assert _value(metrics, 'detector_query_errors_total{reason="timeout"}') == 1
    assert _value(metrics, 'detector_alerts{rule="http-errors",state="firing"}') == 0
    assert _value(metrics, 'detector_alerts{rule="http-errors",state="inactive"}') == 7


def test_an_incident_is_counted_once_over_its_life(metrics: Metrics) -> None:
    """Opening, acknowledging and resolving count and time once each, however often the incident changes."""
    opened = make_incident(1)
    acknowledged = make_incident(1, status=Status.ACKNOWLEDGED, acknowledged=1101.0)
    resolved = make_incident(1, status=Status.RESOLVED, acknowledged=1101.0, resolved=1601.0)
    for incident in (opened, opened, acknowledged, acknowledged, resolved, resolved):
        metrics.decision_committed(Decision((incident,)))
        metrics.incidents_counted([incident])
    assert _value(metrics, 'detector_incidents_opened_total{rule="http-errors",severity="high"}') == 1
    assert _value(metrics, 'detector_time_to_acknowledge_seconds_sum{severity="critical"}') == 100.0
    assert _value(metrics, 'detector_time_to_resolve_seconds_sum{severity="critical"}') == 600.0
    assert _value(metrics, 'detector_incidents{severity="high",status="resolved"}') == 1
    metrics.decision_committed(Decision((make_incident(1, status=Status.CLOSED, resolved=1601.0, closed=1700.0),)))
    metrics.incidents_counted([])
    assert _value(metrics, 'detector_incidents{severity="high",status="resolved"}') == 0


def test_incidents_that_a_start_finds_are_not_counted_as_opened(metrics: Metrics) -> None:
    """An incident told by `incidents_counted` before its first change was opened by a former process."""
    metrics.incidents_counted([make_incident(1)])
    metrics.decision_committed(Decision((make_incident(1, revision=2),)))
    assert _value(metrics, 'detector_incidents_opened_total{rule="http-errors",severity="high"}') == 0


def test_deliveries_are_counted_and_timed(metrics: Metrics) -> None:
    """Every attempt counts; the latency is that of the accepted one; only a trigger at PagerDuty is a page."""
    metrics.delivery_ended(_delivery(), "retried", 101.0, "503")
    metrics.delivery_ended(_delivery(), "accepted", 103.0, "")
    metrics.delivery_ended(_delivery(NoticeKind.RESOLVE), "accepted", 104.0, "")
    assert _value(metrics, 'detector_notifications_total{channel="pagerduty",outcome="retried"}') == 1
    assert _value(metrics, 'detector_notifications_total{channel="pagerduty",outcome="accepted"}') == 2
    assert _value(metrics, 'detector_notification_latency_seconds_sum{channel="pagerduty"}') == 7.0
    assert _value(metrics, "detector_detection_to_page_seconds_sum") == 3.0


def test_an_emptied_outbox_shows_zero(metrics: Metrics) -> None:
    """A channel that the backlog no longer names has nothing undelivered."""
    metrics.backlog_seen({"pagerduty": Backlog(3, 90.0)}, 100.0)
    assert _value(metrics, 'detector_outbox_depth{channel="pagerduty"}') == 3
    assert _value(metrics, 'detector_outbox_oldest_age_seconds{channel="pagerduty"}') == 10.0
    metrics.backlog_seen({}, 100.0)
    assert _value(metrics, 'detector_outbox_depth{channel="pagerduty"}') == 0
    assert _value(metrics, 'detector_outbox_oldest_age_seconds{channel="pagerduty"}') == 0


def test_two_sets_of_metrics_do_not_meet() -> None:
    """Each has its own registry: counting in one shows nothing in the other."""
    first, second = Metrics("1"), Metrics("1")
    first.query_done(0.1, "timeout")
    first.lag_seen(0.5)
    first.shard_led(7, leads=True)
    assert _value(first, 'detector_leader{shard="7"}') == 1
    assert _value(first, "detector_event_loop_lag_seconds") == 0.5
    assert _value(second, 'detector_query_errors_total{reason="timeout"}') == 0
