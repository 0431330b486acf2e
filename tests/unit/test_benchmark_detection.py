"""How the benchmark holds a backtest against labelled incidents, and that its rules load."""

from __future__ import annotations

import pytest

from benchmarks.petshop.detection import score, tell
from benchmarks.petshop.ranking import RULES
from detector.adapters.rulefile import RuleDirectory

LABELS = [
    {"name": "a", "metric": "availability", "service": "front", "start": 1000, "end": 2000},
    {"name": "b", "metric": "latency", "service": "front", "start": 5000, "end": 6000},
]


def opened(at: float, service: str = "front") -> dict[str, object]:
    """An incident of a backtest."""
    return {"service": service, "opened": at}


@pytest.mark.parametrize(
    ("at", "found", "false"),
    [(1000, 1.0, 0.0), (2120, 1.0, 0.0), (999, 0.0, 0.5), (2121, 0.0, 0.5), (4000, 0.0, 0.5)],
)
def test_an_incident_counts_as_found_only_while_its_fault_is_active(at: float, found: float, false: float) -> None:
    """The first second and the grace after the end count, a second before and after do not and are false incidents."""
    held = score(LABELS, [opened(at)], 2.0)
    assert held.recall == {"availability": found, "latency": 0.0}
    assert held.false_a_day == false


def test_the_first_of_several_incidents_gives_the_delay_and_other_services_count_for_nothing() -> None:
    """Two incidents within one fault find it once; a back end's incident is neither found nor false."""
    held = score(LABELS, [opened(5300), opened(5100), opened(5200, "back"), opened(100, "back")], 1.0)
    assert held.delays == {"availability": (), "latency": (100.0,)}
    assert held.false_a_day == 0.0
    assert [figure.column for figure in tell("x", held, judged=True)] == [
        "availability found",
        "latency found",
        "latency delay",
        "false a day",
    ]


def test_the_rules_of_the_benchmark_load_and_name_no_service() -> None:
    """The whole folder without a finding; conditions and queries hold for any application."""
    rules = RuleDirectory(RULES).load().rules
    text = (RULES / "detection.yaml").read_text() + (RULES / "signals.yaml").read_text()
    assert {rule.name for rule in rules.rules} >= {"errors-lasting", "errors-long-lasting", "latency-lasting", "http-errors"}
    assert not [name for name in rules.catalogue.services if name in text]
    assert all("core" in rule.policy.open.text for rule in rules.rules)
