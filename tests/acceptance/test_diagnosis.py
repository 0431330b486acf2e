"""The running daemon diagnoses an incident as it opens: what is found goes into ticket, thread and page as it comes."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from detector.standin.account import ENGINEER
from tests.kit.house import Booth, EnterBooth, Household
from tests.kit.rule import PLAIN_RULES, SHORT_RULES
from tests.kit.standin import Service
from tests.kit.wait import PATIENCE_SECONDS, wait_until

CATALOGUE = """\
services:
  shop: {depends_on: [cart], diagnosis: {resources: {query: 'vector(0.97)', above: 0.9, unit: share}}}
"""


def tell_deploy(port: int, at: float) -> int:
    """As a pipeline does with curl; the status."""
    news = {"service": "shop", "version": "v42", "at": at, "by": "ann"}
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
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

        await wait_until(is_diagnosed, "the diagnosis is in the ticket")
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


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/health"


def list_findings(booth: Booth) -> list[list[str]]:
    """What each trigger of the only alert says that was found."""
    (alert,) = booth.pagerduty.alerts()
    triggers = [entry for entry in alert.log if entry.action == "trigger"]
    details = [entry.event["payload"]["custom_details"] for entry in triggers]  # type: ignore[index]
    return [detail.get("diagnosis", []) for detail in details]


async def test_results_reach_the_page_while_a_source_still_hangs(enter_booth: EnterBooth, silent_server: str) -> None:
    """The page leaves first; what answered at once is added to the same alert, while a probe that hangs is still waited for."""
    mitigations = "mitigations: {revert: {summary: Roll back, run: [echo, back]}}"
    shop = f"checkout: {{{mitigations}, diagnosis: {{third_parties: {{probes: {{tax: '{silent_server}'}}}}}}}}"
    booth = await enter_booth(rules={"errors": PLAIN_RULES, "catalogue": f"services:\n  {shop}\n"}, pagerduty__diagnosis="trigger")
    await booth.daemon.start()
    booth.show(checkout=0.1)  # whatever is asked is answered so: a version that was not there an hour ago, too
    await booth.wait_open(1)
    await wait_until(lambda: len(list_findings(booth)) > 1, "what was found stands at the alert")
    first, second = list_findings(booth)[:2]
    assert first == []
    assert second[0].startswith("🔴 recent deploy: ")
    assert not [line for line in second if "third parties" in line]
    (alert,) = booth.pagerduty.alerts()
    details = alert.log[0].event["payload"]["custom_details"]  # type: ignore[index]
    incident = await booth.daemon.wait_incident("checkout")
    assert details["mitigations"] == [f"Roll back: detector incidents mitigate {incident['id']} revert --by NAME --yes"]

    async def is_whole() -> bool:
        found = await booth.daemon.incident("checkout")
        return found is not None and len(found["checks"]) == 10

    await wait_until(is_whole, "the probe was given up")
    timeline = await booth.daemon.timeline(incident["id"])
    lines = [event["message"] for event in timeline if event["kind"] == "check"]
    assert len(lines) == 10
    assert "third parties" in lines[-1]


async def test_with_a_token_the_page_gets_notes_and_no_further_trigger(enter_booth: EnterBooth) -> None:
    """A note in the requester's name on PagerDuty's incident, which pages nobody; the daemon does not take it for news."""
    requester = ENGINEER.email
    booth = await enter_booth(pagerduty__api_token="rest-token", pagerduty__requester=requester)
    booth.pagerduty.account.token = "rest-token"
    booth.daemon.settings["DETECTOR_PAGERDUTY__REST_URL"] = booth.pagerduty.url
    await booth.daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    await wait_until(lambda: bool(booth.pagerduty.account.notes), "the note")
    (note,) = booth.pagerduty.account.notes
    assert note["user"] == requester
    assert note["content"].startswith("detector diagnosis:\n🔴 recent deploy: ")
    assert booth.count_sent("trigger") == 1
