"""`detector explain`: a rule in words, its moments, the expansion of an objective, exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from detector.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RULES = """
services: {checkout: {pagerduty: payments, core: true}}
rules:
  - name: slow
    by: [service]
    every: 15s
    window: 10m
    signals:
      p95: 'max by (service) (max_over_time(latency[$window]))'
      share: {ratio: ['sum(a)', 'sum(b)'], min_total: 20, confidence: 0.95}
    open: p95 > 2.0 * p95_baseline
    for: 2m
    recover_for: 4m
    watch: 20m
    overrides: [{match: {service: [batch]}, open: p95 > 9, for: 1h}]
  - name: budget
    by: [service]
    slo:
      objective: 0.99
      errors: 'sum by (service) (increase(e_total[$window]))'
      total: 'sum by (service) (increase(t_total[$window]))'
"""


@pytest.fixture(autouse=True)
def _rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTOR_RULES", raising=False)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    code = main(["explain", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_rule_is_told_minute_by_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Pending at once, an incident after `for`, resolved after `recover_for`, closed after `watch`; windows are filled in."""
    code, out, err = run(capsys, "slow")
    assert (code, err) == (0, "")
    begins = [line.split()[0] for line in out.splitlines() if line.startswith("  +")]
    assert begins == ["+0s", "+2m", "+2m15s", "+1h2m", "+0s", "+4m", "+24m"]
    for words in (
        "p95 = max by (service) (max_over_time(latency[10m]))",
        "unknown below 20 in the denominator",
        "lower bound at a confidence of 0.95",
        "opens when    p95 > 2.0 * p95_baseline",
        "checkout: payments",
        "every other service: default",
        "median of 1h, ending 10m ago",
        "other terms where service batch: open p95 > 9, for 1h",
    ):
        assert words in out


def test_a_program_reads_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Moments in seconds, and which severity pages at the least that the settings page from."""
    code, out, _ = run(capsys, "slow", "--json")
    told = json.loads(out)
    assert code == 0
    assert [(each["since"], each["after_seconds"]) for each in told["moments"]][:2] == [("breach", 0), ("breach", 120)]
    assert {rung["severity"]: rung["pages"] for rung in told["severity"]} == {"high": True, "low": False, "medium": True}
    assert told["slo"] == []


def test_who_is_paged_follows_the_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With page_from high, MEDIUM pages nobody."""
    monkeypatch.setenv("DETECTOR_PAGERDUTY__PAGE_FROM", "high")
    told = json.loads(run(capsys, "slow", "--json")[1])
    assert [rung["severity"] for rung in told["severity"] if rung["pages"]] == ["high"]


def test_an_objective_is_shown_expanded(capsys: pytest.CaptureFixture[str]) -> None:
    """All pairs of windows with their factors, and the thresholds they come to."""
    code, out, _ = run(capsys, "budget")
    assert code == 0
    assert "14.4 times the budget over 1h and over 5m: high" in out
    assert "1 times the budget over 3d and over 6h: low" in out
    assert "error_rate_1h > 0.144 && error_rate_5m > 0.144" in out
    assert "sum by (service) (increase(e_total[3d]))" in out


def test_a_name_that_no_rule_has_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest name is offered; exit code 2."""
    assert run(capsys, "budgte") == (2, "", "detector: no rule is named budgte; did you mean `budget`?\n")


def test_faulty_rules_are_named_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, a line for each finding."""
    (tmp_path / "bad.yaml").write_text("rules: [{name: x, signals: {a: up}, open: b < 1}]\n")
    code, out, err = run(capsys, "x", "bad.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("detector: bad.yaml:1:")
