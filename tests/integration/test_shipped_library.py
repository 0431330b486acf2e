"""The rules of the library, each on series as its instrumentation exports them, held by a real Prometheus.

In every instrumentation one service fails, one is slow, one crawls from its first minute, one loses its traffic and one is well.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from detector.domain.incident import Status
from detector.domain.outcome import Outcome, QueryFailed
from detector.domain.severity import Severity
from tests.kit.history import BUCKET_BOUNDS_SECONDS, History, Level, switch
from tests.kit.replay import Replay, judge_past

LIBRARY = Path(__file__).parents[2] / "rules" / "library"
STEP_SECONDS = 30.0
START = 1_790_000_100.0
FLIP = START + 1800.0
HEAL = FLIP + 600.0
END = HEAL + 900.0
RATE = 20.0


@dataclass(frozen=True)
class Instrumentation:
    """How one instrumentation names things. `counter` empty: requests are counted by the histogram alone.

    `labels` of (service, first digit of the status); `name`: what the service is called in alerts.
    """

    file: str
    rules: str
    histogram: str
    labels: Callable[[str, str], dict[str, str]]
    counter: str = ""
    bounds: tuple[float, ...] = BUCKET_BOUNDS_SECONDS
    unit: float = 1.0
    name: Callable[[str], str] = str


def _label_opentelemetry(service: str, digit: str) -> dict[str, str]:
    route = {"http_request_method": "GET", "http_route": "/basket"}
    return {"job": f"shop/{service}", "instance": "a", "http_response_status_code": f"{digit}00", **route}


def _label_istio(service: str, digit: str) -> dict[str, str]:
    labels = {
        "destination_service_name": f"{service}-istio",
        "destination_service_namespace": "shop",
        "job": "mesh",
        "instance": "a",
    }
    return {**labels, "reporter": "destination", "response_code": f"{digit}00", "request_protocol": "http"}


def _label_ingress(service: str, digit: str) -> dict[str, str]:
    labels = {
        "ingress": f"{service}-ingress",
        "exported_namespace": "shop",
        "exported_service": f"{service}-http",
        "host": "shop.example",
    }
    return {**labels, "job": "ingress", "namespace": "ingress-nginx", "path": "/", "status": f"{digit}00"}


def _label_envoy(service: str, digit: str) -> dict[str, str]:
    return {"envoy_cluster_name": f"{service}-envoy", "job": "envoy", "envoy_response_code_class": digit}


def _label_traefik(service: str, digit: str) -> dict[str, str]:
    return {"service": f"{service}@docker", "job": "traefik", "code": f"{digit}00", "method": "GET", "protocol": "http"}


def _label_spring(service: str, digit: str) -> dict[str, str]:
    labels = {"job": f"{service}-spring", "uri": "/basket", "method": "GET", "exception": "None"}
    return {**labels, "outcome": "SUCCESS" if digit == "2" else "SERVER_ERROR", "status": f"{digit}00"}


INSTRUMENTATIONS = (
    Instrumentation(
        "opentelemetry", "opentelemetry", "http_server_request_duration_seconds", _label_opentelemetry, name="shop/{}".format
    ),
    Instrumentation(
        "istio",
        "istio",
        "istio_request_duration_milliseconds",
        _label_istio,
        "istio_requests_total",
        unit=1000,
        name="{}-istio".format,
    ),
    Instrumentation(
        "nginx-ingress",
        "nginx-ingress",
        "nginx_ingress_controller_request_duration_seconds",
        _label_ingress,
        "nginx_ingress_controller_requests",
        name="{}-ingress".format,
    ),
    Instrumentation(
        "envoy",
        "envoy",
        "envoy_cluster_upstream_rq_time",
        _label_envoy,
        "envoy_cluster_upstream_rq_xx",
        unit=1000,
        name="{}-envoy".format,
    ),
    Instrumentation(
        "traefik",
        "traefik",
        "traefik_service_request_duration_seconds",
        _label_traefik,
        "traefik_service_requests_total",
        bounds=(0.1, 0.3, 1.2, 5.0),  # Traefik's default
        name="{}@docker".format,
    ),
    Instrumentation("spring-micrometer", "spring", "http_server_requests_seconds", _label_spring, name="{}-spring".format),
)
FAULTS = {"errors": "failing", "latency": "slow", "latency-limit": "crawling", "traffic-gone": "silent"}
TABLE = [(kind.name(service), f"{kind.rules}-{suffix}") for kind in INSTRUMENTATIONS for suffix, service in FAULTS.items()]


def _write(history: History, kind: Instrumentation, service: str, good: Level, bad: Level, duration: Level) -> None:
    for rate, digit in ((good, "2"), (bad, "5")):
        labels = kind.labels(service, digit)
        if kind.counter:
            history.add_counter(kind.counter, labels, rate)
        history.add_histogram(kind.histogram, labels, rate, duration, bounds=kind.bounds, unit=kind.unit)


def _write_all(history: History) -> None:
    for kind in INSTRUMENTATIONS:
        _write(history, kind, "well", RATE, None, 0.08)
        bad = switch(None, (FLIP, RATE * 0.1), (HEAL, 0.0))
        _write(history, kind, "failing", switch(RATE, (FLIP, RATE * 0.9), (HEAL, RATE)), bad, 0.08)
        _write(history, kind, "slow", RATE, None, switch(0.08, (FLIP, 1.8), (HEAL, 0.08)))
        _write(history, kind, "crawling", switch(None, (FLIP, RATE)), None, switch(8.0, (HEAL, 0.08)))
        _write(history, kind, "silent", switch(RATE, (FLIP, 0.0), (HEAL, RATE)), None, 0.08)
    # what the rules leave out: the client's view of the same requests, the actuator, no ingress matched, an open WebSocket
    istio, ingress, traefik, spring = (_find(file) for file in ("istio", "nginx-ingress", "traefik", "spring-micrometer"))
    history.add_counter(istio.counter, {**istio.labels("well", "5"), "reporter": "source"}, RATE)
    history.add_counter(ingress.counter, {**ingress.labels("", "5"), "ingress": ""}, RATE)
    history.add_histogram(spring.histogram, {**spring.labels("well", "5"), "uri": "/actuator/health"}, RATE, 0.01)
    history.add_histogram(traefik.histogram, {**traefik.labels("well", "2"), "protocol": "websocket"}, RATE, 600.0)


def _find(file: str) -> Instrumentation:
    return next(kind for kind in INSTRUMENTATIONS if kind.file == file)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replay, dict[str, Outcome]]:
    """The history of all instrumentations judged by the whole library, and the answer to every query."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(LIBRARY, folder / "rules")  # copied, as a user activates them
    history = History(START, END)
    _write_all(history)
    return judge_past(folder, history, FLIP - 120, END, STEP_SECONDS, asked_at=FLIP + 120)


@pytest.fixture
def replay(judged: tuple[Replay, dict[str, Outcome]]) -> Replay:
    """What the replay found."""
    return judged[0]


def test_prometheus_accepts_every_query(judged: tuple[Replay, dict[str, Outcome]]) -> None:
    """Prometheus answers each query the library can ask: plain, over the severity window, baselines and history."""
    replay, answers = judged
    assert not [f"{query}: {answer}" for query, answer in answers.items() if isinstance(answer, QueryFailed)]
    assert not replay.failures


def test_the_table_names_every_rule_and_file(replay: Replay) -> None:
    """A rule or file that is added to the library needs a breach here, and every file has its tests beside it."""
    assert {rule.name for rule in replay.rules.rules} == {rule for _, rule in TABLE}
    assert {path.name for path in LIBRARY.iterdir()} == {
        f"{file}{suffix}" for file in (kind.file for kind in INSTRUMENTATIONS) for suffix in (".yaml", ".test.yaml")
    }


@pytest.mark.parametrize(("service", "rule"), TABLE)
def test_fires_for_the_broken_and_nobody_else(replay: Replay, service: str, rule: str) -> None:
    """Each rule fires for the service with its fault, under the service's name, and for no other."""
    assert replay.fired(rule) == {service}


@pytest.mark.parametrize(("service", "rule"), TABLE)
def test_ends_with_the_fault(replay: Replay, service: str, rule: str) -> None:
    """One incident by one rule, of the severity that a service without a catalogue entry has, resolved after the repair."""
    incident = replay.incident(service)
    assert incident.rules == (rule,)
    assert incident.peak_severity is (Severity.HIGH if rule.endswith("errors") else Severity.MEDIUM)
    assert incident.status in {Status.RESOLVED, Status.CLOSED}
    assert incident.resolved is not None
    assert incident.resolved > HEAL


def test_pages_speak_of_seconds(replay: Replay) -> None:
    """Also where the buckets are milliseconds; and every template renders."""
    assert not replay.unfilled
    for kind in INSTRUMENTATIONS:
        (alert,) = replay.incident(kind.name("slow")).alerts.values()
        track = alert.signals["p95"]
        assert track.peak is not None
        assert 1.0 < track.peak < 5.0
