"""What all tests share: the rule about skips, the check of the built wheel, and real servers as fixtures."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import detector
from detector.adapters.binary import BinaryMissingError, Name, find_binary
from tests.kit.alertmanager import Alertmanager
from tests.kit.mosquitto import Mosquitto, find_mosquitto
from tests.kit.postgres import Postgres, find_postgres
from tests.kit.prometheus import Prometheus

# how long an example or its making takes says how busy the machine is
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

LONGEST = "test_case_story"  # more than three minutes: begun late, it would be waited for at the end
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def pytest_configure() -> None:
    """Refuse to run on the source tree when the built wheel is what should be tested."""
    where = Path(detector.__file__)
    if os.environ.get("DETECTOR_TEST_WHEEL") == "1" and "site-packages" not in where.parts:
        raise pytest.UsageError(f"DETECTOR_TEST_WHEEL=1 but detector was imported from {where}: run `make test`")


def pytest_report_header() -> str:
    """Say which detector is being tested."""
    return f"detector: {Path(detector.__file__).parent}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest, then those of the running process in their random order: they mostly wait, and quick ones fill the gaps."""
    items.sort(key=lambda item: (item.name != LONGEST, "acceptance" not in item.path.parts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: a missing server is a failure."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """As above, for modules that skip themselves."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {_reason(report.longrepr)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was missing, once each."""
    reasons = sorted({_reason(report.longrepr) for report in terminalreporter.stats.get("skipped", [])})
    if reasons:
        terminalreporter.section("not tested here")
        for reason in reasons:
            terminalreporter.write_line(reason)


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else longrepr
    return str(text).removeprefix("Skipped: ")


def _find_or_skip(name: Name) -> Path:
    try:
        return find_binary(name)
    except BinaryMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def prometheus_bin() -> Path:
    """The real Prometheus binary."""
    return _find_or_skip("prometheus")


@pytest.fixture(scope="session")
def promtool_bin() -> Path:
    """The real promtool binary."""
    return _find_or_skip("promtool")


@pytest.fixture(scope="session")
def alertmanager_bin() -> Path:
    """The real Alertmanager binary."""
    return _find_or_skip("alertmanager")


@pytest.fixture(scope="session")
def amtool_bin() -> Path:
    """The real amtool binary."""
    return _find_or_skip("amtool")


@pytest.fixture
def start_prometheus(prometheus_bin: Path, tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start any number of real Prometheus servers; arguments as of `Prometheus`, `history` is OpenMetrics text."""
    del prometheus_bin  # asked for its skip
    with ExitStack() as stack:
        count = 0

        def start(*, history: str | None = None, **settings: Any) -> Prometheus:
            nonlocal count
            count += 1
            server = Prometheus(tmp_path / f"prometheus-{count}", **settings)
            if history is not None:
                server.load_openmetrics(history)
            return stack.enter_context(server)

        yield start


@pytest.fixture
def start_alertmanager(alertmanager_bin: Path, tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    """Start any number of real Alertmanagers; arguments as of `Alertmanager`."""
    del alertmanager_bin  # asked for its skip
    with ExitStack() as stack:
        count = 0

        def start(**settings: Any) -> Alertmanager:
            nonlocal count
            count += 1
            return stack.enter_context(Alertmanager(tmp_path / f"alertmanager-{count}", **settings))

        yield start


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, one for each worker; who restarts or kills it leaves it running again."""
    if find_postgres() is None:
        pytest.skip("postgresql not found: sudo apt-get install postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A new empty database, gone after the test."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real MQTT broker of the test's own."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto not found: sudo apt-get install mosquitto")
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker
