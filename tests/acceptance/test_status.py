"""The public status page of the running daemon: who sees it, what it says, and that a crowd of customers costs no page."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from tests.kit.port import free_port
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until
from tests.kit.web import request

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

CATALOGUE = "services: {checkout: {}, ledger: {customer_facing: false}, search: {}}\n"
RULES = """\
rules:
  - name: errors
    by: [service, pod]
    every: 1s
    signals: {error_rate: errors}
    open: error_rate > 0.01
    recover_for: 1s
    summary: "{{ service }} on {{ pod }} fails"
"""
CUSTOMERS = 400
PAGE_SECONDS = 2.0  # on a crowded machine; a page that waited for the crowd would not come before it leaves


def _ask(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


async def _read(port: int) -> dict[str, Any]:
    status, _, body = await asyncio.to_thread(_ask, port, "/status.json")
    assert status == 200
    told: dict[str, Any] = json.loads(body)
    return told


async def _wait_status(port: int, wanted: str) -> dict[str, Any]:
    async def is_there() -> bool:
        status, _, body = await asyncio.to_thread(_ask, port, "/status.json")  # 503 before the first copy is made
        return status == 200 and bool(json.loads(body)["status"] == wanted)

    await wait_until(is_there, f"a page that says {wanted}")
    return await _read(port)


async def test_the_page_follows_an_incident_and_a_persons_words(enter_booth: EnterBooth) -> None:
    """Operational, disrupted, identified with a person's words and ETA within two seconds, then over: on both listeners."""
    port = free_port()
    booth = await enter_booth(
        status_listen=f"127.0.0.1:{port}",
        rules={"errors": RULES.replace(", pod", "").replace(" on {{ pod }}", ""), "services": CATALOGUE},
    )
    booth.show(checkout=0.0, search=0.0, ledger=0.3)
    await booth.daemon.start()
    told = await _wait_status(port, "operational")
    assert {each["name"]: each["status"] for each in told["components"]} == {"checkout": "operational", "search": "operational"}
    assert told["incidents"] == []
    booth.show(checkout=0.1)
    told = await _wait_status(port, "disrupted")
    assert {each["name"]: each["status"] for each in told["components"]} == {"checkout": "disrupted", "search": "operational"}
    incident = await booth.daemon.wait_incident("checkout")
    body = json.dumps(
        {"by": "Ann Example", "message": "A full queue on db7.internal is being emptied.", "state": "identified", "eta": "10m"}
    )
    await _update(booth.daemon.port, incident["id"], body)

    async def is_identified() -> bool:
        return bool((await _read(booth.daemon.port))["incidents"][0]["state"] == "identified")

    await wait_until(is_identified, "the page with the person's words", seconds=2.0 + HELD_UP_SECONDS)
    (public,) = (await _read(booth.daemon.port))["incidents"]
    assert public["eta"] == "10m"
    assert public["updates"][0]["text"] == "A full queue on (removed) is being emptied. ETA 10m."
    booth.show(checkout=0.0)
    told = await _wait_status(port, "operational")
    assert (told["incidents"][0]["state"], told["incidents"][0]["resolved"] is None) == ("resolved", False)
    page = (await asyncio.to_thread(_ask, port, "/"))[2].decode()
    for inside in ("Ann", "db7", "ledger", "errors", "error_rate", "0.1"):
        assert inside not in page
    feed = ET.fromstring((await asyncio.to_thread(_ask, port, "/status.atom"))[2])  # noqa: S314 - our own
    assert [entry.findtext("{*}title") for entry in feed.findall("{*}entry")] == ["checkout disrupted (resolved)"]


async def _update(port: int, incident: str, body: str) -> None:
    def post() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", f"/api/v1/incidents/{incident}/update", body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(post) == 200


async def test_the_own_listener_shows_the_page_and_nothing_else(enter_booth: EnterBooth) -> None:
    """No metrics, API or reload there; a policy that runs no script; an answer that did not change is 304 without a body."""
    port = free_port()
    booth = await enter_booth(status_listen=f"127.0.0.1:{port}")
    booth.show(checkout=0.0)
    await booth.daemon.start()
    for path in ("/metrics", "/-/healthy", "/api/v1/incidents", "/webhooks/pagerduty", "/x"):
        assert request(port, "GET", path)[0] == 404
    assert request(port, "POST", "/status", b"{}")[0] == 405
    for path in ("/", "/status"):
        status, headers, body = _ask(port, path)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<script" not in body
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert headers["cache-control"].startswith("public, max-age=5")
    tag = _ask(port, "/status")[1]["etag"]
    status, again, body = _ask(port, "/status", If_None_Match=tag)
    assert (status, body, again["etag"]) == (304, b"", tag)
    packed = _ask(port, "/status", Accept_Encoding="gzip")
    assert packed[1]["content-encoding"] == "gzip"


async def test_without_the_setting_there_is_no_second_listener(enter_booth: EnterBooth) -> None:
    """The page stands under /status on the main one, and needs no read token; an address in use is told with its setting."""
    booth = await enter_booth(read_token="token-1234")
    booth.show(checkout=0.0)
    await booth.daemon.start()
    assert request(booth.daemon.port, "GET", "/status")[0] == 200
    assert request(booth.daemon.port, "GET", "/api/v1/incidents")[0] == 401
    other = await enter_booth(status_listen=f"127.0.0.1:{booth.daemon.port}")
    code, log = await other.daemon.run_to_end()
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{booth.daemon.port}: Address already in use; set DETECTOR_STATUS_LISTEN" in log


async def test_a_crowd_of_customers_delays_no_page(enter_booth: EnterBooth) -> None:
    """Hundreds ask again and again while a service breaks: answers are made once a second, and the page leaves in time."""
    port = free_port()
    booth = await enter_booth(status_listen=f"127.0.0.1:{port}")
    booth.show(checkout=0.0)
    await booth.daemon.start()
    await _wait_status(port, "operational")
    answers: list[int] = []
    over = asyncio.Event()

    async def crowd() -> None:
        while not over.is_set():
            status, _, _ = await asyncio.to_thread(_ask, port, "/status")
            answers.append(status)

    customers = [asyncio.create_task(crowd()) for _ in range(8)]
    try:
        await wait_until(lambda: len(answers) > CUSTOMERS, "a crowd")
        booth.show(checkout=0.1)
        await booth.wait_open(1)
        incident = await booth.daemon.wait_incident("checkout")
        arrived = booth.pagerduty.requests[0].at
    finally:
        over.set()
        await asyncio.gather(*customers)
    assert arrived - incident["detected"] < PAGE_SECONDS
    assert set(answers) <= {200, 429}
    assert answers.count(200) >= CUSTOMERS
