"""Roads beside PagerDuty, by the real daemon: channels that hang delay no page, and a page that fails goes another way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from detector.standin.server import Server
from detector.standin.webhook import Receiver
from tests.kit.badprometheus import unavailable
from tests.kit.faultproxy import BlackHole, FaultProxy
from tests.kit.port import free_port
from tests.kit.standin import fail
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kit.house import EnterBooth

PAGE_SECONDS = 2.0  # from the decision to PagerDuty's 202, on a crowded machine; what hangs, hangs for 5 s and more


@pytest.fixture
async def black_hole() -> AsyncIterator[FaultProxy]:
    """A port that accepts connections and never says a word."""
    async with FaultProxy(1) as proxy:
        await proxy.switch(BlackHole())
        yield proxy


class Switch:
    """A dead-man's switch: counts the signs of life."""

    def __init__(self) -> None:
        self.count = 0
        app = web.Application()
        app.router.add_get("/ping", self._beat)
        self.server = Server(app, 0)

    async def _beat(self, _http: web.Request) -> web.Response:
        self.count += 1
        return web.Response(text="OK")


async def test_channels_that_hang_delay_no_page(enter_booth: EnterBooth, black_hole: FaultProxy) -> None:
    """Slack, mail, MQTT and webhook accept connections and are silent: page and resolve reach PagerDuty all the same."""
    booth = await enter_booth(
        slack__token="xoxb-1",
        slack__channel="C0123456789",
        slack__api_url=black_hole.url,
        email__host="127.0.0.1",
        email__port=str(black_hole.port),
        email__sender="detector@example.org",
        email__on_call=json.dumps(["on-call@example.org"]),
        mqtt__host="127.0.0.1",
        mqtt__port=str(black_hole.port),
        webhook__url=black_hole.url,
    )
    await booth.daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    await wait_until(lambda: black_hole.connections > 0, "a channel that tries")
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    taken = await booth.daemon.metric("detector_notification_latency_seconds_count", channel="pagerduty")
    seconds = await booth.daemon.metric("detector_notification_latency_seconds_sum", channel="pagerduty")
    assert taken == 2
    assert seconds / taken < PAGE_SECONDS
    assert await booth.daemon.metric("detector_notifications_total", outcome="accepted") == 2
    await booth.daemon.wait_metric("detector_outbox_depth", 1, channel="slack")


async def test_a_page_that_fails_goes_another_way_and_the_heartbeat_stops(enter_booth: EnterBooth) -> None:
    """PagerDuty answers 500: the fallback gets the page, the switch no sign of life; all is well again when it answers."""
    switch = Switch()
    async with Receiver() as receiver, switch.server:
        booth = await enter_booth(
            webhook__url=receiver.url,
            fallback=json.dumps(["webhook"]),
            fallback_after="1s",
            heartbeat_url=f"{switch.server.url}/ping",
            heartbeat_every="1s",
        )
        booth.pagerduty.play(fail(500, requests=None))
        booth.show(checkout=0.0)
        await booth.daemon.start()
        await wait_until(lambda: switch.count > 0, "a sign of life while all is well")
        booth.show(checkout=0.1)

        def find_fallback() -> list[str]:
            incidents = [event["incident"] for event in receiver.events]
            return [incident["message"] for incident in incidents if incident.get("fallback_for") == "pagerduty"]

        await wait_until(lambda: bool(find_fallback()), "the page by the other road")
        (message,) = find_fallback()
        assert message.startswith("pagerduty could not be reached (PagerDuty answered 500)")
        await booth.daemon.wait_line("what=heartbeat", "withheld: pagerduty does not take its notices")
        silent = switch.count
        booth.pagerduty.script.clear()
        await booth.wait_open(1)
        await booth.daemon.wait_line("heartbeat sent again")
        await wait_until(lambda: switch.count > silent, "a sign of life again")
        assert len(find_fallback()) == 1


async def test_the_heartbeat_stops_while_blind_and_not_for_a_dead_broker(enter_booth: EnterBooth) -> None:
    """A broker that nobody reaches wakes nobody: the sign of life goes on. While every query fails it does not."""
    switch = Switch()
    async with switch.server:
        booth = await enter_booth(
            mqtt__host="127.0.0.1",
            mqtt__port=str(free_port()),
            heartbeat_url=f"{switch.server.url}/ping",
            heartbeat_every="500ms",
            blind_after="3s",
        )
        booth.show(checkout=0.1)
        await booth.daemon.start()
        await booth.wait_open(1)

        async def is_waiting() -> bool:
            return await booth.daemon.metric("detector_outbox_depth", channel="mqtt") >= 1

        await wait_until(is_waiting, "a notice that waits for the broker")
        counted = switch.count
        await wait_until(lambda: switch.count >= counted + 4, "signs of life with a dead broker")
        booth.source.answer = unavailable()
        await booth.daemon.wait_line("what=heartbeat", "withheld: ")
        silent = switch.count
        booth.show(checkout=0.0)
        await booth.daemon.wait_line("heartbeat sent again")
        await wait_until(lambda: switch.count > silent, "a sign of life again")
