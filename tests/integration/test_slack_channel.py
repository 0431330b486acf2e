"""The Slack channel against the workspace that enforces the documented rules, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.standin.script import Reply, Step, html_200, redirect_302
from detector.standin.slack import SCOPES, Slack, refuse
from detector.transport.exchange import Exchange
from tests.kit.delivery import OPENED
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.slackstory import CHANNELS, INCIDENTS, PAYMENTS, TOKEN, Clock, Story

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POST, EDIT = "chat.postMessage", "chat.update"
LOST = Reply(end="reset", applied=True)
RATE_LIMITED = Reply(status=429, body='{"ok":false,"error":"ratelimited"}', headers={"Retry-After": "30"})


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    """A workspace with one message a second and channel, and an incident to tell it."""
    clock = Clock()
    async with Slack(CHANNELS, token=TOKEN, now=clock.now) as slack, Exchange() as exchange:
        yield Story(slack, clock, exchange)


def methods(story: Story) -> list[str]:
    """The methods called, in order."""
    return [call.method for call in story.slack.calls]


async def test_an_incident_from_trigger_to_close_is_one_message_and_its_thread(story: Story) -> None:
    """The message tells the present state at every step; every notice after the first is a reply; a relapse stays in the thread."""
    receipt = await story.tell(NoticeKind.TRIGGER, eta="10 min", state="investigating")
    assert (receipt.credential, receipt.note) == (f"{INCIDENTS}:{story.top.ts}", "")
    assert "Service checkout down, investigating. ETA 10 min" in story.top.shown
    assert len(story.slack.messages) == 1
    await story.tell(NoticeKind.RISE, severity=Severity.CRITICAL, next_update=OPENED + 600)
    assert "[CRITICAL] checkout: fails 10.2% of its requests" in story.top.shown
    assert "Next update by 22:23 UTC" in story.top.shown
    await story.tell(NoticeKind.ACKNOWLEDGE, acknowledged=OPENED + 60, acknowledged_by="Ana", state="identified")
    await story.tell(NoticeKind.UPDATE, message="The last release is rolled back.", eta="5 min", state="identified")
    assert "Service checkout down, identified. ETA 5 min" in story.top.shown
    await story.tell(NoticeKind.REMINDER, state="identified")
    ended = "Incident resolved at 2023-11-14 22:28:20 UTC, root cause a bad release"
    recovery = "At recovery: error_rate 0.05% (peak 12%, threshold 1%)"
    over = {"status": "resolved", "resolved": OPENED + 900, "root_cause": "a bad release", "value_at_recovery": 0.0005}
    await story.tell(NoticeKind.RESOLVE, **over)
    assert ended in story.top.shown
    assert "error_rate 0.05% (peak 12%, threshold 1%)" in story.top.shown
    await story.tell(NoticeKind.RELAPSE, episode=2)
    assert "Service checkout down, investigating." in story.top.shown
    await story.tell(NoticeKind.RESOLVE, **over)
    await story.tell(NoticeKind.CLOSE, **over | {"status": "closed"})
    assert "\u2705" in story.top.shown
    assert story.credential == receipt.credential
    assert story.replies == (
        "Severity rose to *CRITICAL*: service checkout down, investigating. Next update by 22:23 UTC",
        "Acknowledged by Ana, identified.",
        "The last release is rolled back. ETA 5 min",
        "Service checkout still down, identified.",
        f"{ended}\n{recovery}",
        "Relapse: service checkout down again, investigating.",
        f"{ended}\n{recovery}",
        "Incident closed: the watch passed without a relapse.",
    )
    assert all(call.error == "" and call.status == 200 for call in story.slack.calls)
    assert len(story.top.edits) == 8


@pytest.mark.parametrize(
    ("responders", "mentions", "words"),
    [
        ({"service_owner": "U0AB12CD34", "on_call_manager": "W0AB12CD34"}, ("<@U0AB12CD34>", "<@W0AB12CD34>"), ""),
        ({"service_owner": "Ana Ruiz", "on_call_manager": "U0AB12CD34"}, ("<@U0AB12CD34>",), "Ana Ruiz <@U0AB12CD34>: "),
        ({"service_owner": "<!channel>", "on_call_manager": "<@U0AB12CD34>"}, (), "&lt;!channel&gt; &lt;@U0AB12CD34&gt;: "),
        ({"service_owner": "U0AB12CD34", "on_call_manager": "U0AB12CD34"}, ("<@U0AB12CD34>",), "<@U0AB12CD34>: service"),
        ({}, (), "service checkout down (HIGH), the service owner"),
        (None, (), "service checkout down (HIGH), the service owner"),
    ],
)
async def test_a_summon_mentions_ids_and_names_the_rest(
    story: Story, responders: object, mentions: tuple[str, ...], words: str
) -> None:
    """Only what is a Slack id becomes a live mention, each once; the message itself mentions nobody."""
    await story.tell(NoticeKind.TRIGGER)
    await story.tell(NoticeKind.SUMMON, responders=responders)
    (reply,) = story.slack.thread(INCIDENTS, story.top.ts)
    assert tuple(dict.fromkeys(reply.mentions)) == mentions
    assert story.top.mentions == ()
    assert reply.text.startswith(words)


async def test_hostile_values_are_inert_and_within_the_limits(story: Story) -> None:
    """Mentions, links, templates, control characters and 600 KB of labels in every fact: accepted at once, nothing live in it."""
    hostile = "<!channel> <@U0AB12CD34> @here <http://evil.example|click> {{ 7*7 }} &lt; \x00\r\n\ud800 `*_~ :fire: \U0001f525"
    facts: dict[str, Any] = dict.fromkeys(
        ("title", "service", "owner", "message", "eta", "root_cause", "actor", "end_reason"), hostile * 99
    )
    facts |= {"labels": {f"{hostile}{n}": hostile * 6 for n in range(1000)}, "services": [hostile] * 99, "notes": [hostile] * 99}
    facts |= {
        "mitigations": [{"name": hostile, "summary": hostile * 50}] * 50,
        "condition": hostile,
        "signal": hostile,
        "state": hostile,
    }
    facts |= {
        "runbook": "javascript:alert(1)",
        "dashboard": "https://x.example/?a=<!here>|b&c",
        "links": {hostile: "https://y.example"},
    }
    facts |= {
        "responders": {"service_owner": hostile, "on_call_manager": hostile},
        "acknowledged_by": hostile,
        "incident_url": "//x",
    }
    for kind in NoticeKind:
        assert (await story.tell(kind, **facts)).note == ""
    assert [call.error for call in story.slack.calls] == [""] * len(story.slack.calls)
    for message in story.slack.messages:
        assert (message.mentions, message.thread_ts in {None, story.top.ts}) == ((), True)
        assert set(message.links) <= {"https://x.example/?a=%3C!here%3E%7Cb&amp;c", "https://y.example"}
        assert "49" not in message.shown.replace("{{ 7*7 }}", "")
        assert "\x00" not in message.text
    assert len(story.replies) == len(NoticeKind) - 1


async def test_templates_are_overridden_by_name(story: Story) -> None:
    """An operator's template may use Slack's markup while the values in it stay inert; a wrong name is refused at start."""
    story.options = {
        "templates": {"headline": "*{{ service }}* {{ state }} <https://s.example|status>", "update": "U {{ message }}"}
    }
    story.restart()
    await story.tell(NoticeKind.TRIGGER, service="<!here>")
    assert "*<!here>* investigating <https://s.example|status>" in story.top.shown
    await story.tell(NoticeKind.UPDATE, message="<!channel>", service="<!here>")
    assert (story.top.mentions, "https://s.example" in story.top.links) == ((), True)
    assert story.replies == ("U &lt;!channel&gt;",)
    story.options = {"templates": {"opened": "x"}}
    with pytest.raises(ValueError, match="no such name: opened; there are headline, trigger"):
        story.restart()


@pytest.mark.parametrize("target", ["#incidents", "incidents", INCIDENTS])
async def test_a_channel_is_an_id_or_a_name(story: Story, target: str) -> None:
    """Any spelling finds the channel; the catalogue's channel of the service comes before the default."""
    story.target = target
    story.restart()
    assert (await story.tell(NoticeKind.TRIGGER)).credential.startswith(f"{INCIDENTS}:")
    assert (
        await story.tell(NoticeKind.TRIGGER, incident="b", responsible_slack="#payments")
    ).credential == f"{INCIDENTS}:{story.top.ts}"
    story.credential = None
    receipt = await story.tell(NoticeKind.TRIGGER, incident="c", responsible_slack="#payments")
    assert receipt.credential.startswith(f"{PAYMENTS}:")


@pytest.mark.parametrize(
    ("wrong", "code"), [("#nowhere", "channel_not_found"), ("#payments", "not_in_channel"), ("#payments", "is_archived")]
)
async def test_a_service_channel_that_cannot_be_reached_falls_back(story: Story, wrong: str, code: str) -> None:
    """The message stands in the default channel, and the receipt says why."""
    story.slack.workspace.channels[PAYMENTS].member = code != "not_in_channel"
    story.slack.workspace.channels[PAYMENTS].archived = code == "is_archived"
    receipt = await story.tell(NoticeKind.TRIGGER, responsible_slack=wrong)
    assert receipt.note == f"Slack channel {wrong!r}: {code}: sent to '#incidents' instead"
    await story.tell(NoticeKind.RESOLVE, responsible_slack=wrong)
    assert len(story.replies) == 1


async def test_a_deleted_message_is_posted_anew_and_the_thread_goes_on_there(story: Story) -> None:
    """The update's receipt carries the new handle, and after a restart the resolve goes under the new message."""
    first = await story.tell(NoticeKind.TRIGGER)
    story.slack.workspace.delete(INCIDENTS, story.top.ts)
    second = await story.tell(NoticeKind.UPDATE, message="found the cause")
    assert second.credential != first.credential
    assert "found the cause" in story.top.shown
    assert story.replies == ("found the cause",)
    story.restart()
    await story.tell(NoticeKind.RESOLVE)
    assert len(story.replies) == 2
    assert "Incident resolved" in story.top.shown


async def test_a_message_deleted_between_edit_and_reply(story: Story) -> None:
    """Slack refuses the reply: a new message is posted and the reply goes under it."""
    await story.tell(NoticeKind.TRIGGER)
    old = story.top.ts
    story.slack.play(refuse("thread_not_found", method=POST))
    receipt = await story.tell(NoticeKind.UPDATE, message="news")
    assert receipt.credential != f"{INCIDENTS}:{old}"
    handle = receipt.credential.partition(":")[2]
    assert [reply.text for reply in story.slack.thread(INCIDENTS, handle)] == ["news"]


async def test_a_reply_that_lands_in_the_channel_is_told(story: Story) -> None:
    """Slack drops the thread of a message deleted meanwhile without a word; the receipt says it."""
    await story.tell(NoticeKind.TRIGGER)
    ts = story.top.ts
    story.slack.play(Step(reply=Reply(status=200, body='{"ok":true,"channel":"C0INCIDENTS","ts":"%s"}' % ts), path=EDIT))  # noqa: UP031
    story.slack.workspace.delete(INCIDENTS, ts)
    receipt = await story.tell(NoticeKind.UPDATE, message="news")
    assert receipt.note == "the message was deleted meanwhile: the reply stands in the channel itself"


async def test_a_lost_answer_to_the_first_post_makes_one_message(story: Story) -> None:
    """Looked up by its metadata, in the same process and after a restart, also where the channel is known by name only."""
    for restarts in (False, True):
        opening = story.make(NoticeKind.TRIGGER, incident=f"incident-{restarts}")
        story.credential = None
        story.slack.play(Step(reply=LOST, path=POST))
        with pytest.raises(TemporaryError) as caught:
            await story.send(opening)
        assert caught.value.attempted
        if restarts:
            story.restart()
        receipt = await story.send(opening, attempts=1)
        standing = story.slack.workspace.list_messages(INCIDENTS)
        assert len(standing) == 1 + restarts
        assert receipt.credential == f"{INCIDENTS}:{standing[-1].ts}"
        assert story.slack.thread(INCIDENTS, standing[-1].ts) == ()


async def test_a_lost_answer_to_a_reply_makes_one_reply(story: Story) -> None:
    """In the same process from memory (no new claim), and after a restart by the claim's count."""
    await story.tell(NoticeKind.TRIGGER)
    for number, restarts in enumerate((False, True), start=1):
        news = story.make(NoticeKind.UPDATE, message=f"news {number}")
        story.slack.play(Step(reply=LOST, path=POST))
        with pytest.raises(TemporaryError):
            await story.send(news)
        if restarts:
            story.restart()
        await story.send(news, attempts=int(restarts))
        assert len(story.replies) == number


async def test_an_accepted_notice_that_is_claimed_again_changes_nothing(story: Story) -> None:
    """The outcome was not written: the same row comes once more, and Slack shows it once."""
    opening, news = story.make(NoticeKind.TRIGGER), story.make(NoticeKind.UPDATE, message="news")
    await story.send(opening)
    story.credential = None
    await story.send(opening, attempts=1)
    await story.send(news)
    await story.send(news, attempts=1)
    assert story.replies == ("news",)


async def test_a_post_that_surely_did_not_arrive_is_not_looked_up(story: Story) -> None:
    """After Slack's own refusals and our own waiting the notice is simply posted: no reading of history in a storm."""
    opening = story.make(NoticeKind.TRIGGER)
    story.slack.play(Step(reply=RATE_LIMITED, path=POST))
    with pytest.raises(TemporaryError) as caught:
        await story.send(opening)
    assert caught.value.retry_after_seconds == 30.0
    with pytest.raises(ThrottledError) as held:
        await story.send(opening, attempts=1)
    assert (held.value.retry_after_seconds, held.value.attempted) == (30.0, False)
    await story.clock.sleep(30.0)
    await story.send(opening, attempts=2)
    assert methods(story) == [POST, POST]


async def test_a_claim_by_another_process_is_looked_up(story: Story) -> None:
    """Two attempts that this process did not make may have arrived."""
    opening = story.make(NoticeKind.TRIGGER)
    await story.send(opening, attempts=2)
    assert methods(story) == ["conversations.list", "conversations.history", POST]


async def test_a_lost_handle_is_found_again(story: Story) -> None:
    """The database is lost while an incident is open: its next notice goes to the message that stands."""
    await story.tell(NoticeKind.TRIGGER)
    story.credential = None
    story.restart()
    receipt = await story.tell(NoticeKind.RESOLVE)
    assert receipt.credential == f"{INCIDENTS}:{story.top.ts}"
    assert len(story.replies) == 1


async def test_pages_of_history_are_read_until_it_is_found(story: Story) -> None:
    """Three pages of other people's talk stand above the message."""
    story.slack._page = 5
    await story.tell(NoticeKind.TRIGGER)
    for number in range(14):
        story.slack.workspace.post(INCIDENTS, {"text": f"talk {number}"}, story.clock.now())
    top = story.credential
    story.credential = None
    story.restart()
    assert (await story.tell(NoticeKind.UPDATE)).credential == top
    assert methods(story).count("conversations.history") == 3


async def test_without_the_right_to_look_it_is_posted_again_and_said(story: Story) -> None:
    """Twice is better than never; the receipt names the scope that is missing."""
    story.slack.scopes = frozenset({"chat:write"})
    opening = story.make(NoticeKind.TRIGGER)
    receipt = await story.send(opening, attempts=1)
    assert receipt.note == (
        "not looked up before posting: conversations.list: missing_scope (scope channels:read): "
        "what an earlier attempt left may stand there twice"
    )
    assert story.slack.scopes < SCOPES
    assert "fails 10.2%" in story.top.shown


@pytest.mark.parametrize("method", [POST, EDIT])
@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (redirect_302("http://127.0.0.1:1/"), SettingsError, "302"),
        (html_200(), SettingsError, "no JSON of Slack's: check DETECTOR_SLACK__API_URL"),
        (Reply(status=200, body="[]"), SettingsError, "no JSON of Slack's"),
        (Reply(status=200, body='"text"', headers={"Content-Type": "text/plain"}), SettingsError, "no JSON of Slack's"),
        (Reply(status=400), SettingsError, "400"),
        (Reply(status=401), SettingsError, "401"),
        (Reply(status=403), SettingsError, "403"),
        (Reply(status=404), SettingsError, "404"),
        (RATE_LIMITED, TemporaryError, "too many requests"),
        (Reply(status=429), TemporaryError, "too many requests"),
        (Reply(status=500), TemporaryError, "500"),
        (Reply(status=502, body="<html>"), TemporaryError, "502"),
        (Reply(status=503), TemporaryError, "503"),
        (Reply(status=504), TemporaryError, "504"),
        (Reply(end="reset"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="close"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="hang"), TemporaryError, "no complete answer within 0.3 s"),
        (Reply(status=200, body="x" * 5_000_000), TemporaryError, "larger than"),
    ],
)
async def test_every_status_has_its_consequence(
    story: Story, method: str, reply: Reply, kind: type[OutsideError], words: str
) -> None:
    """Settings faults and passing ones are told apart for both methods, and the token shows in no text."""
    if method == EDIT:
        await story.tell(NoticeKind.TRIGGER)
    story.slack.play(Step(reply=reply, requests=None, path=method))
    with pytest.raises(OutsideError) as caught:
        await story.tell(NoticeKind.UPDATE if method == EDIT else NoticeKind.TRIGGER)
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, SettingsError) == (kind is SettingsError)
    assert words in str(caught.value)
    logged = repr(structlog.tracebacks.extract(type(caught.value), caught.value, caught.tb))
    assert_no_secret([TOKEN], str(caught.value), repr(caught.value), repr(story.channel), logged)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("invalid_auth", SettingsError, "set DETECTOR_SLACK__TOKEN"),
        ("not_authed", SettingsError, "set DETECTOR_SLACK__TOKEN"),
        ("account_inactive", SettingsError, "set DETECTOR_SLACK__TOKEN"),
        ("token_revoked", SettingsError, "set DETECTOR_SLACK__TOKEN"),
        ("token_expired", SettingsError, "set DETECTOR_SLACK__TOKEN"),
        ("not_allowed_token_type", SettingsError, "xoxb-"),
        ("missing_scope", SettingsError, "add the scope chat:write"),
        ("channel_not_found", SettingsError, "check DETECTOR_SLACK__CHANNEL"),
        ("not_in_channel", SettingsError, "/invite"),
        ("is_archived", SettingsError, "archived; set another one"),
        ("restricted_action", SettingsError, "ask an administrator"),
        ("ekm_access_denied", SettingsError, "ask an administrator"),
        ("unknown_method", SettingsError, "check DETECTOR_SLACK__API_URL"),
        ("an_error_of_tomorrow", SettingsError, "an_error_of_tomorrow"),
        ("ratelimited", TemporaryError, "too many requests"),
        ("rate_limited", TemporaryError, "too many requests"),
        ("internal_error", TemporaryError, "internal_error"),
        ("fatal_error", TemporaryError, "fatal_error"),
        ("service_unavailable", TemporaryError, "service_unavailable"),
        ("request_timeout", TemporaryError, "request_timeout"),
        ("msg_too_long", PermanentError, "least form too"),
        ("msg_blocks_too_long", PermanentError, "least form too"),
        ("invalid_blocks", PermanentError, "least form too"),
        ("metadata_too_large", PermanentError, "least form too"),
    ],
)
async def test_every_refusal_has_its_consequence(story: Story, code: str, kind: type[OutsideError], words: str) -> None:
    """Slack's own "no" with status 200: one clear line that says what to do, or another try, or the end of this notice."""
    story.slack.play(refuse(code, requests=None, method=POST, needed="chat:write" if code == "missing_scope" else ""))
    with pytest.raises(OutsideError) as caught:
        await story.tell(NoticeKind.TRIGGER)
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, SettingsError) == (kind is SettingsError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(story.slack.calls) == (2 if kind is PermanentError else 1)


@pytest.mark.parametrize("method", [POST, EDIT])
async def test_refused_once_takes_the_least_form(story: Story, method: str) -> None:
    """One short text without blocks takes its place, and the receipt says it."""
    if method == EDIT:
        await story.tell(NoticeKind.TRIGGER)
    story.slack.play(refuse("msg_blocks_too_long", method=method))
    receipt = await story.tell(NoticeKind.UPDATE if method == EDIT else NoticeKind.TRIGGER)
    assert receipt.note == "Slack refused the whole message (msg_blocks_too_long) and took its least form"
    assert (story.top.blocks, "Service checkout down" in story.top.text) == ((), True)


@pytest.mark.parametrize("code", ["edit_window_closed", "cant_update_message"])
async def test_a_message_that_may_not_be_edited_keeps_its_thread(story: Story, code: str) -> None:
    """The reply goes out all the same, and the receipt says why the message tells an old state."""
    await story.tell(NoticeKind.TRIGGER)
    story.slack.play(refuse(code, method=EDIT))
    receipt = await story.tell(NoticeKind.UPDATE, message="news")
    assert receipt.note == f"Slack did not let the message be edited ({code}): the news stands in its thread only"
    assert story.replies == ("news",)


async def test_a_wrong_token_and_a_refused_connection(story: Story) -> None:
    """The first is a settings fault, the second passes and was no attempt; neither shows the token."""
    story.token = "xoxb-wrong-token-of-somebody"
    story.restart()
    with pytest.raises(SettingsError, match="invalid_auth: the token is not valid") as wrong:
        await story.tell(NoticeKind.TRIGGER)
    story.options = {"api_url": f"http://127.0.0.1:{free_port()}/api"}
    story.channel._client.base_url = story.options["api_url"] + "/"
    with pytest.raises(TemporaryError, match="cannot connect") as refused:
        await story.tell(NoticeKind.TRIGGER)
    assert not refused.value.attempted
    assert_no_secret([story.token], str(wrong.value), str(refused.value), repr(story.channel), repr(story.channel._client))


async def test_a_proxy_in_the_environment_gets_no_token(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's client would take HTTP_PROXY; ours does not."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    story.restart()
    await story.tell(NoticeKind.TRIGGER)
    assert len(story.slack.messages) == 1


async def test_a_storm_keeps_the_pace_of_each_channel(story: Story) -> None:
    """Thirty openings meet a limit of one a second without a single 429, in half a minute of the clock."""
    for number in range(30):
        story.credential = None
        await story.tell(NoticeKind.TRIGGER, incident=f"i{number}")
    assert [call.status for call in story.slack.calls] == [200] * 30
    assert story.clock.seconds == pytest.approx(OPENED + 29, abs=0.1)


async def test_a_lost_lease_stops_the_request_before_its_first_byte(story: Story) -> None:
    """What the exchange's `before_send` raises comes out unchanged, Slack saw nothing, and the next try needs no look-up."""
    leases = [False, True]

    def hold() -> None:
        if not leases.pop(0):
            raise TemporaryError("the lease is lost", attempted=False)

    async with Exchange(before_send=hold) as story.exchange:
        story.restart()
        opening = story.make(NoticeKind.TRIGGER)
        with pytest.raises(TemporaryError, match="the lease is lost"):
            await story.send(opening)
        assert methods(story) == []
        await story.send(opening, attempts=1)
    assert methods(story) == [POST]


async def test_check_says_who_we_are(story: Story) -> None:
    """Signing in is tried without posting; a wrong token is the same clear line."""
    assert await story.channel.check(story.clock.now()) == "detector in Stand-in"
    story.slack.token = "another"
    with pytest.raises(SettingsError, match=r"auth\.test: invalid_auth: the token is not valid"):
        await story.channel.check(story.clock.now())
    assert story.slack.messages == ()
