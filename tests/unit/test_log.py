"""The log: one line an event, no secret in any form, and no flood."""

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from detector.adapters.log import LogObserver, Redactor, set_up_log
from detector.domain.alert import AlertState, Change, Phase, SignalTrack, Transition
from detector.domain.incident import Decision, NoticeKind
from detector.domain.severity import Severity
from detector.ports.store import Delivery
from tests.kit.sample import make_event, make_incident, make_notice
from tests.kit.secret import assert_no_secret

SECRETS = ('quote"d-s3cret', "ünïcode-secret", "plain+secret/==", "p@ss:word")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = root
    logging.getLogger().setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    """JSON lines of everything from info on."""
    stream = io.StringIO()
    set_up_log("json", "info", SECRETS, stream=stream)
    return stream


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def _transition(change: Change = Change.FIRED, **changes: Any) -> Transition:
    state = AlertState(
        labels=(("service", "checkout"),),
        phase=Phase.FIRING,
        severity=Severity.HIGH,
        signal="error_rate",
        threshold=0.01,
        signals={"error_rate": SignalTrack(0.1, 0.2)},
    )
    fields: dict[str, Any] = {"change": change, "rule": "http-errors", "labels": state.labels, "at": 1000.0}
    return Transition(**(fields | {"service": "checkout", "state": state} | changes))


def _delivery() -> Delivery:
    return Delivery("n1", "i1", 1, NoticeKind.TRIGGER, "pagerduty", "default", "k", Severity.HIGH, 100.0, {}, 1)


def test_a_transition_is_one_line_with_everything(out: io.StringIO) -> None:
    """Rule, labels, service, from and to, value and threshold stand in one line."""
    LogObserver().transitions_seen([_transition()])
    (line,) = _lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "transition",
        "level": "warning",
        "rule": "http-errors",
        "service": "checkout",
        "labels": '{service="checkout"}',
        "change": "fired",
        "before": "pending",
        "after": "firing",
        "severity": "high",
        "signal": "error_rate",
        "value": 0.1,
        "threshold": 0.01,
        "at": 1000.0,
    }


def test_a_reason_is_told(out: io.StringIO) -> None:
    """An end says why."""
    LogObserver().transitions_seen([_transition(Change.ENDED, reason="rule removed")])
    assert (_lines(out)[0]["reason"], _lines(out)[0]["after"]) == ("rule removed", "inactive")


def test_a_decision_is_a_line_an_event_and_a_line_a_notice(out: io.StringIO) -> None:
    """The timeline and the queued notices can be read from the log."""
    LogObserver().decision_committed(Decision((make_incident(1),), (make_event(1),), (make_notice(1),)))
    event, notice = _lines(out)
    assert (event["event"], event["incident"], event["kind"], event["severity"]) == ("incident", "incident-00001", "opened", "high")
    assert (notice["event"], notice["channel"]) == ("notice queued", "pagerduty")


def test_the_same_failure_is_told_when_it_begins_changes_every_five_minutes_and_ends(out: io.StringIO) -> None:
    """A rule that fails every five seconds for ten minutes makes a handful of lines."""
    observer = LogObserver()
    for second in range(0, 600, 5):
        observer.rule_evaluated("r", "error", 0.1, float(second), "timeout")
    observer.rule_evaluated("r", "error", 0.1, 600.0, "refused")
    observer.rule_evaluated("r", "ok", 0.1, 605.0, "")
    observer.rule_evaluated("r", "ok", 0.1, 610.0, "")
    assert [(line["event"], line.get("detail")) for line in _lines(out)] == [
        ("evaluation failed", "timeout"),
        ("evaluation failed", "timeout"),
        ("evaluation failed", "refused"),
        ("evaluation works again", None),
    ]


def test_a_wall_clock_that_jumps_back_silences_nothing(out: io.StringIO) -> None:
    """After a jump an hour back the next failure is told."""
    observer = LogObserver()
    observer.rule_evaluated("r", "error", 0.1, 5000.0, "timeout")
    observer.rule_evaluated("r", "error", 0.1, 1400.0, "timeout")
    assert len(_lines(out)) == 2


def test_missed_slots_are_told_at_the_first_and_then_together(out: io.StringIO) -> None:
    """A Prometheus that stands still makes no line a slot; none of the slots is left out of the sum."""
    now = 0.0
    observer = LogObserver(lambda: now)
    for now in range(0, 601, 10):  # noqa: B007 - the clock of the observer
        observer.slots_missed("http-errors", 1)
    observer.slots_missed("host-cpu", 2)
    told = [(line["rule"], line["count"]) for line in _lines(out) if line["event"] == "slots missed"]
    assert told == [("http-errors", 1), ("http-errors", 30), ("http-errors", 30), ("host-cpu", 2)]


def test_a_retry_that_fails_the_same_way_is_told_seldom(out: io.StringIO) -> None:
    """Ten retries within a minute are one line; the acceptance is another."""
    observer = LogObserver()
    for number in range(10):
        observer.delivery_ended(_delivery(), "retried", 100.0 + number, "503")
    observer.delivery_ended(_delivery(), "accepted", 111.0, "")
    assert [line["event"] for line in _lines(out)] == ["notice retried", "notice accepted"]
    assert _lines(out)[1]["waited_seconds"] == 11.0


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_reaches_the_log(form: str) -> None:
    """Values, nested values, tracebacks, library records and warnings lose every secret, in every spelling."""
    out = io.StringIO()
    set_up_log(form, "debug", SECRETS, stream=out)
    log = structlog.get_logger("x")
    for secret in SECRETS:
        log.info(secret, url=f"http://u:{secret}@h", nested={"deep": [secret]})
        logging.getLogger("library").warning("library says %s", secret)
        try:
            int(secret)  # its message quotes what was given
        except ValueError:
            log.exception("failed")
            logging.getLogger("library").exception("failed")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(secret, stacklevel=1)
    assert out.getvalue().count("[redacted]") >= 6 * len(SECRETS)
    assert_no_secret(SECRETS, out.getvalue())


def test_a_key_that_names_a_secret_hides_its_value(out: io.StringIO) -> None:
    """What stands under `token` or `routing_key` is hidden even where the value is not a known secret."""
    structlog.get_logger().info("x", routing_key="unknown-one", api_token="unknown-two", other="shown")
    assert (_lines(out)[0]["routing_key"], _lines(out)[0]["other"]) == ("[redacted]", "shown")
    assert_no_secret(["unknown-one", "unknown-two"], out.getvalue())


def test_a_redactor_learns_and_leaves_short_words_alone() -> None:
    """Secrets may be added; one under four characters would blot out words; the longest goes first."""
    redactor = Redactor(["ab"])
    assert redactor.redact("about secret-long") == "about secret-long"
    redactor.add(["secret", "secret-long"])
    assert redactor.redact("about secret-long") == "about [redacted]"


def test_lines_below_the_level_are_not_made(out: io.StringIO) -> None:
    """A debug line costs no rendering at level info, and library chatter below warning is not shown."""

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("rendered")

    structlog.get_logger().debug("quiet", value=Loud())
    logging.getLogger("uvicorn.error").info("chatter")
    assert out.getvalue() == ""


def test_a_stream_that_fails_stops_nobody() -> None:
    """A full disk or a closed pipe under the log loses lines and raises nothing."""

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device", text)

        def flush(self) -> None:
            raise AssertionError("not reached")

    set_up_log("json", "info", stream=Full())
    structlog.get_logger().info("x")
    logging.getLogger("library").warning("x")


def test_structlog_comes_without_rich() -> None:
    """The daemon's log does not import rich, and leaves it importable."""
    code = "import sys, detector.adapters.log; print('rich' in sys.modules); import rich.console"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
