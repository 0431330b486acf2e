"""`detector test` as a process: good and failing tests, faults in test files, a missing binary; the notation against promtool."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.prometheus import run_promtool

RULES = """
rules:
  - name: http-errors
    summary: "{{ service }} fails {{ error_rate | percent }} of its requests"
    by: [service]
    signals:
      error_rate:
        ratio: ['sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))',
                'sum by (service) (increase(http_requests_total[$window]))']
        min_total: 20
    open: error_rate > 0.01
  - name: down
    by: [job]
    signals: {alive: avg by (job) (up)}
    open: alive < 1
    recover_for: 1m
"""
GOOD = """
rules: [web.yaml]
interval: 15s
tests:
  - name: two percent opens a MEDIUM incident
    series:
      'http_requests_total{service="checkout",code="200"}': '0+98x60'
      'http_requests_total{service="checkout",code="500"}': '0+2x60'
    expect:
      - {at: 6m, incidents: [{rule: http-errors, service: checkout, severity: medium, status: open}]}
      - {at: 0s, incidents: []}
"""


def _run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "detector", "test", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **environment})


def _write(folder: Path, test: str, rules: str = RULES) -> Path:
    (folder / "web.yaml").write_text(rules)
    (folder / "web.test.yaml").write_text(test)
    return folder


def test_good(tmp_path: Path) -> None:
    """Exit code 0 and one line."""
    done = _run(_write(tmp_path, GOOD))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("1 passed, 0 failed in 1 file,")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("incidents: [{severity: high}]", "incidents"),
        ("incidents: []", "incidents"),
        ("incidents: [{service: checkout}, {service: cart}]", "incidents"),
        ("incidents: [{opened: 5m}]", "incidents"),
        ("incidents: [{value: 0.03}]", "incidents"),
        ("incidents: [{summary: fails 3%}]", "incidents"),
        ("alerts: []", "alerts"),
        ("alerts: [{state: pending}]", "alerts"),
        ("alerts: [{labels: {service: cart}}]", "alerts"),
        ("notices: []", "notices"),
        ("notices: [{kind: resolve}]", "notices"),
        ("texts: [checkout fails 3% of its requests]", "texts"),
        ("severity: low", "severity"),
        ("pages: 0", "pages"),
    ],
)
def test_what_is_not_so_fails(tmp_path: Path, wrong: str, what: str) -> None:
    """Each kind of expectation can fail; it says what was expected, what came, and the signal around that time."""
    done = _run(_write(tmp_path, GOOD.replace("{at: 0s, incidents: []}", f"{{at: 6m, {wrong}}}")))
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == f"FAIL {tmp_path}/web.test.yaml:5:5: two percent opens a MEDIUM incident"
    assert lines[1] == f"  at 6m ({tmp_path}/web.test.yaml:11): {what}"
    assert lines[2].startswith("    expected: ")
    assert lines[3].startswith("    got:      ")
    assert "5m45s" in lines[4]
    assert "2%" in lines[5]
    assert '{service="checkout"}' in lines[5]
    assert lines[-1].startswith("0 passed, 1 failed")


@pytest.mark.parametrize(
    "right",
    [
        "incidents: [{value: 0.0201, threshold: 0.01, opened: 15s, detected: 15s, rules: [http-errors], services: checkout}]",
        "incidents: [{value: 0.03, tolerance: 0.5, labels: {service: checkout}, peak_severity: medium, summary: fails 2%}]",
        "alerts: [{rule: http-errors, state: firing, severity: medium, signal: error_rate, since: 15s}]",
        "notices: [{kind: trigger, channel: pagerduty, route: default, severity: medium, service: checkout}]",
        "texts: checkout fails 2% of its requests",
        "severity: medium, pages: 1",
    ],
)
def test_what_is_so_passes(tmp_path: Path, right: str) -> None:
    """Partial: only the keys that are given are compared; moments count from the beginning, numbers have a tolerance."""
    done = _run(_write(tmp_path, GOOD.replace("{at: 0s, incidents: []}", f"{{at: 6m, {right}}}")))
    assert done.returncode == 0, done.stdout


def test_json(tmp_path: Path) -> None:
    """What a program would read."""
    done = _run(_write(tmp_path, GOOD.replace("severity: medium", "severity: low")), "--json")
    (result,) = json.loads(done.stdout)
    assert (done.returncode, result["passed"], result["line"]) == (1, False, 5)
    (failure,) = result["failures"]
    assert failure["got"] == [{"rule": "http-errors", "service": "checkout", "severity": "medium", "status": "open"}]
    assert failure["signals"][0]["points"][2] == [360.0, pytest.approx(0.02)]


def test_series_end_as_in_promtool(tmp_path: Path) -> None:
    """A stale series is gone at once, one that just ends after five minutes of lookback, `_` is bridged by it; tests are apart."""
    test = """
rules: [web.yaml]
interval: 15s
tests:
  - name: stale at once
    series: {'up{job="a",instance="0"}': 1x8 stale, 'up{job="a",instance="1"}': 0x80}
    expect:
      - {at: 2m, alerts: [{value: 0.5}]}
      - {at: 2m15s, alerts: [{value: 0}]}
  - name: the end is seen five minutes later
    series: {'up{job="a",instance="0"}': 1x8, 'up{job="a",instance="1"}': 0x80}
    expect:
      - {at: 7m, alerts: [{value: 0.5}]}
      - {at: 7m15s, alerts: [{value: 0}]}
  - name: what is missing is bridged, and a series may come back after its end
    series: {'up{job="a",instance="0"}': 1x8 _x10 1 stale _x3 1x9, 'up{job="a",instance="1"}': 0x80}
    expect:
      - {at: 4m45s, alerts: [{value: 0.5}]}
      - {at: 5m, alerts: [{value: 0}]}
      - {at: 6m, alerts: [{value: 0.5}]}
  - name: of the other tests nothing is seen
    series: {}
    expect: [{at: 10m, alerts: [], incidents: []}]
"""
    done = _run(_write(tmp_path, test))
    assert done.returncode == 0, done.stdout


def test_notation_as_in_promtool(tmp_path: Path) -> None:
    """The same series and the same moments: promtool's own unit test agrees with ours."""
    values = {"a": "0+10x3 _x2 5", "b": "100-10x2 stale 7x2", "c": "-1-1x2 _ 1e3", "d": "3x4 -0.5"}
    seen = {("a", "6m"): 5, ("a", "3m"): 30, ("b", "2m"): 80, ("b", "5m"): 7, ("c", "3m"): -3, ("c", "4m"): 1000, ("d", "5m"): -0.5}
    series = "".join(f"      - {{series: {name}, values: '{text}'}}\n" for name, text in values.items())
    checks = "".join(
        f"      - {{expr: {name}, eval_time: {at}, exp_samples: [{{labels: {name}, value: {value}}}]}}\n"
        for (name, at), value in seen.items()
    )
    theirs = f"rule_files: []\ntests:\n  - interval: 1m\n    input_series:\n{series}    promql_expr_test:\n{checks}"
    theirs += "      - {expr: b, eval_time: 3m, exp_samples: []}\n"
    (tmp_path / "promtool.yml").write_text(theirs)
    run_promtool("test", "rules", tmp_path / "promtool.yml")
    rules = "rules:\n" + "".join(f"  - {{name: {name}, signals: {{value: {name}}}, open: value > -1000000}}\n" for name in values)
    ours = "interval: 1m\ntests:\n  - name: as promtool\n    series:\n"
    ours += "".join(f"      {name}: '{text}'\n" for name, text in values.items()) + "    expect:\n"
    moments = sorted({at for _, at in seen})
    for at in moments:
        known = {name: value for (name, moment), value in seen.items() if moment == at}
        for name, value in known.items():
            others = [f"{{rule: {other}}}" for other in values if other != name]
            ours += f"      - {{at: {at}, alerts: [{{rule: {name}, value: {value}}}, {', '.join(others)}]}}\n"
    done = _run(_write(tmp_path, ours, rules))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("'0+98x60'", "'0+98y60'", "values: '0+98y60' is no value"),
        ('{service="checkout",code="200"}', '{service="checkout"', "web.test.yaml:7:46: series: `,` or `}` is missing"),
        (
            "incidents: []",
            "incident: []",
            "unknown key `incident` in an expectation; did you mean `incidents`?",
        ),
        ("severity: medium", "severity: medum", "did you mean `medium`?"),
        ("at: 0s", "at: 0.5", "`at` is 0.5 without a unit"),
        ("{at: 0s, incidents: []}", "{at: 0s}", "web.test.yaml:11:9: nothing is expected here; write e.g. `incidents: []`"),
        ("rules: [web.yaml]", "rules: [wob.yaml]", "wob.yaml:1:1: no such file or directory"),
        ("tests:", "test:", "unknown key `test` in a rule test file; did you mean `tests`?"),
        ("severity: medium", "value: much", "`value` is no number; write e.g. `value: 0.02`"),
    ],
)
def test_faults_of_test_files(tmp_path: Path, old: str, new: str, finding: str) -> None:
    """Each with its place; nothing is run."""
    assert old in GOOD
    done = _run(_write(tmp_path, GOOD.replace(old, new)))
    assert done.returncode == 1
    assert finding in done.stderr
    assert "no test was run" in done.stderr
    assert done.stdout == ""


def test_faults_of_rules(tmp_path: Path) -> None:
    """The rules' own findings, as `check` has them."""
    done = _run(_write(tmp_path, GOOD, RULES.replace("open: error_rate", "open: eror_rate")))
    assert done.returncode == 1
    assert "web.yaml:11:11: unknown name `eror_rate`" in done.stderr


def test_no_tests_and_wrong_names(tmp_path: Path) -> None:
    """A directory without tests, a file that is none, a path that does not exist."""
    (tmp_path / "web.yaml").write_text(RULES)
    wrong = {tmp_path: "no rule tests here", tmp_path / "web.yaml": "this is no rule test", tmp_path / "x": "x:1:1: "}
    for path, message in wrong.items():
        done = _run(path)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_query_that_prometheus_refuses(tmp_path: Path) -> None:
    """That test fails with the reason; it is no crash."""
    rules = RULES.replace("avg by (job) (up)", "up * on () up")
    test = GOOD.replace("series:\n", "series:\n      'up{job=\"a\"}': 1x9\n      'up{job=\"b\"}': 1x9\n")
    done = _run(_write(tmp_path, test, rules))
    assert done.returncode == 1
    assert "query failed: bad_query" in done.stdout


def test_without_a_binary(tmp_path: Path) -> None:
    """Exit code 2 and the one line that says how to get it."""
    done = _run(_write(tmp_path, GOOD), DETECTOR_PROMETHEUS_BIN=str(tmp_path / "none"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "DETECTOR_PROMETHEUS_BIN" in done.stderr


def test_the_shipped_rules_pass_their_tests() -> None:
    """Every rule file has a test file beside it, and all tests pass."""
    folder = Path(__file__).parents[2] / "rules"
    files = {path for path in folder.rglob("*.yaml") if not path.name.endswith(".test.yaml")}
    assert not {path for path in files if not path.with_suffix(".test.yaml").exists()}
    done = _run(folder)
    assert done.returncode == 0, done.stdout
