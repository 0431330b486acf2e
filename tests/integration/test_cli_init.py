"""`detector init`: what it finds in a real Prometheus, what it writes, and that it never writes over anything unasked."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from detector.adapters.discovery import discover
from detector.adapters.discovery.instrumentation import KNOWN
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.trial import find_trials, read_trials
from detector.cli import main
from detector.ports.error import TemporaryError
from tests.kit.certificate import Certificate, make_certificate
from tests.kit.port import free_port
from tests.kit.prometheus import Prometheus
from tests.kit.wait import HELD_UP_SECONDS

SHIPPED = Path(__file__).parents[2] / "rules"
START = 1_790_000_000
SERIES = (
    ("counter", "http_requests", 'http_requests_total{job="shop",service="cart",code="200"}'),
    ("counter", "http_requests", 'http_requests_total{job="shop",service="check\\"out",code="200"}'),
    (
        "gauge",
        "envoy_cluster_upstream_rq_xx",
        'envoy_cluster_upstream_rq_xx{envoy_cluster_name="edge",envoy_response_code_class="2"}',
    ),
    ("gauge", "node_memory_MemTotal_bytes", 'node_memory_MemTotal_bytes{job="node",instance="a:9100"}'),
)


def render(rows: tuple[tuple[str, str, str], ...]) -> str:
    """OpenMetrics text with two samples of each series."""
    lines: list[str] = []
    for kind, family in dict.fromkeys((kind, family) for kind, family, _ in rows):
        lines.append(f"# TYPE {family} {kind}")
        lines += [f"{series} {at} {START + at * 60}" for _, name, series in rows if name == family for at in range(2)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with two instrumented services, a proxy and a host."""
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
    prometheus.load_openmetrics(render(SERIES))
    with prometheus:
        yield prometheus


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    code = main(["init", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_is_found_is_written_and_loads(shop: Prometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules, their tests and a catalogue of every service; what is there and what is missing is said; all of it loads."""
    folder = tmp_path / "new" / "rules"
    code, out, err = run(capsys, folder, "--prometheus", f"{shop.url}/")
    assert code == 0
    assert 'found HTTP counters and histograms (client libraries), 2 services: cart, check"out' in out
    assert "found Envoy, 1 service: edge" in out
    assert "not found: http_request_duration_seconds_bucket" in out
    assert f"detector check {folder}" in err
    rules = RuleDirectory(folder).load().rules
    assert set(rules.catalogue.services) == {"cart", 'check"out', "edge"}
    assert {rule.name for rule in rules.rules} >= {"http-errors", "envoy-errors", "host-memory"}
    assert not any("istio" in rule.name for rule in rules.rules)
    files, findings = find_trials([folder])
    assert not findings
    assert {file.name for file in files} == {"http.test.yaml", "http-lasting.test.yaml", "envoy.test.yaml", "host.test.yaml"}
    for file in files:
        assert not read_trials(file)[1]


def test_nothing_is_written_over_unless_asked(shop: Prometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file that stands there is enough to write none, exit code 2; with --force it is replaced."""
    (tmp_path / "catalogue.yaml").write_text("mine")
    code, _, err = run(capsys, tmp_path, "--prometheus", shop.url)
    assert code == 2
    assert (
        err
        == f"detector: {tmp_path / 'catalogue.yaml'} is there already, and nothing was written; give another folder, or --force\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue.yaml"]
    assert (tmp_path / "catalogue.yaml").read_text() == "mine"
    assert run(capsys, tmp_path, "--prometheus", shop.url, "--force")[0] == 0
    assert "cart" in (tmp_path / "catalogue.yaml").read_text()


def test_a_prometheus_without_anything_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, nothing written."""
    prometheus = Prometheus(tmp_path / "prometheus")
    prometheus.load_openmetrics(render((("gauge", "odd", "odd{job='x'}".replace("'", '"')),)))
    with prometheus:
        code, out, err = run(capsys, tmp_path / "rules", "--prometheus", prometheus.url)
    assert (code, out) == (1, "")
    assert err.startswith("detector: none of the 1 metrics there is known")
    assert not (tmp_path / "rules").exists()


def test_what_cannot_be_asked_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port where nobody listens, exit code 1; text that is no address, exit code 2."""
    url = f"http://127.0.0.1:{free_port()}"
    assert run(capsys, tmp_path, "--prometheus", url) == (
        1,
        "",
        f"detector: cannot ask Prometheus at {url}: nothing answers there\n",
    )
    assert run(capsys, tmp_path, "--prometheus", "prometheus:9090")[0] == 2


def test_one_that_never_answers_ends_by_the_timeout() -> None:
    """The client has no timeout of its own; ours ends the wait."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="no answer within 1 s"):
            discover(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=1)
    assert time.monotonic() - began < 1.0 + HELD_UP_SECONDS


def test_every_file_of_the_library_is_found_by_its_metrics() -> None:
    """No instrumentation is shipped that init does not know; its metrics stand in its rules."""
    shipped = {str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*.yaml") if not path.name.endswith(".test.yaml")}
    assert {known.file for known in KNOWN} == shipped
    for known in KNOWN:
        text = (SHIPPED / known.file).read_text()
        assert not [metric for metric in known.metrics if metric not in text]


class _Guarded(BaseHTTPRequestHandler):
    """Shows the names of metrics to who has the credentials."""

    wanted: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        """Answer 401 without them."""
        allowed = all(self.headers.get(name) == value for name, value in self.wanted.items())
        names = ["http_requests_total"] if "__name__" in self.path else ["cart"]
        body = json.dumps({"status": "success", "data": names}).encode() if allowed else b"no"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that hang up."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that the other side broke off."""


@contextmanager
def guard(wanted: dict[str, str], certificate: Certificate | None = None) -> Iterator[str]:
    """A server that wants these headers; its address."""
    handler = type("Handler", (_Guarded,), {"wanted": wanted})
    server = _Quiet(("127.0.0.1", 0), handler)
    if certificate is not None:
        server.socket = certificate.make_server_context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"USERNAME": "bob", "PASSWORD": "pw"}, {"Authorization": "Basic Ym9iOnB3"}),
        ({"BEARER_TOKEN": "token"}, {"Authorization": "Bearer token"}),
        ({"HEADERS": '{"X-Scope-OrgID": "shop"}'}, {"X-Scope-OrgID": "shop"}),
    ],
)
def test_the_credentials_of_the_settings_are_used_for_that_address_only(
    settings: dict[str, str],
    wanted: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Basic, bearer and plain headers are sent to the configured Prometheus, with --prometheus or without; no other gets them."""
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_PROMETHEUS__{name}", value)
    with guard(wanted) as url:
        monkeypatch.setenv("DETECTOR_PROMETHEUS_URL", url)
        assert run(capsys, tmp_path / "one")[0] == 0
        assert run(capsys, tmp_path / "two", "--prometheus", url)[0] == 0
        monkeypatch.setenv("DETECTOR_PROMETHEUS_URL", "http://127.0.0.1:9")
        code, _, err = run(capsys, tmp_path / "three", "--prometheus", url)
    assert code == 1
    assert "it answers 401; DETECTOR_PROMETHEUS__USERNAME" in err


def test_the_authority_of_the_settings_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of a private authority is taken with its CA file, and refused in one line without."""
    certificate = make_certificate(tmp_path / "keys")
    with guard({}, certificate) as url:
        monkeypatch.setenv("DETECTOR_PROMETHEUS_URL", url)
        code, _, err = run(capsys, tmp_path / "one")
        assert (code, "its certificate is not trusted" in err) == (1, True)
        monkeypatch.setenv("DETECTOR_PROMETHEUS__CA_FILE", str(certificate.ca_file))
        assert run(capsys, tmp_path / "two")[0] == 0
