# ruff: noqa: PT017 - a fault must come as the one declared error, and that error is looked at; that no fault comes is right too
"""What the program reads from others, thrown at it in broken forms: each target is a strategy and a check that never raises.

`run` drives one target for a number of examples: tests/unit/test_fuzz.py a few on each run, tests/soak/test_fuzz.py many. A check
fails with what it was given, shrunk; hypothesis prints the seed and how to play it again.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.adapters.condition import ConditionError, Scope
from detector.adapters.prometheus import answer
from detector.adapters.prometheus.answer import AnswerReader
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.trial import read_trials
from detector.adapters.settings import Settings, WrongSettingsError, load_settings
from detector.domain.mute import parse_filter, parse_matchers
from detector.domain.notation import NotationError, read_series, read_values
from detector.domain.outcome import Matrix, NoData, QueryFailed, RangeSamples, Samples
from detector.ports.rulefile import RuleFilesError
from detector.transport.retry import LONGEST_RETRY_AFTER_SECONDS, read_retry_after
from detector.transport.signature import verify_body

ROOT = Path(__file__).resolve().parents[2]
STEP_SECONDS = 10.0  # of processor time for one example: a slow machine is no fault, a quadratic reader is
SECRET = "fuzz-secret-0123456789"

_SHIPPED = [*sorted((ROOT / "rules").rglob("*.yaml")), ROOT / "deploy" / "prometheus" / "detector-rules.yaml"]
RULES = [path.read_text() for path in _SHIPPED if not path.name.endswith(".test.yaml")]
TRIALS = [path.read_text() for path in _SHIPPED if path.name.endswith(".test.yaml")]
_TOKENS = (
    *(
        "&a ",
        "*a",
        "<<: *a",
        "!!python/object:os.system ",
        "!!binary ",
        "---\n",
        "...\n",
        "{{ 'a' * 10**9 }}",
        "{% for x in y %}",
        "\t",
    ),
    *(
        "[" * 40,
        "{a: " * 40,
        "- " * 40,
        "\x00",
        "\ud7ff",
        "\ufeff",
        "\U0001f525",
        "1e999",
        "-.inf",
        "99999999999999999999h",
        "'",
        '"',
        ":",
    ),
    *(
        "(" * 300,
        "rate(x[5m]",
        "$window",
        "error_rate > 0.01 && ",
        "1" * 5000,
        "%YAML 9.9\n",
        "? ",
        "|+9\n",
        "FREQ=SECONDLY;INTERVAL=0",
    ),
    *("0s", "-5m", "1y", "null", "~", "[]", "{}", "true", "2001-99-99", "!!timestamp x", "0x", "1_0", "=~", "\\", "=" * 50),
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NUMBER = st.sampled_from(["NaN", "+Inf", "-Inf", "1e999", "1", "0.5", "-0", "", "x", "1" * 5000, "0x10", "1_000", "\u0661"])
_HUGE: st.SearchStrategy[Any] = st.sampled_from(
    [0, -1, 1e308, -1e308, 10**400, 1_790_000_000.123, 2**63, -(2**63) - 1, None, True, "1", [], {}]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | _HUGE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True, slots=True)
class Target:
    """What is drawn, and what must hold of it."""

    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    cost: int = 1  # an example of this costs as much as so many of the cheap ones


def run(target: Target, examples: int) -> None:
    """Draw and check so many examples, fewer where one costs more."""
    bounded = settings(
        max_examples=max(10, examples // target.cost), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )

    def timed(drawn: Any) -> None:
        started = time.process_time()
        target.check(drawn)
        assert time.process_time() - started < STEP_SECONDS, "one example took too long"

    bounded(given(target.strategy)(timed))()


@st.composite
def mutate(draw: st.DrawFn, texts: list[str]) -> str:
    """A good text, changed in up to six places: a stretch cut, doubled, moved, or a token put in."""
    text = draw(st.sampled_from(texts))
    if len(text) > 3000:  # a stretch of whole lines: a change in a short text meets more
        lines = text.splitlines(keepends=True)
        start = draw(st.integers(0, max(0, len(lines) - 60)))
        text = "".join([*lines[:1], *lines[start : start + 60]])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 60)))
        token = draw(st.one_of(st.sampled_from(_TOKENS), st.just(text[at:end]), st.just(""), _TEXT))
        text = text[:at] + token + text[draw(st.sampled_from([at, end])) :]
    return text


def make_texts(texts: list[str]) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and good files that were changed."""
    changed = mutate(texts).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(changed, changed, changed, st.binary(max_size=200))


def _check_rules(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fuzzed.yaml")
        path.write_bytes(content)
        try:
            load = RuleDirectory(folder).load()
        except RuleFilesError as error:
            assert error.findings
            for finding in error.findings:
                where = folder if finding.file == folder else str(path)  # no rules at all: the directory is named
                assert str(finding).startswith(f"{where}:{finding.line}:{finding.column}: ")
                assert finding.line >= 1
                assert finding.column >= 1
                assert finding.message
                assert "Traceback" not in finding.message
        else:
            assert load.rules.rules


def _check_trials(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fuzzed.test.yaml")
        path.write_bytes(content)
        trials, findings = read_trials(path)
        assert trials or findings
        assert all(finding.line >= 1 and finding.column >= 1 for finding in findings)


def _check_answer(body: bytes) -> None:
    reader = AnswerReader()
    for _ in range(2):  # the second finds label sets remembered
        outcome, notes = reader.read_instant(body)
        assert isinstance(outcome, Samples | NoData | QueryFailed)
        if isinstance(outcome, Samples):
            assert outcome.series
            assert all(math.isfinite(value) for value in outcome.series.values())
        assert all(len(note) <= 400 and "\n" not in note for note in notes)
        ranged, _ = reader.read_range(body)
        assert isinstance(ranged, RangeSamples | NoData | QueryFailed)
        matrix, _ = reader.read_matrix(body, 1_790_000_000.0, 3, 15.0)
        assert isinstance(matrix, Matrix | QueryFailed)
        if isinstance(matrix, Matrix):
            assert all(0 <= step < 3 for trace in matrix.series.values() for step in trace.values)
    for status in (400, 422, 503):
        assert isinstance(answer.read_error(status, body), QueryFailed)
    answer.read_label_sets(body)
    answer.read_names(body)
    answer.read_build(body)


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    """An answer of the query API, nearly right: odd numbers, the same labels twice, cut, nested without end, a word changed."""
    labels = draw(st.dictionaries(st.sampled_from(["service", "le", "__name__", "", "\u00e9"]), _TEXT, max_size=3))
    moment = st.sampled_from([1_790_000_000, 1_790_000_015, 1_790_000_030.5, 1_790_000_999, 17e8, 0, 1e308, None])
    point = st.tuples(moment, _NUMBER).map(list)
    kind = draw(st.sampled_from(["vector", "vector", "matrix", "matrix", "scalar", "string", "", 7]))
    many = draw(st.booleans())
    rows = [
        {
            "metric": draw(st.sampled_from([labels, labels, {"service": "b"}, {}]) | _JSON),
            "value": draw(point),
            "values": draw(st.lists(point, max_size=4)),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    given_: dict[str, Any] = {"status": draw(st.sampled_from([*["success"] * 6, "error", None, ""]))}
    given_["data"] = {"resultType": kind, "result": rows if many or kind != "scalar" else draw(point)}
    given_ |= draw(st.dictionaries(st.sampled_from(["warnings", "infos", "isPartial", "error", "errorType"]), _JSON, max_size=2))
    text = json.dumps(given_)
    change = draw(st.sampled_from(["none", "none", "cut", "deep", "swap"]))
    if change == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    elif change == "deep":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["[", '{"a":'])) * draw(st.sampled_from([50, 100_000])) + text[at:]
    elif change == "swap":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(['"', "}", "]", ",", "\\u0000", "1e999", "\x00", "NaN"])) + text[at + 1 :]
    return text.encode()


def _check_matchers(text: str) -> None:
    for parse in (parse_matchers, parse_filter):
        try:
            with warnings.catch_warnings():  # Python's engine says that `[a--z]` may mean something else one day
                warnings.simplefilter("ignore", FutureWarning)
                matchers = parse([text])
        except ValueError as fault:
            assert str(fault)
        else:
            for matcher in matchers:
                matcher.covers({"service": "a" * 200, "x": text})
                assert parse_filter([str(matcher)]) == (matcher,)


def _check_condition(text: str) -> None:
    try:
        condition = Scope(("error_rate", "p95")).compile(text)
    except ConditionError as error:
        assert error.faults
        assert all(0 <= fault.offset <= len(text) for fault in error.faults)
        return
    for bindings in ({}, {"error_rate": 0.5, "p95": math.inf, "core": True}):
        assert condition.evaluate(bindings) in {True, False, None}


def _check_notation(text: str) -> None:
    for read in (read_values, read_series):
        try:
            read(text)
        except NotationError as error:
            assert str(error)


def _check_settings(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detector.yaml")
        path.write_bytes(content)
        try:
            load_settings({"DETECTOR_CONFIG": str(path)})
        except WrongSettingsError as error:
            assert error.lines
            assert all("\n" not in line and SECRET not in line for line in error.lines), error.lines


def _check_environment(drawn: dict[str, str]) -> None:
    try:
        load_settings({"DETECTOR_CONFIG": os.devnull, **drawn})
    except WrongSettingsError as error:
        assert error.lines
        assert all("\n" not in line and SECRET not in line for line in error.lines), error.lines


def _check_signature(drawn: tuple[str, bytes]) -> None:
    header, body = drawn
    assert verify_body([b"k"], body, header) is False


def _check_retry(text: str) -> None:
    seconds = read_retry_after(text, 1_790_000_000.0)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_SECONDS


_CONDITIONS = ["error_rate > 0.01", "core && (error_rate > 0.5 || p95 > 4.0 * p95_baseline)", "!core ? p95 > 1 : error_rate <= 1e3"]
_MATCHERS = ['service=checkout, severity=~"low|medium"', '{rule!="a\\"b", x!~"(a+)+$"}', "a='b'", 'x=~"[a-z]{2,9}.*\\\\d"']
_NOTATIONS = [
    "0+10x30 _ NaN 1e3-0.5x4 stale",
    'http_requests_total{service="a",code=~"5"}',
    "-3x1000000000 0+1x99999999999",
    "_x5 Inf",
]
_CONFIGURED = {
    "prometheus_url": "http://u:" + SECRET + "@p:9090/x",
    "pagerduty": {"routing_keys": {"default": "k" * 32}, "webhook_secret": SECRET},
    "slack": {"token": SECRET, "channel": "#a"},
    "email": {"host": "h", "sender": "a@b", "password": SECRET, "on_call": ["a@b.c"]},
    "every": "5s",
    "fallback": ["email"],
    "webhook": {"url": f"https://h/{SECRET}", "secret": SECRET},
}
_NAMES = [f"DETECTOR_{name.upper()}" for name in Settings.model_fields] + [
    "DETECTOR_PAGERDUTY__ROUTING_KEYS",
    "DETECTOR_EMAIL__PORT",
]
_VALUES = st.one_of(
    st.sampled_from(
        ["[" * 5000, '{"a": ' * 2000, "1" * 5000, "NaN", "1e999s", f"http://{SECRET}@[::", f'{{"a": "{SECRET}"}}', "[::]:0"]
    ),
    _TEXT.filter(lambda text: "\x00" not in text),
    _JSON.map(json.dumps),
)

TARGETS = {
    "rule files": Target(make_texts(RULES), _check_rules, cost=6),
    "rule tests": Target(make_texts(TRIALS), _check_trials, cost=3),
    "answers of Prometheus": Target(st.one_of(_answers(), _answers(), st.binary(max_size=200)), _check_answer, cost=1),
    "silence matchers": Target(st.one_of(mutate(_MATCHERS), _TEXT), _check_matchers),
    "conditions": Target(st.one_of(mutate(_CONDITIONS), _TEXT, st.text(max_size=20)), _check_condition),
    "series of rule tests": Target(st.one_of(mutate(_NOTATIONS), _TEXT), _check_notation),
    "settings file": Target(make_texts([yaml.safe_dump(_CONFIGURED)]), _check_settings, cost=4),
    "settings in the environment": Target(
        st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=4), _check_environment, cost=3
    ),
    "signatures": Target(st.tuples(st.text(max_size=80) | st.just("v1=,v1=" + "0" * 64), st.binary(max_size=50)), _check_signature),
    "retry-after": Target(st.text(max_size=40) | _NUMBER, _check_retry),
}
