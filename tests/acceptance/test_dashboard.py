"""Every query of the dashboards, run by a real Prometheus that scrapes a running daemon with an incident and a deploy."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kit.prometheus import static_job
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.house import EnterBooth
    from tests.kit.prometheus import Prometheus

DASHBOARDS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "grafana").glob("*.json"))
GROUPED = re.compile(r"by \(([^)]*)\)")


def _list_queries() -> dict[str, str]:
    found = {}
    for path in DASHBOARDS:
        dashboard: dict[str, Any] = json.loads(path.read_text())
        asking = [*dashboard["panels"], *dashboard.get("annotations", {}).get("list", [])]
        for panel in asking:
            for target in panel.get("targets", [panel]):
                text = target["expr"].replace("$__range", "5m").replace("$__rate_interval", "1m").replace("$instance", ".*")
                found[f"{path.stem}: {panel.get('title', panel.get('name'))}: {text}"] = text
    return found


def _ask_for_samples(text: str) -> str:
    """The query without its demand that something happened: its series are there, whatever their values."""
    return re.sub(r" > 0\b", "", text.replace("increase(", "count_over_time("))


def _list_absent(text: str, found: list[dict[str, Any]]) -> set[str]:
    """Labels that the query groups by, the bucket's apart, and no series has: `sum by` of a label that is none gives one sum."""
    asked = {label.strip() for labels in GROUPED.findall(text) for label in labels.split(",")} - {"le"}
    return asked - {label for each in found for label in each["metric"]}


async def test_every_query_of_the_dashboards_has_an_answer(
    enter_booth: EnterBooth, start_prometheus: Callable[..., Prometheus]
) -> None:
    """No query is refused, each finds series by every label it groups by; those of what happened here say so."""
    booth = await enter_booth()
    await booth.daemon.start()
    port = booth.daemon.port
    env = os.environ | {"DETECTOR_URL": f"http://127.0.0.1:{port}"}
    argv = [sys.executable, "-m", "detector", "deploys", "add", "checkout", "2"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    prometheus = await asyncio.to_thread(start_prometheus, scrape_configs=[static_job("detector", f"127.0.0.1:{port}")])
    await wait_until(lambda: bool(prometheus.query("detector_build_info")), "scraped")
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    firing = 'detector_alerts{state="firing"} == 1'
    await wait_until(lambda: bool(prometheus.query(firing)), "the alert scraped")
    queries = _list_queries()
    assert len(queries) > 30
    assert [name for name, text in queries.items() if not prometheus.query(_ask_for_samples(text))] == []
    assert {name: _list_absent(text, prometheus.query(_ask_for_samples(text))) for name, text in queries.items()} == {
        name: set() for name in queries
    }
    happened = {name: text for name, text in queries.items() if "increase(" not in text and "drill" not in text}
    assert len(happened) > 25
    assert [name for name, text in happened.items() if not prometheus.query(text)] == []
    opened = prometheus.query('sum by (severity) (detector_incidents{status="open"}) > 0')
    assert [each["metric"]["severity"] for each in opened] == ["high"]
    (deploy,) = prometheus.query("detector_last_deploy_timestamp_seconds")
    assert deploy["metric"]["service"] == "checkout"
