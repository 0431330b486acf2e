"""The daemon's own metrics, in a registry of their own: what the observer hears becomes counters, gauges and histograms.

Every series exists at zero from the start: labels known beforehand at once, those of a rule when it is loaded; the series of a rule
that is gone are removed at the next load. Text for a scrape comes from `render`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from detector.domain.alert import Phase
from detector.domain.incident import PAGERDUTY, NoticeKind, Status
from detector.domain.outcome import FailureReason
from detector.domain.reception import RECEIVED
from detector.domain.severity import Severity
from detector.domain.shard import SHARDS
from detector.web.news import News
from detector.web.series import RuleSeries, RuleTiming, name_series
from detector.web.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detector.domain.alert import Transition
    from detector.domain.deploy import Deploy
    from detector.domain.incident import Decision, Incident
    from detector.domain.rule import Rule
    from detector.ports.store import Backlog, Delivery

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_DEPLOYED = 1000
OUTCOMES = ("ok", "no_data", "error")
DELIVERY_OUTCOMES = ("accepted", "retried", "rejected", "collapsed")
PAGE_PARTS = ("summary", "dedup_key", "field", "links", "custom_details")  # what may be over PagerDuty's limits
_SEVERITIES = tuple(Severity)
_OPENED = (Status.OPEN, Status.ACKNOWLEDGED, Status.RESOLVED)  # a closed one leaves the book

_EVALUATION = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_QUERY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DELIVERY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_RESPONSE = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)


class Metrics:
    """Implements ports.observer.Observer; the rest of its methods feed what no observer method tells.

    `channels` are the configured ones. Call from the loop's thread only.
    """

    def __init__(self, version: str, channels: Sequence[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, of no use to anybody here
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._rules: frozenset[str] = frozenset()
        self._known: dict[str, Incident] = {}
        self.news = News(channels)
        self._by_rule = self._make_by_rule()
        self._at_rest = Tally(self._count_rested)
        self._make_evaluation(registry)
        self._make_incident(registry)
        self._make_delivery(registry)
        self._make_daemon(registry)
        self._build.labels(version).set(1)
        self._set_zero(channels)

    def render(self) -> bytes:
        """Text in the Prometheus exposition format, to be served as CONTENT_TYPE."""
        self._at_rest.settle()
        return generate_latest(self.registry) + "".join([each.write() for each in self._by_rule]).encode()

    def rules_loaded(self, rules: Sequence[Rule], at: float | None) -> None:
        """Give every rule its series, and take away those of rules that are gone."""
        self._at_rest.settle()
        names = frozenset(rule.name for rule in rules)
        for name in self._rules - names:
            self._remove_rule(name)
        for name in names - self._rules:
            self._add_rule(name)
        for rule in rules:
            self._interval.numbers(rule.name)[0] = rule.every_seconds
        self._rules = names
        if at is not None:
            self._reloaded.set(1)
            self._reload_time.set(at)

    def rules_refused(self, findings: Sequence[str]) -> None:
        """The last reload failed."""
        del findings
        self._reloaded.set(0)

    def rule_evaluated(self, rule: str, outcome: str, seconds: float, at: float, detail: str) -> None:
        """Count and time; a rule that is gone by now is left out."""
        del detail
        if rule in self._rules:
            self._at_rest.settle_of(rule)
            self._evaluations.numbers(rule)[OUTCOMES.index(outcome)] += 1.0
            self._evaluation_seconds.observe(rule, seconds)
            if outcome != "error":
                self._last_success.numbers(rule)[0] = at

    def rules_rested(self, rules: Sequence[str], seconds: float, at: float) -> None:
        """Count and time, all at once when somebody looks."""
        self._at_rest.add(rules, seconds, at)

    def _count_rested(self, rules: Sequence[str], seconds: Sequence[float], at: float) -> None:
        """Those that are gone by now are left out."""
        known = [rule for rule in rules if rule in self._rules]
        for rule in known:
            self._evaluations.numbers(rule)[0] += len(seconds)
            self._last_success.numbers(rule)[0] = at
        self._evaluation_seconds.observe_each(known, seconds)

    def slots_missed(self, rule: str, count: int) -> None:
        """Count."""
        if rule in self._rules:
            self._missed.numbers(rule)[0] += count

    def query_done(self, seconds: float, failure: str | None) -> None:
        """Time and count."""
        self._query_seconds.observe(seconds)
        if failure is not None:
            self._query_errors.labels(failure).inc()

    def alerts_counted(self, rule: str, counts: Mapping[str, int]) -> None:
        """Show; a phase that is not named has none. Received alerts are one series for all of them."""
        if rule in self._rules or rule == RECEIVED:
            self._alerts.numbers(rule)[:] = [float(counts.get(phase.value, 0)) for phase in Phase]

    def transitions_seen(self, transitions: Iterable[Transition]) -> None:
        """Told by the log."""

    def decision_committed(self, decision: Decision) -> None:
        """Count openings; time the way from the breach to an acknowledgement and to the end."""
        self.news.ring()
        for incident in decision.incidents:
            before = self._known.get(incident.id)
            if before is None and incident.status.active:
                for rule in incident.rules[:1]:
                    self._opened.numbers(rule)[_SEVERITIES.index(incident.severity)] += 1.0
            word = incident.peak_severity.value
            if incident.acknowledged is not None and (before is None or before.acknowledged is None):
                self._acknowledge_seconds.labels(word).observe(max(0.0, incident.acknowledged - incident.opened))
            if incident.mitigated is not None and (before is None or before.mitigated is None):
                self.mitigated(incident.peak_severity, max(0.0, incident.mitigated - incident.opened))
            if incident.resolved is not None and (before is None or before.resolved is None):
                self._resolve_seconds.labels(word).observe(max(0.0, incident.resolved - incident.opened))
            self._remember(incident)

    def incidents_counted(self, incidents: Iterable[Incident]) -> None:
        """Show the incidents that are not closed; what is not among them is forgotten."""
        self._known = {incident.id: incident for incident in incidents}
        counts = dict.fromkeys(((severity, status) for severity in Severity for status in _OPENED), 0)
        for incident in self._known.values():
            if incident.status in _OPENED:
                counts[incident.severity, incident.status] += 1
        for (severity, status), count in counts.items():
            self._incidents.labels(severity.value, status.value).set(count)

    def delivery_ended(self, delivery: Delivery, outcome: str, at: float, detail: str) -> None:
        """Count; time what was accepted, and the first page of an incident from its detection on."""
        self.news.delivery_ended(delivery, outcome, at, detail)
        self._notifications.labels(delivery.channel, outcome).inc()
        if outcome == "accepted":
            waited = max(0.0, at - delivery.created)
            self._notification_seconds.labels(delivery.channel).observe(waited)
            if delivery.channel == PAGERDUTY and delivery.kind is NoticeKind.TRIGGER:
                self._page_seconds.observe(waited)

    def backlog_seen(self, backlog: Mapping[str, Backlog], at: float) -> None:
        """Show; a channel that is not named has none."""
        self.news.backlog_seen(backlog)
        self._channels.update(backlog)
        for channel in self._channels:
            row = backlog.get(channel)
            self._depth.labels(channel).set(0 if row is None else row.depth)
            self._oldest.labels(channel).set(0 if row is None or row.oldest is None else max(0.0, at - row.oldest))

    def page_cut(self, part: str) -> None:
        """Count."""
        self._cuts.labels(part).inc()

    def trouble(self, what: str, detail: str) -> None:
        """Told by the log."""

    def note(self, event: str, **facts: object) -> None:
        """Told by the log."""

    def lag_seen(self, seconds: float) -> None:
        """How late the loop was when it last looked."""
        self._lag.set(seconds)

    def shard_led(self, shard: int, leads: bool) -> None:  # noqa: FBT001  # one value of one series
        """Whether this process holds the lease of a shard."""
        self._leader.labels(str(shard)).set(1 if leads else 0)

    def drill_passed(self, at: float) -> None:
        """When a drill last passed every hop."""
        self._drill_time.set(at)

    def mitigated(self, severity: Severity, seconds: float) -> None:
        """Time from the breach to the first mitigation."""
        self._mitigate_seconds.labels(severity.value).observe(seconds)

    def deploy_told(self, told: Deploy) -> None:
        """Show when a service was last deployed; of those that came first, where there are very many."""
        if told.service in self._deployed or len(self._deployed) < MOST_DEPLOYED:
            self._deployed[told.service] = latest = max(told.at, self._deployed.get(told.service, 0.0))
            self._deploy_time.labels(told.service).set(latest)

    def _make_by_rule(self) -> tuple[RuleSeries, ...]:
        outcomes = (name_series(outcome=outcome) for outcome in OUTCOMES)
        self._evaluations = RuleSeries("detector_evaluations_total", "counter", "Evaluations of a rule.", outcomes)
        self._evaluation_seconds = RuleTiming("detector_evaluation_duration_seconds", "Time of one evaluation.", _EVALUATION)
        self._missed = RuleSeries("detector_missed_evaluations_total", "counter", "Slots skipped because of lateness.")
        self._last_success = RuleSeries(
            "detector_last_successful_evaluation_timestamp_seconds", "gauge", "When a rule last evaluated without an error."
        )
        self._interval = RuleSeries("detector_rule_interval_seconds", "gauge", "How often a rule is evaluated.")
        states = (name_series(state=phase.value) for phase in Phase)
        self._alerts = RuleSeries("detector_alerts", "gauge", "Alerts by state.", states)
        words = (name_series(severity=severity.value) for severity in _SEVERITIES)
        self._opened = RuleSeries("detector_incidents_opened_total", "counter", "Incidents opened.", words)
        judged = (self._evaluations, self._evaluation_seconds, self._missed, self._last_success, self._interval)
        return (*judged, self._alerts, self._opened)

    def _make_evaluation(self, registry: CollectorRegistry) -> None:
        self._query_seconds = Histogram("detector_query_duration_seconds", "Time of one query.", buckets=_QUERY, registry=registry)
        self._query_errors = Counter("detector_query_errors_total", "Queries that failed.", ["reason"], registry=registry)

    def _make_incident(self, registry: CollectorRegistry) -> None:
        self._incidents = Gauge("detector_incidents", "Incidents that are not closed.", ["severity", "status"], registry=registry)
        by = ["severity"]
        self._acknowledge_seconds = Histogram(
            "detector_time_to_acknowledge_seconds",
            "From the breach to the acknowledgement.",
            by,
            buckets=_RESPONSE,
            registry=registry,
        )
        self._mitigate_seconds = Histogram(
            "detector_time_to_mitigate_seconds",
            "From the breach to the first mitigation.",
            by,
            buckets=_RESPONSE,
            registry=registry,
        )
        self._resolve_seconds = Histogram(
            "detector_time_to_resolve_seconds", "From the breach to the verified end.", by, buckets=_RESPONSE, registry=registry
        )

        self._deployed: dict[str, float] = {}
        self._deploy_time = Gauge(
            "detector_last_deploy_timestamp_seconds", "When a deploy of a service was last told.", ["service"], registry=registry
        )

    def _make_delivery(self, registry: CollectorRegistry) -> None:
        by = ["channel"]
        self._channels: set[str] = set()
        self._notifications = Counter("detector_notifications_total", "Attempts to deliver.", [*by, "outcome"], registry=registry)
        self._notification_seconds = Histogram(
            "detector_notification_latency_seconds",
            "From the decision to the acceptance.",
            by,
            buckets=_DELIVERY,
            registry=registry,
        )
        self._depth = Gauge("detector_outbox_depth", "Notices not delivered yet.", by, registry=registry)
        self._oldest = Gauge("detector_outbox_oldest_age_seconds", "Age of the oldest such notice.", by, registry=registry)
        self._page_seconds = Histogram(
            "detector_detection_to_page_seconds", "From the detection to the page.", buckets=_DELIVERY, registry=registry
        )
        self._cuts = Counter("detector_page_cuts_total", "Parts of pages cut to PagerDuty's limits.", ["part"], registry=registry)

    def _make_daemon(self, registry: CollectorRegistry) -> None:
        self._reloaded = Gauge(
            "detector_config_last_reload_successful", "1: the last load of the rules was good.", registry=registry
        )
        self._reload_time = Gauge(
            "detector_config_last_reload_success_timestamp_seconds", "When the rules were last loaded.", registry=registry
        )
        self._drill_time = Gauge(
            "detector_drill_last_success_timestamp_seconds", "When a drill last passed; 0: never.", registry=registry
        )
        self._lag = Gauge("detector_event_loop_lag_seconds", "How late the event loop was.", registry=registry)
        self._leader = Gauge("detector_leader", "1: this process holds the shard's lease.", ["shard"], registry=registry)
        self._build = Gauge("detector_build_info", "Always 1.", ["version"], registry=registry)

    def _set_zero(self, channels: Sequence[str]) -> None:
        for reason in FailureReason:
            self._query_errors.labels(reason.value)
        for severity in Severity:
            for status in _OPENED:
                self._incidents.labels(severity.value, status.value)
            for histogram in (self._acknowledge_seconds, self._mitigate_seconds, self._resolve_seconds):
                histogram.labels(severity.value)
        for shard in range(SHARDS):
            self._leader.labels(str(shard))
        for part in PAGE_PARTS:
            self._cuts.labels(part)
        self._channels.update(channels)
        for channel in channels:
            for outcome in DELIVERY_OUTCOMES:
                self._notifications.labels(channel, outcome)
            for metric in (self._notification_seconds, self._depth, self._oldest):
                metric.labels(channel)

    def _add_rule(self, name: str) -> None:
        for each in self._by_rule:
            each.numbers(name)

    def _remove_rule(self, name: str) -> None:
        for each in self._by_rule:
            each.remove(name)

    def _remember(self, incident: Incident) -> None:
        if incident.status is Status.CLOSED:
            self._known.pop(incident.id, None)
        else:
            self._known[incident.id] = incident
