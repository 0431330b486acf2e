"""How many of the PetShop incidents `detector backtest` finds, how often it cries wolf, and how late it is.

The data are found as in `ranking`. An incident counts as found when one of its service opens while the fault is active, or within
two minutes of its end; every other incident of a service that is watched is a false one.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.petshop.ranking import RULES, convert, find_data
from benchmarks.question import RULES as SHIPPED
from benchmarks.question import Figure, Question
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.question import Say

GRACE_SECONDS = 120.0
RECALL = 0.9
FALSE_A_DAY = 1.0
_DAY = 86_400.0
PLAIN = """
rules:
  - name: plain
    by: [service]
    signals:
      error_rate:
        ratio: ['sum by (service) (increase(http_requests_total{code=~"5.."}[5m]))',
                'sum by (service) (increase(http_requests_total[5m]))']
    open: error_rate > 0.01
"""


@dataclass(frozen=True, slots=True)
class Score:
    """Recall and delays in seconds by kind of incident, and false incidents a day."""

    recall: Mapping[str, float]
    delays: Mapping[str, tuple[float, ...]]
    false_a_day: float


def score(labels: Sequence[Mapping[str, Any]], incidents: Sequence[Mapping[str, Any]], days: float) -> Score:
    """Hold incidents of a backtest against the labels; incidents of services that no label names are left out."""
    watched = {label["service"] for label in labels}
    found: dict[str, float] = {}
    false = 0
    for incident in sorted(incidents, key=lambda each: float(each["opened"])):
        if incident["service"] not in watched:
            continue
        label = next((each for each in labels if _matches(each, incident)), None)
        if label is None:
            false += 1
        else:
            found.setdefault(label["name"], incident["opened"] - label["start"])
    names = {kind: [each["name"] for each in labels if each["metric"] == kind] for kind in sorted({e["metric"] for e in labels})}
    return Score(
        {kind: sum(name in found for name in members) / len(members) for kind, members in names.items()},
        {kind: tuple(found[name] for name in members if name in found) for kind, members in names.items()},
        false / days,
    )


def _matches(label: Mapping[str, Any], incident: Mapping[str, Any]) -> bool:
    within = float(label["start"]) <= float(incident["opened"]) <= float(label["end"]) + GRACE_SECONDS
    return within and bool(label["service"] == incident["service"])


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Backtests of a plain rule, the shipped rules and the best ones, over the whole span."""
    data = find_data()
    if data is None:
        print("detection: passed over, no data; set PETSHOP_DIR to the folder that holds to_openmetrics.py and high_traffic/")
        return []
    labels = await convert(data, folder)
    span = json.loads((folder / "span.json").read_text())
    plain = folder / "plain"
    plain.mkdir()
    (plain / "plain.yaml").write_text(PLAIN)
    prometheus = Prometheus(folder / "prometheus")
    await asyncio.to_thread(prometheus.load_openmetrics, (folder / "metrics.om").read_text())
    await asyncio.to_thread(prometheus.start)
    try:
        figures = []
        for name, rules in (("plain 1% rule", plain), ("shipped rules", SHIPPED), ("best rules", RULES)):
            say(name)
            incidents = await run_backtest((rules,), prometheus.url, span)
            held = score(labels, incidents, (span["end"] - span["start"]) / _DAY)
            figures += tell(name, held, judged=rules != plain)
    finally:
        await asyncio.to_thread(prometheus.stop)
    return figures


async def run_backtest(rules: Sequence[Path], url: str, span: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The incidents that `detector backtest --json` reports. Raises RuntimeError when it fails."""
    words = ["backtest", *map(str, rules), "--from", str(span["start"]), "--to", str(span["end"]), "--prometheus", url, "--json"]
    command = await asyncio.create_subprocess_exec(sys.executable, "-m", "detector", *words, stdout=asyncio.subprocess.PIPE)
    output, _ = await command.communicate()
    if command.returncode:
        raise RuntimeError(f"detector {' '.join(words)} ended with {command.returncode}")
    found: list[dict[str, Any]] = json.loads(output)["incidents"]
    return found


def tell(name: str, held: Score, *, judged: bool) -> list[Figure]:
    """One row for each set of rules; all but the plain rule have budgets."""
    figures = []
    for kind, recall in held.recall.items():
        figures.append(
            Figure(row=name, column=f"{kind} found", value=recall, unit="of all", budget=RECALL if judged else None, more=True)
        )
        if held.delays[kind]:
            delay = statistics.median(held.delays[kind]) / 60
            figures.append(Figure(row=name, column=f"{kind} delay", value=delay, unit="min"))
    budget = FALSE_A_DAY if judged else None
    return [*figures, Figure(row=name, column="false a day", value=held.false_a_day, unit="a day", budget=budget)]


QUESTION = Question(
    name="detection",
    text="How many real incidents are found, at how many false ones a day?",
    method="`detector backtest --json` over the PetShop data set in a real Prometheus: 17 incidents in two days. Found: opened "
    "while the fault is active. Delay: median from the fault's begin to the first breach, which is what `opened` says.",
    minutes=1,
    measure=measure,
)
