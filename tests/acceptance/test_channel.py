"""Channels beside PagerDuty in the running daemon: frozen ones cost no page any time, failing pages go to mail."""

from __future__ import annotations

import json
import statistics
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kit.audience import ON_CALL, Audience
from tests.kit.faultproxy import BlackHole, FaultProxy
from tests.kit.listener import read_retained
from tests.kit.standin import Reply, Step, fail
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.house import Booth, EnterBooth

PAGES, AT_ONCE = 24, 6
SLOWER_SECONDS = 2.0  # and twice as much on a machine whose load changes meanwhile; what is frozen would add five seconds and more


async def _measure(booth: Booth) -> list[float]:
    """Break services in groups; seconds from the decision to PagerDuty's stand-in, of each page."""
    for first in range(0, PAGES, AT_ONCE):
        booth.show(**{f"service-{number}": 0.1 for number in range(first, first + AT_ONCE)})
        await booth.wait_open(first + AT_ONCE)

    async def is_written() -> bool:
        return len(await booth.daemon.incidents()) == PAGES

    await wait_until(is_written, "what was paged is in the store")  # a page does not wait for a disk that is slow
    detected = {incident["id"]: incident["detected"] for incident in await booth.daemon.incidents()}
    arrived = {str((each.event or {}).get("dedup_key")).partition(":")[0]: each.at for each in reversed(booth.pagerduty.requests)}
    return sorted(arrived[identity] - at for identity, at in detected.items())


def _describe(seconds: list[float]) -> str:
    tenth = statistics.quantiles(seconds, n=10)
    return (
        f"n={len(seconds)} min={seconds[0]:.3f} median={statistics.median(seconds):.3f} p90={tenth[-1]:.3f} max={seconds[-1]:.3f} s"
    )


async def test_frozen_channels_leave_the_latency_of_pages_as_it_was(enter_booth: EnterBooth, audience: Audience) -> None:
    """Slack hangs, mail is a black hole, the broker is stopped (SIGSTOP): PagerDuty's distribution is that of a good day."""
    quiet = {"storm_threshold": "1000"}
    good = await enter_booth(**audience.settings, **quiet)
    await good.daemon.start()
    before = await _measure(good)
    await good.daemon.stop()
    async with FaultProxy(audience.mail.port) as proxy:
        await proxy.switch(BlackHole())
        audience.slack.play(Step(reply=Reply(end="hang"), requests=None))
        frozen = await enter_booth(**{**audience.settings, "email__port": str(proxy.port)}, **quiet)
        await frozen.daemon.start()
        audience.broker.freeze()
        after = await _measure(frozen)
        assert proxy.connections > 0
        assert await frozen.daemon.metric("detector_notifications_total", channel="slack", outcome="accepted") == 0
        audience.broker.thaw()
    sys.stdout.write(f"\nall well: {_describe(before)}\nfrozen:   {_describe(after)}\n")
    assert len(before) == len(after) == PAGES
    assert statistics.median(after) <= 2 * statistics.median(before) + SLOWER_SECONDS


async def test_a_refused_page_goes_to_mail_at_once(enter_booth: EnterBooth, audience: Audience) -> None:
    """400 for the whole event and for its least form: rejected, counted, and in the mail of those on call without any wait."""
    booth = await enter_booth(**audience.settings, fallback=json.dumps(["email"]), fallback_after="1h")
    booth.pagerduty.play(fail(400, requests=2))
    booth.show(checkout=0.1)
    await booth.daemon.start()

    def find() -> list[str]:
        texts = (mail.text for mail in audience.mail.mails if ON_CALL in mail.recipients)
        return [text for text in texts if "pagerduty could not be reached" in text]

    await wait_until(lambda: bool(find()), "the mail that stands for the page")
    assert len(booth.pagerduty.requests) == 2
    await booth.daemon.wait_metric("detector_notifications_total", 1, channel="pagerduty", outcome="rejected")


async def test_a_page_that_failed_for_long_goes_to_mail(enter_booth: EnterBooth, audience: Audience) -> None:
    """500 for longer than `fallback_after`: one mail to those on call, and the page itself as soon as PagerDuty answers."""
    booth = await enter_booth(**audience.settings, fallback=json.dumps(["email"]), fallback_after="2s")
    booth.pagerduty.play(fail(500, requests=None))
    booth.show(checkout=0.1)
    await booth.daemon.start()

    def find() -> list[str]:
        return [mail.text for mail in audience.mail.mails if "pagerduty could not be reached" in mail.text]

    await wait_until(lambda: bool(find()), "the mail that stands for the page")
    booth.pagerduty.script.clear()
    await booth.wait_open(1)
    assert len(find()) == 1


async def test_what_opened_and_ended_undelivered_is_told_in_slack_and_by_mail(enter_booth: EnterBooth, audience: Audience) -> None:
    """PagerDuty hangs on sixteen pages; a HIGH incident behind them opens and ends meanwhile: two other roads say so."""
    booth = await enter_booth(**audience.settings, fallback=json.dumps(["email"]), storm_threshold="1000")
    booth.pagerduty.play(Step(reply=Reply(end="hang"), requests=None))
    booth.show(**{f"service-{number:02}": 0.1 for number in range(16)})
    await booth.daemon.start()
    await wait_until(lambda: len(booth.pagerduty.requests) >= 16, "sixteen pages under way")
    for name in (f"late-{number}" for number in range(12)):  # the sixteen are cut after 10 s: on a slow machine one slips between
        booth.show(**{name: 0.1})
        incident = await booth.daemon.wait_incident(name)
        booth.show(**{name: 0.0})
        await booth.daemon.wait_incident(name, "resolved")
        if not any(str((each.event or {}).get("dedup_key")).startswith(incident["id"]) for each in booth.pagerduty.requests):
            break
    words = "opened and ended undelivered: nobody was paged through pagerduty"
    await wait_until(lambda: any(words in mail.text for mail in audience.mail.mails), "the mail")

    def is_shown() -> bool:
        return any(words in message.shown for message in audience.slack.messages)

    await wait_until(is_shown, "the line in Slack", seconds=90)  # one message a second, and some forty stand before it
    await booth.daemon.wait_metric("detector_notifications_total", 1, channel="pagerduty", outcome="collapsed")


async def test_the_broker_hears_of_the_daemon_before_any_incident(enter_booth: EnterBooth, audience: Audience) -> None:
    """Online at the start, open incidents at once after a restart of a broker that forgot, offline at the end."""
    booth = await enter_booth(**audience.settings)
    booth.show(checkout=0.0)
    await booth.daemon.start()
    await audience.listener.wait_for("status", b"online")
    booth.show(checkout=0.1)
    incident = await booth.daemon.wait_incident("checkout")
    await audience.listener.wait_incident(incident["id"])
    await booth.daemon.stop()
    await audience.listener.wait_for("status", b"offline")
    audience.broker.kill()
    audience.broker.start()
    await booth.daemon.start()

    async def is_told() -> bool:
        found = await read_retained(audience.broker.port)
        return {"detector/status", f"detector/incidents/{incident['id']}"} <= found.keys()

    await wait_until(is_told, "the open incident at a broker that had forgotten it")


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        (
            "mqtt__topic_prefix",
            "a/#",
            "DETECTOR_MQTT__TOPIC_PREFIX must be a topic such as detector or ops/detector, without + and #",
        ),
        (
            "templates",
            "{folder}/absent",
            "DETECTOR_TEMPLATES: {folder}/absent cannot be read as a directory: No such file or directory",
        ),
        (
            "templates",
            "{folder}/channel",
            "DETECTOR_TEMPLATES: {folder}/channel/pigeon is no channel's folder; there are slack, email,",
        ),
        (
            "templates",
            "{folder}/kind",
            "DETECTOR_TEMPLATES: {folder}/kind/slack/triger.j2 is no template of slack; there are headline.j2,",
        ),
        ("templates", "{folder}/syntax", "DETECTOR_TEMPLATES: {folder}/syntax/slack/trigger.j2:2: "),
    ],
)
async def test_wrong_settings_of_channels_are_one_line(
    enter_booth: EnterBooth, tmp_path: Path, setting: str, value: str, line: str
) -> None:
    """Exit code 2 and one line that says what is wrong and what there is."""
    for name, text in {"channel/pigeon/trigger": "x", "kind/slack/triger": "x", "syntax/slack/trigger": "a\n{{ }}"}.items():
        path = tmp_path / f"{name}.j2"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    settings = {"slack__token": "xoxb-1", "slack__channel": "C0000000001", "mqtt__host": "127.0.0.1"}
    booth = await enter_booth(**settings, **{setting: value.format(folder=tmp_path)})
    code, log = await booth.daemon.run_to_end()
    assert code == 2
    assert line.format(folder=tmp_path) in log
    assert len(log.strip().splitlines()) == 1


async def test_own_templates_speak_in_every_channel_that_has_them(
    enter_booth: EnterBooth, audience: Audience, tmp_path: Path
) -> None:
    """The text of the directory, not the shipped one, in Slack, in the mail to those on call and on Statuspage."""
    for name, text in {
        "slack/headline": "Ahoy {{ service }}",
        "email/trigger": "Ahoy {{ service }}\nbody",
        "statuspage/name": "Ahoy",
    }.items():
        path = tmp_path / "templates" / f"{name}.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    booth = await enter_booth(**audience.settings, templates=str(tmp_path / "templates"))
    booth.show(checkout=0.1)
    await booth.daemon.start()
    await wait_until(lambda: bool(audience.statuspage.incidents), "Statuspage")
    assert audience.statuspage.incidents[0].name == "Ahoy"
    await wait_until(lambda: any("Ahoy checkout" in message.shown for message in audience.slack.messages), "Slack")
    await wait_until(lambda: any(mail.message["Subject"] == "Ahoy checkout" for mail in audience.mail.mails), "mail")
