"""The keys of a rule file: one table that the reader checks files by and that the JSON Schema is made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from detector.domain.severity import Severity


class Kind(Enum):
    """What a single value is."""

    TEXT = "text"
    TEMPLATE = "text, a Jinja2 template"
    IDENTIFIER = "a name of letters, digits and _"
    DURATION = "a duration such as 30s, 5m or 1h30m"
    POSITIVE = "a number above 0"
    NUMBER = "a number"
    SHARE = "a number between 0 and 1"
    FLAG = "true or false"
    CONDITION = "a CEL condition"
    QUERY = "a PromQL query"
    URL = "a URL such as https://shop.example/health"
    STATUS = "an HTTP status such as 200"
    TIME = "a time such as 2026-11-23T08:00:00Z"
    PLAIN = "anything"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A sequence; with `single` one value may stand without brackets."""

    item: Shape
    single: bool = False
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with free keys; `key` says what the keys are."""

    value: Shape
    key: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Either:
    """A single value, or a section with more to say."""

    scalar: Kind
    section: Section


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its shape, what it is for (shown by editors), whether it must stand."""

    name: str
    shape: Shape
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys. `what` names it in messages."""

    what: str
    keys: tuple[Key, ...]

    def find(self, name: str) -> Key | None:
        """The key of that name."""
        return next((key for key in self.keys if key.name == name), None)


Shape: TypeAlias = "Kind | Choice | ListOf | MapOf | Either | Section"

_TEXTS = ListOf(Kind.TEXT, single=True)
_MATCH = MapOf(_TEXTS, Kind.TEXT)

MITIGATION = Section(
    "a mitigation",
    (
        Key("summary", Kind.TEXT, "What it does, as the page says it.", required=True),
        Key("run", ListOf(Kind.TEXT, least=1), "The command as a list of arguments; never a shell line.", required=True),
        Key("timeout", Kind.DURATION, "Killed after this long. Default 60s."),
    ),
)
RESPONDERS = Section(
    "responders",
    (
        Key("service_owner", Kind.TEXT, "Who owns the service."),
        Key("on_call_engineer", Kind.TEXT, "Who is on call."),
        Key("on_call_manager", Kind.TEXT, "The manager on call."),
    ),
)
VERIFICATION = Section(
    "a verification",
    (
        Key("name", Kind.TEXT, "What is seen to be well, as the ticket lists it.", required=True),
        Key("url", Kind.URL, "Asked with GET once the metrics have recovered; without it a human ticks the item."),
        Key("expect", ListOf(Kind.STATUS, single=True, least=1), "The status, or statuses, that pass. Default 200."),
        Key("contains", Kind.TEXT, "Text that the answer must hold."),
        Key("environment", Choice(("staging", "production")), "Where it looks."),
    ),
)
_LIMITS = (
    Key("above", Kind.NUMBER, "A greater value is bad."),
    Key("below", Kind.NUMBER, "A smaller value is bad."),
    Key("unit", Choice(("number", "share", "seconds")), "How the value reads. Default number."),
)
MEASUREMENT = Section(
    "a measurement", (Key("query", Kind.QUERY, "PromQL; $service and $window are filled in.", required=True), *_LIMITS)
)
_MEASURED = (
    Key("query", Kind.QUERY, "PromQL instead of the defaults; $service and $window are filled in."),
    *_LIMITS,
    Key("queries", MapOf(MEASUREMENT), "Several measurements by name, instead of the defaults."),
)
CHECK = Section("a check", _MEASURED)
DATABASE = Section("a database check", (*_MEASURED, Key("connect", Kind.TEXT, "host:port that a TCP connection is tried to.")))
THIRD_PARTIES = Section(
    "a check of third parties",
    (
        *_MEASURED,
        Key("statuspages", MapOf(Kind.URL), "Statuspage summaries by name, e.g. https://status.stripe.com/api/v2/summary.json."),
        Key("probes", MapOf(Kind.URL), "Addresses that a plain GET must be answered at, by name."),
    ),
)
CONFIGURATION = Section(
    "a configuration check",
    (
        *_MEASURED,
        Key("environment", _TEXTS, "Names that must be set."),
        Key("environment_file", Kind.TEXT, "File of NAME=value lines to look in. Default: the environment of this process."),
    ),
)
RECENT_ERRORS = Section(
    "a source of error lines",
    (
        Key("loki", Kind.URL, "Loki's address; `query` is asked there."),
        Key("query", Kind.TEXT, "LogQL that selects error lines. Default: by label service."),
        Key("file", Kind.TEXT, "A log file on this machine."),
        Key(
            "pattern",
            Kind.TEXT,
            "Regular expression of an error line in the file. Default: error, exception, fatal, panic, critical.",
        ),
    ),
)
DIAGNOSIS = Section(
    "a diagnosis",
    (
        Key("recent_deploy", CHECK, "Deploys in the hour before."),
        Key("traffic_spike", CHECK, "Requests against the same hour of other days; `above` is the factor, default 2."),
        Key("database", DATABASE, "Databases."),
        Key("third_parties", THIRD_PARTIES, "Third parties that it needs."),
        Key("configuration", CONFIGURATION, "Reloads, changed hashes, names that must be set."),
        Key("resources", CHECK, "CPU, memory, disk, descriptors."),
        Key("concurrency", CHECK, "Locks, deadlocks, full pools."),
        Key("error_rate", CHECK, "Share of failed requests; `above` alone is the limit, default 0.01."),
        Key("p99", CHECK, "Latency of the slowest hundredth."),
        Key("recent_errors", RECENT_ERRORS, "Where its last error lines are."),
    ),
)
SERVICE = Section(
    "a service",
    (
        Key("owner", Kind.TEXT, "The team that owns it."),
        Key("core", Kind.FLAG, "A core feature: CRITICAL is possible. Default false."),
        Key("customer_facing", Kind.FLAG, "Customers see it. Default true."),
        Key("workaround", Kind.FLAG, "Customers have another way. Default false."),
        Key("depends_on", _TEXTS, "Services that it needs."),
        Key("pagerduty", Kind.TEXT, "Name of a routing key in the settings, never the key itself. Default: default."),
        Key("slack", Kind.TEXT, "Slack channel, e.g. #incidents."),
        Key("runbook", Kind.TEXT, "Link to the runbook."),
        Key("dashboard", Kind.TEXT, "Link to the dashboard."),
        Key("eta", Kind.TEXT, "Usual time to repair, told while nobody has given a better one."),
        Key("responders", RESPONDERS, "People to gather at HIGH and CRITICAL."),
        Key("mitigations", MapOf(MITIGATION), "Ways to stop the bleeding, offered in this order; run only by a named human."),
        Key(
            "verify",
            ListOf(VERIFICATION, single=True),
            "What must be well before an incident counts as recovered: probes, human items.",
        ),
        Key("diagnosis", DIAGNOSIS, "Queries and sources of the diagnosis, where they differ from the defaults."),
    ),
)
RATIO = Section(
    "a ratio",
    (
        Key("ratio", ListOf(Kind.QUERY, least=2, most=2), "Two queries: the first is divided by the second.", required=True),
        Key("min_total", Kind.POSITIVE, "A smaller second value is insufficient traffic: neither opens nor resolves."),
        Key("confidence", Kind.SHARE, "Judge `open` by the one-sided Wilson lower bound at this confidence, e.g. 0.95."),
    ),
)
SEVERITY = Section(
    "severity",
    tuple(
        Key(
            severity.value,
            Kind.CONDITION,
            f"When the alert is {severity.name}. Rungs are tried in the order written; the first that holds counts.",
        )
        for severity in sorted(Severity, reverse=True)
    ),
)
BASELINE = Section(
    "baseline",
    (
        Key("over", Kind.DURATION, "Length of the span that <signal>_baseline is the median of. Default 1h."),
        Key("ago", Kind.DURATION, "How long before now the span ends. Default 10m."),
    ),
)
SLO = Section(
    "an slo",
    (
        Key("objective", Kind.SHARE, "Share of events that must be good, e.g. 0.999.", required=True),
        Key("errors", Kind.QUERY, "Bad events over $window, e.g. increase() of a counter.", required=True),
        Key("total", Kind.QUERY, "All events over $window.", required=True),
    ),
)
POLICY_KEYS = (
    Key("summary", Kind.TEMPLATE, "One line for the page; labels, signals and `service` may be used."),
    Key("description", Kind.TEMPLATE, "More than one line, for the incident."),
    Key(
        "open", Kind.CONDITION, "When the alert opens: CEL over the signals, <signal>_baseline, core, customer_facing, workaround."
    ),
    Key("for", Kind.DURATION, "How long `open` must hold before the alert fires. Default 0s."),
    Key("keep_open", Kind.DURATION, "Stays firing this long after `open` last held. Default 0s."),
    Key("severity", SEVERITY, "The ladder: the first rung that holds counts. A default exists."),
    Key("demote_after", Kind.DURATION, "Severity rises at once and falls only after this long. Default 5m."),
    Key("recover", Kind.CONDITION, "When the alert counts as recovered; `open` may be used as a name. A default exists."),
    Key("recover_for", Kind.DURATION, "How long `recover` must hold. Default 5m."),
    Key("watch", Kind.DURATION, "How long a resolved incident is watched for a relapse. Default 30m."),
    Key("no_data", Choice(("keep", "open", "resolve")), "What a missing series means; a failed query always keeps. Default keep."),
    Key("stale_after", Kind.DURATION, "After this long without data the incident is marked stale. Default 1h."),
    Key("labels", MapOf(Kind.TEXT), "Labels of the alert beside those of its series."),
    Key("links", MapOf(Kind.TEXT), "Links by name, e.g. runbook."),
)
_OVERRIDABLE = tuple(key for key in POLICY_KEYS if key.name not in {"watch", "stale_after"})
OVERRIDE = Section(
    "an override",
    (Key("match", _MATCH, "Labels of the alerts it is for: one value or a list each.", required=True), *_OVERRIDABLE),
)
RULE = Section(
    "a rule",
    (
        Key("name", Kind.TEXT, "Unique over all files; the identity that survives reloads and file moves.", required=True),
        Key("by", _TEXTS, "One alert per distinct value of these labels. Default: every label of the series."),
        Key(
            "service", Kind.TEXT, "The label (or a constant) that says which service an alert is about. Default: service, else job."
        ),
        Key("join_by", _TEXTS, "Labels whose values keep incidents of one service apart. Default env, namespace, cluster."),
        Key("every", Kind.DURATION, "How often it is evaluated. Default from the settings."),
        Key("window", Kind.DURATION, "What $window stands for in queries. Default 5m."),
        Key("offset", Kind.DURATION, "Queries are asked at now - offset, for late data. Default 0s."),
        Key("signals", MapOf(Either(Kind.QUERY, RATIO), Kind.IDENTIFIER), "Name -> instant PromQL, or a ratio of two queries."),
        Key("slo", SLO, "Instead of signals and open: expands to the multi-window multi-burn-rate pairs."),
        Key("severity_window", Kind.DURATION, "Severity is judged over this window. Default: window, at most 1m."),
        Key("baseline", BASELINE, "The span that <signal>_baseline is the median of."),
        *POLICY_KEYS,
        Key("overrides", ListOf(OVERRIDE), "Other thresholds for some alerts; the first that matches counts."),
    ),
)
MAINTENANCE = Section(
    "a maintenance window",
    (
        Key("match", _MATCH, "Labels of the alerts it mutes: one value or a list each.", required=True),
        Key("rrule", Kind.TEXT, "When it begins, as an iCalendar RRULE; `lasts` says how long it is."),
        Key("lasts", Kind.DURATION, "Length of a window that `rrule` begins."),
        Key("tz", Kind.TEXT, "IANA time zone of the rrule. Default UTC."),
        Key("from", Kind.TIME, "Begin of a single window."),
        Key("until", Kind.TIME, "End of a single window."),
        Key("reason", Kind.TEXT, "Why, as the incident shows it."),
    ),
)
FILE = Section(
    "a rule file",
    (
        Key("services", MapOf(SERVICE), "The catalogue: who owns what."),
        Key("rules", ListOf(RULE), "Alerting rules."),
        Key("maintenance", ListOf(MAINTENANCE), "Windows in which alerts are muted."),
    ),
)
GROUP_RULE = Section(
    "a Prometheus rule",
    (
        Key("alert", Kind.TEXT, "Name of an alerting rule."),
        Key("record", Kind.TEXT, "Name of a recording rule; skipped with a note."),
        Key("expr", Kind.QUERY, "PromQL; every series it returns is an alert.", required=True),
        Key("for", Kind.DURATION, "How long it must hold before it fires."),
        Key("keep_firing_for", Kind.DURATION, "Stays firing this long after it last held."),
        Key("labels", MapOf(Kind.TEXT), "Labels of the alert; `severity` is mapped."),
        Key("annotations", MapOf(Kind.TEXT), "Texts; Go templates in common use are rendered."),
    ),
)
GROUP = Section(
    "a rule group",
    (
        Key("name", Kind.TEXT, "Name of the group.", required=True),
        Key("interval", Kind.DURATION, "How often its rules are evaluated. Default: `every` of the settings."),
        Key("query_offset", Kind.DURATION, "Queries are asked at now - query_offset."),
        Key("limit", Kind.NUMBER, "With more alerts of one rule than this, its evaluation has failed: state is kept. 0: no limit."),
        Key("labels", MapOf(Kind.TEXT), "Labels of every rule of the group."),
        Key("rules", ListOf(GROUP_RULE), "The rules.", required=True),
    ),
)
GROUPS_FILE = Section("a Prometheus rule file", (Key("groups", ListOf(GROUP), "Prometheus rule groups.", required=True),))
