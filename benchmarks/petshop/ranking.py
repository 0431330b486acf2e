"""How often the ranking names the true root cause of the PetShop incidents, asked of a real Prometheus that holds their history.

The data is not part of the repository: the folder is PETSHOP_DIR, else ../shared/petshop; without it the question is passed over.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.question import Figure, Question
from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.app.evidence import gather_courses
from detector.domain.suspect import rank_suspects
from detector.transport.exchange import Exchange
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.question import Say
    from detector.domain.rule import RuleSet

RULES = Path(__file__).parent / "rules"
SCENARIO = "high_traffic"
AIMS = {1: 0.8, 3: 0.9}
_DEADLINE_SECONDS = 30.0

MOMENTS: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "5 min after its start": lambda label: float(label["start"]) + 300.0,
    "10 min after its start": lambda label: float(label["start"]) + 600.0,
    "at its end": lambda label: float(label["end"]),
}


def find_data() -> Path | None:
    """The folder of the data set, None where this machine has none."""
    folder = Path(os.environ.get("PETSHOP_DIR") or Path(__file__).resolve().parents[2].parent / "shared" / "petshop")
    return folder if (folder / SCENARIO / "noissue.csv").is_file() else None


async def convert(data: Path, folder: Path) -> list[dict[str, Any]]:
    """Write metrics.om and the labels into `folder`, by the data set's own script; the labels of all incidents."""
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(data / "to_openmetrics.py"), str(data / SCENARIO), str(folder)
    )
    if await script.wait():
        raise RuntimeError(f"{data / 'to_openmetrics.py'} failed with exit code {script.returncode}")
    labels: list[dict[str, Any]] = json.loads((folder / "labels.json").read_text())
    return labels


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Recall at one and at three, by kind of incident and by when one asks."""
    data = find_data()
    if data is None:
        print("petshop: passed over, no data; set PETSHOP_DIR to the folder that holds to_openmetrics.py and high_traffic/")
        return []
    labels = await convert(data, folder)
    prometheus = Prometheus(folder / "prometheus")
    await asyncio.to_thread(prometheus.load_openmetrics, (folder / "metrics.om").read_text())
    await asyncio.to_thread(prometheus.start)
    exchange = Exchange()
    try:
        source = PrometheusSource(exchange, prometheus.url)
        places = await rank_all(source, RuleDirectory(RULES).load().rules, labels, say)
    finally:
        await exchange.close()
        await asyncio.to_thread(prometheus.stop)
    return tell(places)


async def rank_all(
    source: PrometheusSource, rules: RuleSet, labels: list[dict[str, Any]], say: Say
) -> Mapping[tuple[str, str], list[int | None]]:
    """The place of the true cause in each ranking, from 1, None where it is not named; by kind and moment."""
    places: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for label in labels:
        say(str(label["name"]))
        for moment, find in MOMENTS.items():
            found = await gather_courses(source, rules, label["service"], find(label), deadline_seconds=_DEADLINE_SECONDS)
            named = [suspect.service for suspect in rank_suspects(rules.catalogue, label["service"], found.known)]
            cause = label["root_cause"]
            places[label["metric"], moment].append(named.index(cause) + 1 if cause in named else None)
    return places


def tell(places: Mapping[tuple[str, str], list[int | None]]) -> list[Figure]:
    """One row for each kind of incident and number of places, one column for each moment."""
    return [
        Figure(
            row=f"{kind}: root cause among the first {most}" if most > 1 else f"{kind}: root cause first",
            column=moment,
            value=sum(place is not None and place <= most for place in found) / len(found),
            unit=f"of {len(found)}",
            budget=AIMS[most] if moment == "10 min after its start" else None,
            more=True,
        )
        for most in AIMS
        for (kind, moment), found in sorted(places.items(), key=lambda item: (item[0][0], list(MOMENTS).index(item[0][1])))
    ]


QUESTION = Question(
    name="petshop",
    text="How often is the true root cause named? (recall)",
    method="17 incidents of the PetShop data set in a real Prometheus, with the rules of benchmarks/petshop/rules/ and its call "
    "graph. The constants were chosen on these; others are kept apart. Best published method: .67 first, .84 among three.",
    minutes=0.5,
    measure=measure,
)
