"""The end of an incident in the running daemon: probes that must pass, items that people tick, words after the close."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from aiohttp import web

from detector.standin.server import Server
from tests.kit.daemon import Daemon
from tests.kit.house import Booth, EnterBooth
from tests.kit.wait import PATIENCE_SECONDS, wait_until

RULES = """\
services:
  checkout:
    responders: {{service_owner: olu@example.org, on_call_engineer: Erin}}
    verify:
      - {{name: health, url: "{url}/health", contains: ready, environment: production}}
      - {{name: support channel quiet}}
rules:
  - name: errors
    by: [service]
    every: 1s
    signals: {{error_rate: errors}}
    open: error_rate > 0.01
    severity: {{high: "true"}}
    recover_for: 1s
    watch: {watch}
"""


class Shop:
    """The service that is probed: well or not."""

    def __init__(self) -> None:
        self.text = "starting"
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        """What /health says."""
        self.asked += 1
        return web.Response(text=self.text)


@pytest.fixture
def shop() -> Shop:
    """A shop that is starting."""
    return Shop()


@pytest.fixture
async def url(shop: Shop) -> AsyncIterator[str]:
    """Where it is probed."""
    app = web.Application()
    app.router.add_get("/health", shop.answer)
    async with Server(app) as server:
        yield server.url


async def post(daemon: Daemon, path: str, **body: str) -> tuple[int, Any]:
    """POST JSON as a person's tool would."""

    def send() -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    return await asyncio.to_thread(send)


async def break_shop(booth: Booth) -> dict[str, Any]:
    """Start, break, wait for the page."""
    await booth.daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    return await booth.daemon.wait_incident("checkout")


async def test_a_probe_blocks_the_resolve_until_it_passes(enter_booth: EnterBooth, shop: Shop, url: str) -> None:
    """Metrics are well, the health page is not: the page stays open until it is. What a human saw is ticked."""
    booth = await enter_booth(rules={"shop": RULES.format(url=url, watch="30m")})
    incident = await break_shop(booth)
    one = f"/api/v1/incidents/{incident['id']}"
    assert (await post(booth.daemon, f"{one}/update", by="ann", message="rolling back", eta="10m", state="identified"))[0] == 200
    booth.show(checkout=0.0)
    await wait_until(lambda: shop.asked > 0, "the probe was asked")

    async def has_failed() -> bool:
        items = (await booth.daemon.get(one))["verifications"]
        return any(item["ok"] is False for item in items)

    await wait_until(has_failed, "the failure in the ticket")
    assert len(booth.pagerduty.open_alerts()) == 1
    shop.text = "ready"
    resolved = await booth.daemon.wait_incident("checkout", "resolved")
    await booth.wait_open(0)
    assert (resolved["eta"], resolved["end_reason"]) == ("10m", "recovered")
    assert resolved["responders"]["service_owner"] == "olu@example.org"
    status, ticked = await post(booth.daemon, f"{one}/tick", by="ann", item="checkout: support channel quiet")
    assert status == 200
    assert {item["name"]: (item["ok"], item["by"]) for item in ticked["verifications"]} == {
        "checkout: health (production)": (True, "detector"),
        "checkout: support channel quiet": (True, "ann"),
    }
    assert (await post(booth.daemon, f"{one}/tick", by="ann", item="nothing"))[0] == 409
    kinds = [line["kind"] for line in await booth.daemon.timeline(incident["id"])]
    wanted = ["opened", "update", "verifying", "not verified", "verified", "resolved"]
    assert [kind for kind in kinds if kind in wanted][: len(wanted)] == wanted


async def test_a_closed_incident_takes_notes_and_a_cause_and_stays_closed(enter_booth: EnterBooth, shop: Shop, url: str) -> None:
    """What is learned afterwards belongs to the ticket; an update to people who wait does not."""
    shop.text = "ready"
    booth = await enter_booth(rules={"shop": RULES.format(url=url, watch="1s")})
    incident = await break_shop(booth)
    one = f"/api/v1/incidents/{incident['id']}"
    booth.show(checkout=0.0)
    await booth.daemon.wait_incident("checkout", "closed")
    status, changed = await post(booth.daemon, f"{one}/cause", by="ann", text="a full disk")
    assert (status, changed["root_cause"], changed["status"]) == (200, "a full disk", "closed")
    assert (await post(booth.daemon, f"{one}/note", by="ann", text="bought a larger one"))[0] == 200
    status, refusal = await post(booth.daemon, f"{one}/update", by="ann", message="hm")
    assert (status, refusal["detail"]) == (409, f"incident {incident['id']} is closed; add a note instead")
    assert (await booth.daemon.get(one))["root_cause"] == "a full disk"
    hers = [line for line in await booth.daemon.timeline(incident["id"]) if line["actor"] == "ann"]  # the draft comes when it comes
    assert (hers[-1]["kind"], hers[-1]["message"]) == ("note", "bought a larger one")
    await booth.daemon.stop()
    await booth.daemon.start()
    assert (await booth.daemon.wait_incident("checkout", "closed"))["root_cause"] == "a full disk"
