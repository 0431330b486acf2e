"""What people do in PagerDuty reaches the running daemon: by signed webhook, and by asking where nobody can reach the daemon."""

import asyncio
import hashlib
import hmac
import json
import sqlite3
import time
from typing import Any

from tests.kit.house import Booth, EnterBooth
from tests.kit.secret import assert_no_secret
from tests.kit.wait import wait_until

SECRET = "webhook-secret-1234"
TOKEN = "rest-token"


async def _open(booth: Booth, **values: float) -> str:
    """Start, break the service, wait for the page; its key."""
    await booth.daemon.start()
    booth.show(**(values or {"checkout": 0.1}))
    await booth.wait_open(len(values) or 1)
    return booth.pagerduty.alerts()[0].dedup_key


def _listen(booth: Booth) -> Any:
    return booth.pagerduty.subscribe(f"http://127.0.0.1:{booth.daemon.port}/webhooks/pagerduty", SECRET)


async def test_an_acknowledgement_in_pagerduty_is_the_incidents_within_a_second_and_not_echoed(enter_booth: EnterBooth) -> None:
    """By webhook: acknowledged by that person, nothing is sent back, and a note of theirs is in the timeline."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET)
    key = await _open(booth)
    _listen(booth)
    await booth.daemon.incidents()  # the API is imported at its first request
    begun = time.time()
    booth.pagerduty.acknowledge(key)
    incident = await booth.daemon.wait_incident("checkout", "acknowledged")
    assert 0.0 <= incident["acknowledged"] - begun < 1.0
    assert incident["acknowledged_by"] == "Erin Engineer (PagerDuty)"
    booth.pagerduty.annotate(key, "looking at the database")

    async def is_noted() -> bool:
        lines = await booth.daemon.timeline(incident["id"])
        return any(line["kind"] == "note" and line["message"] == "looking at the database" for line in lines)

    # a note names PagerDuty's incident only; without a token its key is known from the acknowledgement
    await wait_until(is_noted, "the note in the timeline")
    assert booth.count_sent("acknowledge") == 0
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    assert not booth.pagerduty.drops()
    assert_no_secret([SECRET], booth.daemon.read())


async def test_a_resolve_in_pagerduty_while_it_fires_is_flagged(enter_booth: EnterBooth) -> None:
    """The incident ends, says that metrics are still bad, and by whom; our own resolves that come back change nothing."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET)
    key = await _open(booth)
    _listen(booth)
    booth.pagerduty.resolve(key)
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    (line,) = [line for line in await booth.daemon.timeline(incident["id"]) if line["kind"] == "resolved"]
    assert (line["actor"], line["message"]) == ("Erin Engineer (PagerDuty)", "resolved by hand while metrics are still bad")
    assert incident["end_reason"] == "resolved by hand"
    booth.show(search=0.5)
    other = await booth.daemon.wait_incident("search")
    code, _, err = await booth.daemon.run("incidents", "resolve", other["id"], "--by", "ann")
    assert (code, err) == (0, "its metrics are still bad: what still fires in 15 min pages once more\n")


async def test_the_echo_of_our_own_resolve_changes_nothing(enter_booth: EnterBooth) -> None:
    """A verified recovery resolves; PagerDuty tells us so, and the timeline has one resolve, ours."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET)
    await _open(booth)
    subscription = _listen(booth)
    booth.show(checkout=0.0)
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    await wait_until(lambda: 202 in subscription.answers, "the echo was answered")
    lines = [line for line in await booth.daemon.timeline(incident["id"]) if line["kind"] == "resolved"]
    assert [line["actor"] for line in lines] == ["detector"]


def _sign(body: bytes, secret: str = SECRET) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _post(
    port: int, body: bytes, signature: str, identity: str = "event-1", *, pause_seconds: float = 0.0
) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /webhooks/pagerduty HTTP/1.1\r\nHost: hooks.example.org\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nX-PagerDuty-Signature: {signature}\r\nX-Webhook-Id: {identity}\r\n\r\n"
    writer.write(head.encode())
    if pause_seconds:
        await asyncio.sleep(pause_seconds)
    writer.write(body)
    answer = await reader.read()
    writer.close()
    head_text, _, content = answer.partition(b"\r\n\r\n")
    return int(head_text.split()[1]), content


def _event(key: str, identity: str, kind: str = "incident.acknowledged", **data: Any) -> bytes:
    whole = {"id": "PINC0001", "type": "incident", "incident_key": key, "status": kind.removeprefix("incident."), **data}
    agent = {"id": "P1", "type": "user_reference", "summary": "Ann"}
    return json.dumps({"event": {"id": identity, "event_type": kind, "agent": agent, "data": whole}}).encode()


async def test_webhooks_that_are_wrong_late_or_repeated(enter_booth: EnterBooth) -> None:
    """Bad and old signatures 403, several with one right accepted once, replay known, 300 KB 413, slow sender 408."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET)
    key = await _open(booth)
    port = booth.daemon.port
    body = _event(key, "event-1")
    for wrong in ("", "v1=00", _sign(body, "old-secret-567890"), _sign(body + b" ")):
        assert (await _post(port, body, wrong))[0] == 403
    assert (await booth.daemon.wait_incident("checkout"))["status"] == "open"
    assert (await _post(port, body, f"{_sign(body, 'other')},{_sign(body)}"))[0] == 202
    incident = await booth.daemon.wait_incident("checkout", "acknowledged")
    before = await booth.daemon.timeline(incident["id"])
    assert (await _post(port, body, _sign(body)))[0] == 200
    again = _event(key, "event-2")  # the same said anew is no replay, and changes nothing either
    assert (await _post(port, again, _sign(again), "event-2"))[0] == 202
    assert await booth.daemon.timeline(incident["id"]) == before
    large = b"[" + b" " * 300_000 + b"]"
    assert (await _post(port, large, _sign(large), "event-3"))[0] == 413
    assert (await _post(port, body, _sign(body), "event-4", pause_seconds=3.0))[0] == 408
    merged = _event(key, "event-5", "incident.resolved", resolve_reason={"type": "merge_resolve_reason"})
    assert (await _post(port, merged, _sign(merged), "event-5"))[0] == 202
    for strange in (b"{}", b"[1]", b"\xff", b'{"event": {"event_type": "pagey.ping", "data": {"message": "hi", "type": "ping"}}}'):
        assert (await _post(port, strange, _sign(strange), "event-6"))[0] in {200, 202}
    assert (await booth.daemon.wait_incident("checkout", "acknowledged"))["id"] == incident["id"]
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_without_a_secret_webhooks_are_off(enter_booth: EnterBooth) -> None:
    """404, and the line says which setting would switch them on."""
    booth = await enter_booth()
    await booth.daemon.start()
    status, content = await _post(booth.daemon.port, b"{}", "v1=00")
    assert status == 404
    assert "DETECTOR_PAGERDUTY__WEBHOOK_SECRET" in json.loads(content)["detail"]


async def test_a_database_that_does_not_answer_is_said_as_503_and_heard_again(enter_booth: EnterBooth) -> None:
    """Another process holds the database: 503, never a 4xx; PagerDuty's next try is taken when it is free again."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET)
    key = await _open(booth)
    lock = sqlite3.connect(booth.daemon.folder / "state" / "detector.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    body = _event(key, "event-1")
    try:
        begun = time.monotonic()
        status, _ = await _post(booth.daemon.port, body, _sign(body))
        assert status == 503
        assert time.monotonic() - begun < 5.0
    finally:
        lock.execute("ROLLBACK")
        lock.close()

    async def is_taken() -> bool:
        return (await _post(booth.daemon.port, body, _sign(body)))[0] in {200, 202}

    await wait_until(is_taken, "the event was taken")
    await booth.daemon.wait_incident("checkout", "acknowledged")
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_grouped_alerts_are_told_apart_by_their_alert_keys(enter_booth: EnterBooth) -> None:
    """Two services, one PagerDuty incident: its acknowledgement is that of both; engineer and manager stand in both tickets."""
    booth = await enter_booth(pagerduty__webhook_secret=SECRET, pagerduty__api_token=TOKEN, pagerduty__rest_url="http://set.below")
    booth.daemon.settings["DETECTOR_PAGERDUTY__REST_URL"] = booth.pagerduty.url
    booth.pagerduty.account.grouping = True
    key = await _open(booth, checkout=0.1, search=0.1)
    assert len(booth.pagerduty.account.incidents) == 1
    _listen(booth)
    booth.pagerduty.acknowledge(key)
    for service in ("checkout", "search"):
        incident = await booth.daemon.wait_incident(service, "acknowledged")
        assert incident["acknowledged_by"] == "Erin Engineer (PagerDuty)"
    assert booth.count_sent("acknowledge") == 0
