"""The running daemon diagnoses an incident as it opens: checks and a deploy in the ticket, in the API, in the thread's values."""

import asyncio
import json
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.kit.house import Household
from tests.kit.rule import SHORT_RULES
from tests.kit.standin import Service
from tests.kit.wait import wait_until

CATALOGUE = """\
services:
  shop: {depends_on: [cart], diagnosis: {resources: {query: 'vector(0.97)', above: 0.9, unit: share}}}
"""


def tell_deploy(port: int, at: float) -> int:
    """As a pipeline does with curl; the status."""
    news = {"service": "shop", "version": "v42", "at": at, "by": "ann"}
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/api/v1/deploys", json.dumps(news), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


async def test_an_incident_holds_its_diagnosis(tmp_path: Path) -> None:
    """A deploy is told, the service fails: within seconds of the page the incident names the deploy; a restart adds nothing."""
    house = Household(
        tmp_path, {"errors": SHORT_RULES, "catalogue": CATALOGUE}, (Service("shop", rate=100.0), Service("cart", rate=100.0))
    )
    async with house:
        assert await asyncio.to_thread(tell_deploy, house.daemon.port, time.time() - 60) == 201
        house.flip("shop", error_ratio=0.5)
        await house.wait_alert("shop")

        async def is_diagnosed() -> bool:
            incidents = await house.daemon.incidents()
            return bool(incidents and incidents[0]["checks"])

        await wait_until(is_diagnosed, "the diagnosis is in the ticket", seconds=40.0)
        (incident,) = await house.daemon.incidents()
        checks = {check["name"]: check for check in incident["checks"]}
        assert checks["recent deploy"]["verdict"] == "bad"
        assert checks["recent deploy"]["message"].startswith("v42 deployed 1m")
        assert checks["resources"]["message"] == "resources 97%, limit 90%"
        assert checks["third parties"]["verdict"] == "unknown"
        timeline = await house.daemon.timeline(incident["id"])
        lines = [event["message"] for event in timeline if event["kind"] == "check"]
        assert len(lines) == 10
        assert lines[0].startswith("🔴 recent deploy: v42")
        await house.daemon.end()
        await house.daemon.start()
        await asyncio.sleep(3.0)
        again = await house.daemon.timeline(incident["id"])
        assert len([event for event in again if event["kind"] == "check"]) == 10
