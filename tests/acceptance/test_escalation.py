"""An incident that PagerDuty does not own: one responder more is called each `escalate_after`, in Slack and by mail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.kit.audience import ON_CALL, STAKEHOLDERS, Audience
from tests.kit.rule import PLAIN_RULES
from tests.kit.standin import fail
from tests.kit.wait import wait_until
from tests.kit.web import request_json

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

RULES = f"""\
services:
  checkout: {{responders: {{service_owner: Olu, on_call_engineer: Erin, on_call_manager: U0MO12345}}}}
{PLAIN_RULES}    severity: {{high: "true"}}
"""


async def test_without_pagerduty_one_responder_more_is_called_until_somebody_has_it(
    enter_booth: EnterBooth, audience: Audience
) -> None:
    """The engineer, then the manager; an acknowledgement ends it before the owner. Stakeholders hear after `customer_delay`."""
    settings = {"pagerduty__routing_keys": "{}", "escalate_after": "4s", "customer_delay": "2s"}
    booth = await enter_booth(rules={"shop": RULES}, **audience.settings, **settings)
    booth.show(checkout=0.2)
    await booth.daemon.start()

    def list_calls() -> list[str]:
        texts = [str(call.arguments.get("text", "")) for call in audience.slack.calls if call.method == "chat.postMessage"]
        return [text.partition(": service")[0] for text in texts if "nobody acknowledged for" in text]

    def list_subjects(recipient: str) -> list[str]:
        return [str(mail.message["Subject"]) for mail in audience.mail.mails if recipient in mail.recipients]

    incident = await booth.daemon.wait_incident("checkout")  # before the calls: the API is imported at its first request
    await wait_until(lambda: len(list_calls()) == 2, "two responders are called")
    acknowledge = f"/api/v1/incidents/{incident['id']}/acknowledge"
    await asyncio.to_thread(request_json, booth.daemon.port, "POST", acknowledge, {"by": "erin", "text": "on my way"})
    assert list_calls() == ["Erin", "Erin <@U0MO12345>"]
    await asyncio.sleep(5.0)  # the third was due within four seconds
    assert len(list_calls()) == 2
    assert sum("Nobody has acknowledged" in subject for subject in list_subjects(ON_CALL)) == 2
    assert list_subjects(STAKEHOLDERS) == ["checkout disrupted, investigating"]
    events = await booth.daemon.timeline(incident["id"])
    assert [event["kind"] for event in events].count("escalated") == 2
    assert "acknowledged: on my way" in [event["message"] for event in events]
    assert booth.pagerduty.requests == []


async def test_where_pagerduty_refuses_the_page_our_own_channels_call(enter_booth: EnterBooth, audience: Audience) -> None:
    """The fallback hears at once, the ticket and the thread say that nobody was paged, and the engineer is called."""
    booth = await enter_booth(rules={"shop": RULES}, **audience.settings, escalate_after="2s")
    booth.pagerduty.play(fail(403))
    booth.show(checkout=0.2)
    await booth.daemon.start()

    def find_reply(words: str) -> str:
        texts = [str(call.arguments.get("text", "")) for call in audience.slack.calls if call.method == "chat.postMessage"]
        return next((text for text in texts if words in text), "")

    await wait_until(lambda: bool(find_reply("nobody acknowledged for")), "the engineer is called")
    assert find_reply("nobody acknowledged for").startswith("Erin: ")
    incident = await booth.daemon.wait_incident("checkout")
    (said,) = [event["message"] for event in await booth.daemon.timeline(incident["id"]) if event["kind"] == "not paged"]
    assert said.startswith("PagerDuty has not taken the page (PagerDuty answered 403")
    assert said.endswith("told instead: email")
    assert said in find_reply("has not taken the page")
