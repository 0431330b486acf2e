"""The rules that are active by default, on a past that a real Prometheus holds.

Every service has its own story in one history; one replay judges all of them, as the daemon would. All are healthy until FLIP.
"""

import shutil
from pathlib import Path

import pytest

from detector.adapters.rulefile import RuleDirectory
from detector.domain.alert import Change, EndReason, Phase
from detector.domain.incident import NoticeKind, Status
from detector.domain.outcome import Outcome, QueryFailed
from detector.domain.severity import Severity
from tests.kit.history import History, Level, switch
from tests.kit.replay import Replay, judge_past

RULES = Path(__file__).parents[2] / "rules"
STEP_SECONDS = 15.0
START = 1_790_000_100.0
FLIP = START + 1800.0  # a baseline needs twenty minutes
RESTART = FLIP + 300.0
HEAL = FLIP + 600.0
END = HEAL + 900.0
CATALOGUE = """
services:
  core-full: {core: true}
  core-slow: {core: true}
  core-down: {core: true}
  core-idle: {core: true}
  core-well: {core: true}
"""
FIRED = {
    "http-errors": {"two", "ten", "core-full", "virgin", "restarted", "vanished", "quieted", "class", "billing"},
    "http-errors-few": {"trickle"},
    "http-errors-lasting": {"both", "trickle"},
    "http-errors-long-lasting": {"both"},
    "http-latency": {"slow", "core-slow", "morning"},
    "http-latency-lasting": {"sluggish"},
    "http-latency-limit": {"newborn"},
    "traffic-gone": {"silent", "quieted"},
    "host-memory": {"tight:9100", "choking:9100"},
    "host-cpu": {"busy:9100"},
    "host-disk": {"full:9100"},
    "target-down": {"web", "db"},
}


def _add_requests(history: History, service: str, good: Level, bad: Level, *, bad_code: str = "500", **more: str) -> None:
    labels = {"job": "shop", "service": service, "instance": "a:80", **more}
    history.add_counter("http_requests_total", {**labels, "code": "200"}, good)
    history.add_counter("http_requests_total", {**labels, "code": bad_code}, bad)


def _break(share: float, rate: float = 20.0, *, until: float = HEAL) -> tuple[Level, Level]:
    """Rates of good and bad requests: all good, then that share bad from FLIP on."""
    return switch(rate, (FLIP, rate * (1 - share)), (until, rate)), switch(0.0, (FLIP, rate * share), (until, 0.0))


def _write_services(history: History) -> None:
    for service, share in (("two", 0.02), ("ten", 0.1), ("core-full", 1.0)):
        _add_requests(history, service, *_break(share))
    _add_requests(history, "trickle", *_break(0.02, 1.0))  # six failures in five minutes
    _add_requests(history, "core-well", 20.0, 0.004)
    _add_requests(history, "never-failed", 20.0, None)
    good, bad = _break(0.1)
    _add_requests(history, "virgin", good, switch(None, (FLIP, 2.0), (HEAL, 0.0)))
    labels = {"job": "shop", "service": "class", "instance": "a:80"}
    history.add_counter("http_requests_total", {**labels, "status": "2xx"}, good)
    history.add_counter("http_requests_total", {**labels, "status": "5xx"}, bad)
    _add_requests(history, "both", 20.0, 0.0)
    history.add_counter(
        "http_requests_total", {**labels, "service": "both", "code": "500", "status": "500"}, switch(0.0, (FLIP, 0.12))
    )
    for code, rate in (("200", good), ("500", bad)):
        history.add_counter("http_requests_total", {"job": "billing", "instance": "b:80", "code": code}, rate)
    # new pods: other series, from zero, and no 5xx among them
    _add_requests(history, "restarted", switch(20.0, (FLIP, 18.0), (RESTART, None)), switch(0.0, (FLIP, 2.0), (RESTART, None)))
    _add_requests(history, "restarted", switch(None, (RESTART, 20.0)), None, instance="b:80")
    _add_requests(history, "core-down", switch(20.0, (FLIP, None), (HEAL, 20.0)), None)
    _add_requests(history, "down", switch(20.0, (FLIP, None)), None)
    _add_requests(history, "vanished", switch(20.0, (FLIP, 18.0), (RESTART, None)), switch(0.0, (FLIP, 2.0), (RESTART, None)))
    _add_requests(history, "quieted", switch(20.0, (FLIP, 18.0), (RESTART, 0.01)), switch(0.0, (FLIP, 2.0), (RESTART, 0.0)))
    _add_requests(history, "night", 0.0, 0.01)
    _add_requests(history, "one-bad", 0.1, switch(0.0, (FLIP, 1 / 15), (FLIP + 15, 0.0)))
    _add_requests(history, "silent", switch(20.0, (FLIP, 0.0), (HEAL, 20.0)), 0.0)
    _add_requests(history, "core-idle", 0.0, 0.0)


def _write_latency(history: History) -> None:
    def add(service: str, rate: Level, duration: Level) -> None:
        history.add_histogram("http_request_duration_seconds", {"job": "shop", "service": service}, rate, duration)

    labels = {"job": "shop", "service": "sluggish"}  # a summary: no buckets
    history.add_counter("http_request_duration_seconds_sum", labels, switch(2.0, (FLIP, 3.0)))
    history.add_counter("http_request_duration_seconds_count", labels, 20.0)
    for service in ("slow", "core-slow"):
        add(service, 20.0, switch(0.08, (FLIP, 1.8), (HEAL, 0.08)))
    add("core-well", 20.0, switch(0.03, (FLIP, 0.2)))  # six times the usual, and nobody notices
    add("newborn", switch(None, (FLIP, 20.0)), 8.0)
    add("core-idle", 0.0, 0.08)
    add("morning", switch(0.0, (START + 1000, 20.0)), switch(0.08, (FLIP, 1.8)))
    add("few", 0.1, switch(0.08, (FLIP, 1.8)))  # thirty requests a window


def _write_hosts(history: History) -> None:
    def add(host: str, memory: Level = 0.5, cpu: float = 0.5, disk: float = 0.5) -> None:
        labels = {"job": "node", "instance": f"{host}:9100"}
        level = memory if callable(memory) else switch(memory)
        history.add_gauge("node_memory_MemTotal_bytes", labels, 1e9)
        history.add_gauge("node_memory_MemAvailable_bytes", labels, lambda at: 1e9 * (1 - (level(at) or 0.0)))
        busy = switch(0.1, (FLIP, cpu))
        for core in ("0", "1"):
            history.add_counter("node_cpu_seconds_total", {**labels, "cpu": core, "mode": "user"}, busy)
            history.add_counter("node_cpu_seconds_total", {**labels, "cpu": core, "mode": "idle"}, lambda at: 1 - (busy(at) or 0.0))
        for mount, kind, full in (("/", "ext4", disk), ("/snap/core", "squashfs", 1.0), ("/dev/shm", "tmpfs", 0.99)):  # noqa: S108 - a label
            mounted = {**labels, "mountpoint": mount, "fstype": kind, "device": "/dev/sda1"}
            history.add_gauge("node_filesystem_size_bytes", mounted, 1e9)
            history.add_gauge("node_filesystem_avail_bytes", mounted, switch(0.5e9, (FLIP, 1e9 * (1 - full))))

    add("well", memory=0.79, cpu=0.79, disk=0.79)
    add("tight", memory=switch(0.5, (FLIP, 0.85), (HEAL, 0.5)))
    add("choking", memory=switch(0.5, (FLIP, 0.98)))
    add("brief", memory=switch(0.5, (FLIP, 0.9), (FLIP + 100, 0.5)))
    add("busy", cpu=0.99)
    add("full", disk=0.96)
    for job, targets, broken in (("shop", 3, 0), ("web", 4, 1), ("db", 1, 1)):
        for number in range(targets):
            level = switch(1.0, (FLIP, 0.0), (HEAL, 1.0)) if number < broken else 1.0
            history.add_gauge("up", {"job": job, "instance": f"{number}:80"}, level)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replay, dict[str, Outcome]]:
    """The whole history judged, and the answer to every query of the rules."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copytree(RULES, folder / "rules")
    (folder / "rules" / "catalogue.yaml").write_text(CATALOGUE)
    history = History(START, END)
    _write_services(history)
    _write_latency(history)
    _write_hosts(history)
    return judge_past(folder, history, FLIP - 120, END, STEP_SECONDS, asked_at=FLIP + 120)


@pytest.fixture
def replay(judged: tuple[Replay, dict[str, Outcome]]) -> Replay:
    """What the replay found."""
    return judged[0]


def test_prometheus_accepts_every_query(judged: tuple[Replay, dict[str, Outcome]]) -> None:
    """Prometheus answers each query the rules can ask: plain, over the severity window, baselines and history."""
    replay, answers = judged
    assert len(answers) > 20
    assert not [f"{query}: {answer}" for query, answer in answers.items() if isinstance(answer, QueryFailed)]
    assert not replay.failures


def test_the_table_names_every_active_rule(replay: Replay) -> None:
    """A rule that is added to the shipped files needs a breach here; the library is not active."""
    assert {rule.name for rule in replay.rules.rules} == set(FIRED)


@pytest.mark.parametrize("rule", FIRED)
def test_fires_for_the_broken_and_nobody_else(replay: Replay, rule: str) -> None:
    """A breach fires; healthy services, few requests, short peaks, idle counters and images that are always full do not."""
    assert replay.fired(rule) == FIRED[rule]


def test_nothing_else_happens(replay: Replay) -> None:
    """Incidents exist for the broken services and the core service that vanished, and for no others."""
    broken = set().union(*FIRED.values())
    assert {incident.service for incident in replay.incidents.values()} == broken | {"core-down"}
    assert not [found for found in replay.transitions if found.at < FLIP]


@pytest.mark.parametrize(
    ("service", "severity"),
    [
        ("two", Severity.MEDIUM),
        ("ten", Severity.HIGH),
        ("core-full", Severity.CRITICAL),
        ("virgin", Severity.HIGH),
        ("class", Severity.HIGH),
        ("billing", Severity.HIGH),
        ("slow", Severity.MEDIUM),
        ("core-slow", Severity.HIGH),
        ("newborn", Severity.MEDIUM),
        ("silent", Severity.MEDIUM),
        ("core-down", Severity.HIGH),
        ("tight:9100", Severity.LOW),
        ("choking:9100", Severity.HIGH),
        ("busy:9100", Severity.MEDIUM),
        ("full:9100", Severity.HIGH),
        ("web", Severity.MEDIUM),
        ("db", Severity.HIGH),
    ],
)
def test_severity(replay: Replay, service: str, severity: Severity) -> None:
    """2% is MEDIUM, 10% HIGH, a core service at 100% CRITICAL; what only costs comfort pages nobody."""
    incident = replay.incident(service)
    assert incident.peak_severity is severity
    paged = [notice for notice in replay.notices if notice.incident == incident.id and notice.kind is NoticeKind.TRIGGER]
    assert len(paged) == (severity is not Severity.LOW)


def test_full_outage_of_a_core_service_is_critical_within_two_minutes(replay: Replay) -> None:
    """The rule's window is 5m; severity is judged over the last minute."""
    critical = [at for at, service, severity in replay.severities if service == "core-full" and severity is Severity.CRITICAL]
    assert min(critical) <= FLIP + 120


@pytest.mark.parametrize(
    "service", ["two", "ten", "core-full", "virgin", "class", "billing", "slow", "core-slow", "silent", "web", "db"]
)
def test_recovery_is_verified(replay: Replay, service: str) -> None:
    """After the repair the incident resolves as recovered, with the value at recovery, and every page is closed."""
    incident = replay.incident(service)
    assert incident.status in {Status.RESOLVED, Status.CLOSED}
    assert incident.end_reason == EndReason.RECOVERED.value
    assert incident.resolved is not None
    assert incident.resolved >= HEAL + 300
    assert all(page.closed for page in incident.pages)
    ended = replay.of(service, Change.ENDED)
    assert ended
    assert all(found.state.signals[found.state.signal or ""].at_recovery is not None for found in ended)


def test_service_without_error_series_counts_as_without_errors(replay: Replay) -> None:
    """No 5xx series beside requests is 0, not "no data": the alert is known and not open."""
    state = replay.state("http-errors", "never-failed")
    assert (state.phase, state.unknown) == (Phase.INACTIVE, "")
    assert not replay.of("never-failed")


def test_errors_that_vanish_with_a_restart_are_a_recovery(replay: Replay) -> None:
    """New pods without 5xx series and with counters from zero: resolved on their requests, at 0, not frozen and not at once."""
    incident = replay.incident("restarted")
    assert incident.end_reason == EndReason.RECOVERED.value
    assert incident.resolved is not None
    assert incident.resolved >= RESTART + 300
    (ended,) = replay.of("restarted", Change.ENDED)
    assert ended.state.signals["error_rate"].at_recovery == pytest.approx(0.0)
    assert ended.state.signals["error_rate"].peak == pytest.approx(0.1, rel=0.05)
    assert not [found for found in replay.of("restarted") if found.at > RESTART and found.change is Change.ROSE]


def test_core_service_that_vanishes_is_an_incident(replay: Replay) -> None:
    """All series gone: "no data" after three minutes, resolved when they are back."""
    first = replay.of("core-down", Change.ABSENT)[0]
    assert FLIP + 180 <= first.at <= FLIP + 240
    incident = replay.incident("core-down")
    assert incident.summary == "core-down: no data"
    assert incident.resolved is not None
    assert HEAL <= incident.resolved <= HEAL + 120
    assert not replay.of("core-down", Change.FIRED)


def test_other_service_that_vanishes_keeps_its_state(replay: Replay) -> None:
    """Healthy before: nothing. Firing before: still firing at the end, and it says why it cannot be judged."""
    assert not replay.of("down")
    assert replay.state("http-errors", "vanished").phase is Phase.FIRING
    assert [found.reason for found in replay.of("vanished", Change.UNKNOWN)] == ["no data"]
    assert replay.incident("vanished").status is Status.OPEN


def test_night_traffic_says_nothing(replay: Replay) -> None:
    """Three failing requests in five minutes open nothing, and too few requests do not end what is open."""
    assert not replay.of("night")
    assert replay.state("http-errors", "quieted").phase is Phase.FIRING
    assert replay.incident("quieted").status is Status.OPEN


def test_idle_service_is_neither_slow_nor_gone(replay: Replay) -> None:
    """Without traffic p95 is NaN and the error ratio 0/0: no page, no "no data" incident, though the service is core."""
    assert not replay.of("core-idle")


def test_baseline_leaves_idle_time_out(replay: Replay) -> None:
    """Without traffic p95 is NaN: such points neither count as points of the baseline nor pull its median down."""
    (fired,) = replay.of("morning", Change.FIRED)
    assert fired.at < FLIP + 600
    assert fired.state.baselines["p95"] == pytest.approx(0.0975)


def test_example_catalogue_is_good_and_not_read(tmp_path: Path) -> None:
    """Shipped rules name no service; the example, copied to a name that is read, loads without a finding."""
    assert not RuleDirectory(RULES).load().rules.catalogue.services
    shutil.copytree(RULES, tmp_path / "rules")
    shutil.copy(RULES / "catalogue.example", tmp_path / "rules" / "catalogue.yaml")
    loaded = RuleDirectory(tmp_path / "rules").load().rules
    assert loaded.catalogue.services["checkout"].core
    assert loaded.maintenance


@pytest.mark.parametrize(
    "path", sorted(path for path in RULES.rglob("*.yaml") if not path.name.endswith(".test.yaml")), ids=lambda path: path.name
)
def test_files_name_their_schema(path: Path) -> None:
    """Editors complete and check a rule file by its first line; library files name it as they will lie once copied."""
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_summaries_are_filled(replay: Replay) -> None:
    """Every template renders in every transition."""
    assert not replay.unfilled
    assert replay.incident("ten").summary.startswith("ten fails ")
    assert "{{" not in "".join(found.summary for found in replay.transitions)
