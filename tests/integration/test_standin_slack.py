"""The Slack and webhook stand-ins hold what they promise: without that, the channels' contract tests would show nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from detector.standin.block import find_fault, find_mentions
from detector.standin.script import Reply, Step
from detector.standin.slack import Slack, refuse
from detector.standin.webhook import Receiver
from detector.transport.signature import sign_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "xoxb-token"
ROOM = "C0INCIDENTS"
TAG = {"event_type": "note", "event_payload": {"id": "1"}}


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    """A workspace without a rate limit."""
    async with Slack({"incidents": ROOM}, token=TOKEN, posts_per_second=None, now=lambda: 1000.0) as served:
        yield served


async def call(slack: Slack, method: str, token: str = TOKEN, **arguments: Any) -> dict[str, Any]:
    """One call as a client makes it; the status and headers under names of their own."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{slack.api_url}/{method}", json=arguments) as answer,
    ):
        body: dict[str, Any] = await answer.json()
        return body | {"status": answer.status, "retry_after": answer.headers.get("Retry-After")}


def section(text: str, **more: Any) -> dict[str, Any]:
    """A section block."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, **more}}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"text": "x"}, None),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": " "}, "no_text"),
        ({}, "no_text"),
        ({"blocks": [section("x" * 3000)]}, None),
        ({"blocks": [section("x" * 3001)]}, "invalid_blocks"),
        ({"blocks": [section("")]}, "invalid_blocks"),
        ({"blocks": [section("x")] * 50}, None),
        ({"blocks": [section("x")] * 51}, "invalid_blocks"),
        ({"blocks": [section("x" * 2999)] * 5}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}]}, None),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "marquee"}]}, "invalid_blocks"),
        ({"blocks": "x"}, "invalid_blocks_format"),
        ({"text": "x", "metadata": TAG}, None),
        ({"text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "a b", "event_payload": {}}}, "invalid_metadata_schema"),
        ({"text": "x", "metadata": {"event_type": "a", "event_payload": {"a": "x" * 16_000}}}, "metadata_too_large"),
    ],
)
def test_limits_of_content(arguments: dict[str, Any], fault: str | None) -> None:
    """At each documented limit, and one beyond it."""
    assert find_fault(arguments) == fault


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<!channel> <!here|here> <!everyone> <!subteam^S01>", ("<!channel>", "<!here|here>", "<!everyone>", "<!subteam^S01>")),
        ("hello <@U0AB12CD34>", ("<@U0AB12CD34>",)),
        ("&lt;!channel&gt; a@here.example <https://x.example|@here>", ()),
    ],
)
def test_live_mentions_are_seen(text: str, found: tuple[str, ...]) -> None:
    """Markup that would call somebody, and nothing that only looks like it."""
    assert find_mentions(text, ()) == found
    assert find_mentions("", [section(text, verbatim=True)]) == found


def test_plain_names_are_live_unless_verbatim() -> None:
    """A text object that is not verbatim, or a call with link_names, lets a plain @channel through."""
    assert find_mentions("", [section("@channel")]) == ("@channel",)
    assert find_mentions("", [section("@channel", verbatim=True)]) == ()
    assert find_mentions("@channel", (), parses_names=True) == ("@channel",)


async def test_errors_come_with_status_200_and_the_rate_limit_with_429() -> None:
    """As Slack answers; a second post within the second is refused with the seconds to wait."""
    moments = [1000.0]
    async with Slack({"incidents": ROOM}, token=TOKEN, now=lambda: moments[-1]) as slack:
        assert (await call(slack, "chat.postMessage", channel="#incidents", text="a"))["ok"]
        limited = await call(slack, "chat.postMessage", channel=ROOM, text="b")
        assert (limited["status"], limited["error"], limited["retry_after"]) == (429, "ratelimited", "1")
        moments.append(1001.0)
        assert (await call(slack, "chat.postMessage", channel=ROOM, text="b"))["ok"]
        for token, error in (("", "not_authed"), ("x", "invalid_auth")):
            answer = await call(slack, "auth.test", token)
            assert (answer["status"], answer["error"]) == (200, error)
        assert (await call(slack, "chat.dance"))["error"] == "unknown_method"
        assert (await call(slack, "chat.postMessage", channel="#x", text="a"))["error"] == "channel_not_found"
        assert (await call(slack, "chat.update", channel="incidents", ts="1", text="a"))["error"] == "channel_not_found"


async def test_threads_edits_and_deletions(slack: Slack) -> None:
    """Timestamps are unique; an edit keeps the metadata; a deleted message is gone for edits, threads and history."""
    posted = await call(slack, "chat.postMessage", channel=ROOM, text="one", metadata=TAG)
    reply = await call(slack, "chat.postMessage", channel=ROOM, text="two", thread_ts=posted["ts"])
    assert (reply["message"]["thread_ts"], reply["ts"] != posted["ts"]) == (posted["ts"], True)
    await call(slack, "chat.update", channel=ROOM, ts=posted["ts"], text="three")
    history = await call(slack, "conversations.history", channel=ROOM, include_all_metadata="1")
    assert [(each["text"], each["metadata"]) for each in history["messages"]] == [("three", TAG)]
    assert "metadata" not in (await call(slack, "conversations.history", channel=ROOM))["messages"][0]
    replies = await call(slack, "conversations.replies", channel=ROOM, ts=posted["ts"])
    assert [each["text"] for each in replies["messages"]] == ["three", "two"]
    slack.workspace.delete(ROOM, posted["ts"])
    assert (await call(slack, "chat.update", channel=ROOM, ts=posted["ts"], text="x"))["error"] == "message_not_found"
    assert (await call(slack, "conversations.replies", channel=ROOM, ts=posted["ts"]))["error"] == "thread_not_found"
    orphan = await call(slack, "chat.postMessage", channel=ROOM, text="four", thread_ts=posted["ts"])
    assert (orphan["ok"], "thread_ts" in orphan["message"]) == (True, False)


async def test_scopes_membership_and_script(slack: Slack) -> None:
    """A missing scope is named; a channel one is not in, or that is archived, takes nothing; a script answers first."""
    slack.scopes = frozenset({"chat:write"})
    answer = await call(slack, "conversations.history", channel=ROOM)
    assert (answer["error"], answer["needed"]) == ("missing_scope", "channels:history")
    slack.workspace.channels[ROOM].member = False
    assert (await call(slack, "chat.postMessage", channel=ROOM, text="a"))["error"] == "not_in_channel"
    slack.workspace.channels[ROOM].archived = True
    assert (await call(slack, "chat.postMessage", channel=ROOM, text="a"))["error"] == "is_archived"
    slack.play(refuse("fatal_error", method="chat.postMessage"))
    assert (await call(slack, "auth.test"))["ok"]
    assert (await call(slack, "chat.postMessage", channel=ROOM, text="a"))["error"] == "fatal_error"
    assert slack.messages == ()


async def test_another_process_can_look_and_script(slack: Slack) -> None:
    """GET /messages shows what stands; POST /script scripts it and DELETE /script ends that."""
    async with aiohttp.ClientSession(slack.url) as session:
        await session.post("/script", json=[{"reply": {"status": 503}, "requests": None}])
        assert (await session.post("/api/auth.test")).status == 503
        await session.delete("/script")
        assert (await session.post("/script", json=[{"state": 1}])).status == 400
        await call(slack, "chat.postMessage", channel=ROOM, text="a")
        (shown,) = await (await session.get("/messages")).json()
        assert (shown["text"], shown["channel"]) == ("a", ROOM)


async def test_the_receiver_of_webhooks_refuses_what_a_careful_one_should() -> None:
    """Bad signature 401, wrong path 404, no notice 422; a replay is accepted, recorded and changes nothing."""
    body = b'{"schema":"detector.notice","version":1,"id":"n1","kind":"trigger","incident":{}}'
    good = {"X-Detector-Signature": sign_body(b"s", body), "X-Detector-Event-Id": "n1", "Content-Type": "application/json"}
    other = {**good, "X-Detector-Event-Id": "n2"}
    async with Receiver(secrets=("s",)) as receiver, aiohttp.ClientSession() as session:
        receiver.play(Step(reply=Reply(status=500)))
        statuses = []
        for url, headers, sent in (
            (receiver.url, good, body),
            (receiver.url, good, body + b" "),
            (f"{receiver.url}x", good, body),
            (receiver.url, other, body),
            (receiver.url, good, body),
            (receiver.url, good, body),
        ):
            async with session.post(url, headers=headers, data=sent) as answer:
                statuses.append(answer.status)
    assert statuses == [500, 401, 404, 422, 204, 204]
    assert (len(receiver.events), receiver.replays) == (1, ("n1",))
