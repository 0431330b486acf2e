"""Answers of PagerDuty whose consequence takes a minute: hangs after accepting, and everything that is no 202."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.standin.webhook import Receiver
from tests.kit.standin import Reply, Step, html_200, redirect_302
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


async def test_pagerduty_hangs_after_accepting(enter_booth: EnterBooth) -> None:
    """The page takes effect, the answer never comes: sent again under the same key after the deadline, one alert, order kept."""
    booth = await enter_booth()
    booth.pagerduty.play(Step(reply=Reply(end="hang", applied=True)))
    booth.show(checkout=0.1)
    await booth.daemon.start()
    await booth.wait_open(1)
    await wait_until(lambda: booth.count_sent("trigger") >= 2, "the trigger sent again", seconds=90)
    booth.pagerduty.play(Step(reply=Reply(end="hang", applied=True), action="resolve"))
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await wait_until(lambda: booth.count_sent("resolve") >= 2, "the resolve sent again", seconds=90)
    actions = [str((request.event or {}).get("event_action")) for request in booth.pagerduty.requests]
    assert actions == sorted(actions, reverse=True), f"a trigger after a resolve: {actions}"
    await booth.check_oracle()


NO_SUCCESS: dict[str, Reply] = {
    "unauthorized": Reply(status=401),
    "forbidden": Reply(status=403),
    "absent": Reply(status=404),
    "moved": redirect_302("http://127.0.0.1:9/"),
    "login": html_200(),
}


async def test_an_answer_that_is_no_202_is_no_success(enter_booth: EnterBooth) -> None:
    """401, 403, 404, 302, HTML with 200: each page goes the other road at once, none counts as sent, all arrive in the end."""
    async with Receiver() as receiver:
        booth = await enter_booth(webhook__url=receiver.url, fallback='["webhook"]', fallback_after="1h")
        booth.show(calm=0.0)
        await booth.daemon.start()

        def count_fallbacks() -> int:
            return sum(event["incident"].get("fallback_for") == "pagerduty" for event in receiver.events)

        for number, (service, reply) in enumerate(NO_SUCCESS.items(), start=1):
            booth.pagerduty.script.clear()
            booth.pagerduty.play(Step(reply=reply, requests=None))
            booth.show(**{service: 0.1})
            await wait_until(lambda number=number: count_fallbacks() == number, f"the other road for {service}", seconds=60)  # type: ignore[misc]  # a default binds it
        assert not booth.pagerduty.alerts()
        assert await booth.daemon.metric("detector_notifications_total", channel="pagerduty", outcome="accepted") == 0
        booth.pagerduty.script.clear()
        await booth.wait_open(len(NO_SUCCESS), seconds=150)
        await booth.check_oracle()
