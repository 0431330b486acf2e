"""One incident, told by everyone who heard of it: run with real parts, written as docs/incident-walkthrough.md.

`make walkthrough` writes the page anew; tests/acceptance/test_walkthrough.py holds it to a run, digits aside. A real Prometheus
scrapes the demo's shop; the real daemon pages PagerDuty's stand-in and tells those of Slack, Statuspage and a webhook, a real
mosquitto and a real SMTP server. Durations are seconds where the shipped ones are minutes.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.audience import ON_CALL, Audience
from tests.kit.house import Household
from tests.kit.standin import Service
from tests.kit.wait import PATIENCE_SECONDS, wait_until
from tests.kit.web import request_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "incident-walkthrough.md"
WEBHOOK_SECRET = "walkthrough-secret"
SERVICE = "checkout"
WATCH_SECONDS, QUIET_SECONDS = 20.0, 2.0
RULES = f"""\
services:
  {SERVICE}: {{owner: payments, runbook: "https://wiki.example/{SERVICE}"}}
rules:
  - name: errors
    summary: "{{{{ service }}}} fails {{{{ error_rate | percent }}}} of its requests"
    by: [service]
    every: 1s
    window: 5s
    severity_window: 3s
    signals:
      error_rate:
        ratio:
          - sum by (service) (increase(http_requests_total{{code=~"5.."}}[$window]))
          - sum by (service) (increase(http_requests_total[$window]))
        min_total: 20
    open: error_rate > 0.01
    severity: {{high: error_rate > 0.05, medium: "true"}}
    recover_for: 3s
    watch: {WATCH_SECONDS:g}s
"""
INTRODUCTION = """\
# An incident, told by everyone who heard of it

Made by `make walkthrough`: one run of the demo's shop under a real Prometheus, with the real daemon. PagerDuty, Slack, Statuspage
and the webhook's receiver are the stand-ins that enforce the vendors' rules; MQTT is a real mosquitto, mail a real SMTP server.
Durations are seconds here (`recover_for: 3s`, `watch: 20s`) and minutes as shipped; times and ids differ from run to run, and a
test holds the rest. Who hears what, and why: [channels.md](channels.md#who-hears-what).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One message as its receiver got it."""

    channel: str
    text: str


@dataclass
class Walk:
    """The parts, and what each step brought."""

    house: Household
    audience: Audience
    steps: list[tuple[str, list[Row]]] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    async def step(self, title: str, is_done: Callable[[], object]) -> None:
        """Wait until that holds, nothing is left to send and nobody hears anything more; what was heard is the step's."""
        await wait_until(lambda: bool(is_done()), title)
        heard, since = -1, time.monotonic()

        async def is_quiet() -> bool:
            nonlocal heard, since
            count = sum(len(rows) for rows in self._list_all().values())
            if count != heard or await self.house.daemon.metric("detector_outbox_depth"):
                heard, since = count, time.monotonic()
            return time.monotonic() - since >= QUIET_SECONDS

        await wait_until(is_quiet, "nobody hears anything more")
        rows = []
        for channel, found in self._list_all().items():
            rows += [Row(channel, text) for text in found[self._seen.get(channel, 0) :]]
            self._seen[channel] = len(found)
        self.steps.append((title, rows))

    def _list_all(self) -> dict[str, list[str]]:
        audience = self.audience
        mails = [(mail.recipients[0] == ON_CALL, str(mail.message["Subject"])) for mail in audience.mail.mails]
        return {
            "PagerDuty": [_word_event(request.event or {}) for request in self.house.pagerduty.requests if request.event],
            "Slack": [_word_call(call.method, call.arguments) for call in audience.slack.calls if call.method.startswith("chat.")],
            "mail, on call": [subject for internal, subject in mails if internal],
            "mail, stakeholders": [subject for internal, subject in mails if not internal],
            "Statuspage": [
                _word_public(call.body["incident"])
                for call in audience.statuspage.calls
                if call.method != "GET" and call.body.get("incident")
            ],
            "MQTT": [_word_retained(payload) for topic, payload in audience.listener.seen if "/incidents/" in topic],
            "webhook": [_word_notice(event) for event in audience.receiver.events],
        }


async def walk(folder: Path) -> list[tuple[str, list[Row]]]:
    """Play the story; its steps, each with the messages it brought, by channel in the order they came."""
    async with Audience(folder) as audience:
        house = Household(
            folder,
            {"rules": RULES},
            (Service(SERVICE, rate=200.0),),
            past_seconds=30.0,
            pagerduty__webhook_secret=WEBHOOK_SECRET,
            external_url="https://detector.example",
            update_every="10m",
            **audience.settings,  # type: ignore[arg-type]  # none is named routing_keys
        )
        async with house:
            told = Walk(house, audience)
            await _play(told)
            return told.steps


async def _play(told: Walk) -> None:
    house, daemon = told.house, told.house.daemon
    house.pagerduty.subscribe(f"http://127.0.0.1:{daemon.port}/webhooks/pagerduty", WEBHOOK_SECRET)

    def count(action: str) -> int:
        return sum((each.event or {}).get("event_action") == action for each in house.pagerduty.requests)

    def count_diagnoses() -> int:
        return sum("diagnosis" in str(each["incident"].get("message")) for each in told.audience.receiver.events)

    house.flip(SERVICE, error_ratio=0.03)
    await told.step("3 % of the requests fail", lambda: count("trigger") == 1 and count_diagnoses() == 1)
    house.flip(SERVICE, error_ratio=0.2)
    await told.step("20 % fail: the severity rises to HIGH, which customers notice", lambda: count("trigger") == 2)
    first, second = house.pagerduty.alerts()
    for alert in (first, second):
        house.pagerduty.acknowledge(alert.dedup_key)
    incident = await daemon.wait_incident(SERVICE, "acknowledged")
    await told.step("Somebody acknowledges in PagerDuty", lambda: True)
    words = {"by": "ann", "message": "The new basket is being switched off.", "eta": "10 min", "state": "identified"}
    await asyncio.to_thread(request_json, daemon.port, "POST", f"/api/v1/incidents/{incident['id']}/update", words)
    await told.step("`detector incidents update` tells where the work stands", lambda: True)
    house.heal(SERVICE)
    await told.step("The errors stop, and recovery is verified", lambda: count("resolve") == 2)
    house.flip(SERVICE, error_ratio=0.03)
    await told.step("3 % fail again within the watch: the same incident", lambda: count("trigger") == 3 and count_diagnoses() == 2)
    house.heal(SERVICE)
    await told.step("The errors stop again", lambda: count("resolve") == 3)
    await daemon.wait_incident(SERVICE, "closed", seconds=WATCH_SECONDS + PATIENCE_SECONDS)
    await told.step("The watch passes without a relapse", lambda: True)


def write_page(steps: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for number, (title, rows) in enumerate(steps, start=1):
        lines = [f"| {row.channel} | {_fit_cell(row.text)} |" for row in rows]
        parts.append("\n".join([f"## {number}. {title}", "", "| channel | message |", "| --- | --- |", *lines, ""]))
    return "\n".join(parts)


def mask(page: str) -> str:
    """The page without what differs from run to run: numbers, times and ids."""
    page = re.sub(r"\b[0-9a-f]{20}\b", "ID", page)
    page = re.sub(r"(?:\d+(?:\.\d+)?(?:ms|[hms]))+\b", "0s", page)
    return re.sub(r"\d+(?:[.:,-]\d+)*(?: ?%)?", "0", page)


def _word_event(event: Mapping[str, object]) -> str:
    payload = event.get("payload")
    key = str(event.get("dedup_key"))
    said = f" ({payload['severity']}): {payload['summary']}" if isinstance(payload, dict) and payload.get("summary") else ""
    return f"`{event['event_action']}` {key}{said}"


def _word_call(method: str, arguments: object) -> str:
    assert isinstance(arguments, dict)
    what = "edits its message" if method == "chat.update" else "replies in the thread" if arguments.get("thread_ts") else "posts"
    return f"{what}: {arguments.get('text', '')}"


def _word_public(incident: dict[str, object]) -> str:
    return f"{incident.get('status')}: {incident.get('body')}"


def _word_retained(payload: bytes) -> str:
    if not payload:
        return "(nothing is retained any more)"
    facts = json.loads(payload)
    return f"{facts['kind']}: status {facts['status']}, severity {facts['severity']}, state {facts.get('state', '')}"


def _word_notice(event: object) -> str:
    assert isinstance(event, dict)
    incident = event["incident"]
    return f"{event['kind']}: status {incident.get('status')}, severity {incident.get('severity')}, state {incident.get('state')}"


def _fit_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(write_page(asyncio.run(walk(Path(folder)))))
    sys.stdout.write(f"{PAGE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
