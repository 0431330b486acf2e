"""Everyone beside PagerDuty who may hear of an incident, on free ports: Slack, mail, MQTT, webhook, Statuspage.

Enter it and all run; `settings` are what a `Booth` or `Household` needs to reach them.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from detector.standin.slack import Slack
from detector.standin.statuspage import Statuspage
from detector.standin.webhook import Receiver
from tests.kit.listener import Listener
from tests.kit.mailserver import MailServer
from tests.kit.mosquitto import Mosquitto

if TYPE_CHECKING:
    from pathlib import Path

ON_CALL, STAKEHOLDERS, SENDER = "on-call@example.org", "stakeholders@example.org", "detector@example.org"
SLACK_TOKEN, PAGE_TOKEN, HOOK_SECRET = "xoxb-secret-1234", "page-token-1234", "hook-secret-1234"
PAGE = "page00000001"


class Audience:
    """`slack_per_second` None: Slack takes any number of posts, so that a story is told in the order it happened."""

    def __init__(self, folder: Path, *, slack_per_second: float | None = None) -> None:
        self.slack = Slack({"incidents": "C0000000001"}, token=SLACK_TOKEN, posts_per_second=slack_per_second)
        self.mail = MailServer()
        self.broker = Mosquitto(folder / "mosquitto")
        self.listener = Listener(self.broker.port)
        self.receiver = Receiver(secrets=(HOOK_SECRET,))
        self.statuspage = Statuspage(PAGE, PAGE_TOKEN, {"checkout": "comp00000001"})
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for part in (self.slack, self.mail, self.receiver, self.statuspage):
            await self._parts.enter_async_context(part)
        self._parts.enter_context(self.broker)
        await self._parts.enter_async_context(self.listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.broker.process.thaw()
        await self._parts.aclose()

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the daemon, names without DETECTOR_ in lower case."""
        return {
            "slack__token": SLACK_TOKEN,
            "slack__channel": "#incidents",
            "slack__api_url": self.slack.api_url,
            "email__host": "127.0.0.1",
            "email__port": str(self.mail.port),
            "email__sender": SENDER,
            "email__on_call": json.dumps([ON_CALL]),
            "email__stakeholders": json.dumps([STAKEHOLDERS]),
            "mqtt__host": "127.0.0.1",
            "mqtt__port": str(self.broker.port),
            "webhook__url": self.receiver.url,
            "webhook__secret": HOOK_SECRET,
            "statuspage__api_url": self.statuspage.api_url,
            "statuspage__page_id": PAGE,
            "statuspage__token": PAGE_TOKEN,
        }
