"""The PagerDuty channel against the stand-in that enforces the documented contract, over real HTTP."""

from __future__ import annotations

import email.utils
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiohttp import web
from pydantic import SecretStr

from detector.adapters.pagerduty import PagerDutyEvents, Part
from detector.domain.incident import NoticeKind
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.standin.pagerduty import PagerDuty
from detector.standin.script import End, Reply, Step, fail, html_200, redirect_302
from detector.standin.server import Server
from detector.transport.exchange import Exchange
from detector.transport.retry import read_retry_after
from tests.kit.delivery import OPENED, make_delivery
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from detector.ports.store import Delivery

KEY = "0123456789abcdef0123456789abcdef"
PAYMENTS = "fedcba9876543210fedcba9876543210"
ROTATED = "aaaaaaaabbbbbbbbccccccccdddddddd"
KEYS = {"default": KEY, "payments": PAYMENTS, "rotated": ROTATED}
NOW = OPENED + 10


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDuty]:
    """An account with three integrations."""
    async with PagerDuty(KEYS) as account:
        yield account


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Connections of the test's own."""
    async with Exchange() as opened:
        yield opened


def make_channel(exchange: Exchange, url: str, keys: Mapping[str, str] | None = None, **options: Any) -> PagerDutyEvents:
    """The channel with two of the account's keys."""
    wanted = {"default": KEY, "payments": PAYMENTS} if keys is None else keys
    secrets = {route: SecretStr(key) for route, key in wanted.items()}
    return PagerDutyEvents(exchange, secrets, events_url=url, **options)


async def test_an_incident_from_trigger_to_resolve(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """Trigger, rise, acknowledge, update and resolve on one key are one alert, resolved, with the value at recovery in its log."""
    channel = make_channel(exchange, pagerduty.url)
    kinds = [NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.ACKNOWLEDGE, NoticeKind.UPDATE]
    for sequence, kind in enumerate(kinds):
        receipt = await channel.send(make_delivery(kind, sequence=sequence), now=NOW)
        assert (receipt.credential, receipt.note) == (KEY, "")
    await channel.send(make_delivery(NoticeKind.RESOLVE, value_at_recovery=0.0005), now=NOW)
    (alert,) = pagerduty.alerts()
    assert ([entry.action for entry in alert.log], alert.is_open) == (
        ["trigger", "trigger", "acknowledge", "trigger", "resolve"],
        False,
    )
    payload: Any = alert.log[-1].event["payload"]
    assert payload["custom_details"]["value_at_recovery"] == 0.0005
    assert (pagerduty.drops(), pagerduty.duplicates()) == ((), ())
    assert all(request.errors == () and request.unknown_keys == () for request in pagerduty.requests)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(status=200), SettingsError, "answered 200 where only 202"),
        (html_200(), SettingsError, "answered 200 where only 202"),
        (Reply(status=201), SettingsError, "201"),
        (redirect_302("http://127.0.0.1:1/"), SettingsError, "302"),
        (Reply(status=401), SettingsError, "401"),
        (Reply(status=403), SettingsError, "403"),
        (Reply(status=404), SettingsError, "404"),
        (Reply(status=413), SettingsError, "413"),
        (Reply(status=429), TemporaryError, "429"),
        (Reply(status=500), TemporaryError, "500"),
        (Reply(status=502), TemporaryError, "502"),
        (Reply(status=503), TemporaryError, "503"),
        (Reply(status=504), TemporaryError, "504"),
        (Reply(end="reset"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="close"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="hang", applied=True), TemporaryError, "no complete answer within 1.5 s"),
    ],
)
async def test_every_answer_but_202_has_its_consequence(
    pagerduty: PagerDuty, exchange: Exchange, reply: Reply, kind: type[OutsideError], words: str
) -> None:
    """Settings faults, passing faults and lost answers are told apart, attempts are known, and no key shows in any text."""
    pagerduty.play(Step(reply=reply, requests=None))
    channel = make_channel(exchange, pagerduty.url, deadline_seconds=BRIEF_SECONDS if reply.end == "hang" else PATIENCE_SECONDS)
    with pytest.raises(OutsideError) as caught:
        await channel.send(make_delivery(), now=NOW)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert isinstance(caught.value, TemporaryError)
    assert caught.value.attempted
    assert_no_secret(KEYS.values(), str(caught.value), repr(caught.value), repr(channel), repr(make_delivery(credential=KEY)))


@pytest.mark.parametrize("body", ["", "<html>", "{", '{"status":"error"}'])
async def test_202_is_success_whatever_its_body(pagerduty: PagerDuty, exchange: Exchange, body: str) -> None:
    """An empty, broken or contradicting body of a 202 changes nothing."""
    pagerduty.play(Step(reply=Reply(status=202, body=body)))
    assert (await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)).credential == KEY


async def test_a_timeout_after_accepting_makes_one_alert(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """The lost 202: sent again under the same key, it is still one alert."""
    pagerduty.play(Step(reply=Reply(end="hang", applied=True), requests=2))
    channel = make_channel(exchange, pagerduty.url, deadline_seconds=BRIEF_SECONDS)
    for _ in range(2):
        with pytest.raises(TemporaryError):
            await channel.send(make_delivery(), now=NOW)
    await channel.send(make_delivery(), now=NOW)
    (alert,) = pagerduty.alerts()
    assert len(alert.log) == 3


async def test_refused_once_takes_the_least_form(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """After a 400 the summary, source, severity and key go alone, and the receipt says what was lost."""
    pagerduty.play(fail(400, requests=1, body=f'{{"message": "Event object is invalid {KEY}"}}'))
    receipt = await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
    (alert,) = pagerduty.alerts()
    payload: Any = alert.log[0].event["payload"]
    assert set(payload) == {"summary", "source", "severity"}
    assert "took its least form" in receipt.note
    assert "Event object is invalid" in receipt.note
    assert_no_secret([KEY], receipt.note)


async def test_refused_twice_is_rejected(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """Two 400s are the end of this notice; the reason is quoted without the key."""
    pagerduty.play(fail(400, requests=2, body=f"no such key {KEY}"))
    with pytest.raises(PermanentError, match="least form too: no such key <routing key>") as caught:
        await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
    assert len(pagerduty.requests) == 2
    assert_no_secret([KEY], str(caught.value))


async def test_a_refused_connection_was_no_attempt(exchange: Exchange) -> None:
    """Nothing listens: a passing fault, and surely nothing arrived."""
    with pytest.raises(TemporaryError, match="cannot connect") as caught:
        await make_channel(exchange, f"http://127.0.0.1:{free_port()}").send(make_delivery(), now=NOW)
    assert not caught.value.attempted


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("86400", 300.0),
        ("inf", 300.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    """Read as a number, capped at five minutes, and ignored where it is none."""
    assert read_retry_after(text, NOW) == seconds


def test_retry_after_as_a_date() -> None:
    """An HTTP date counts from now; one of next year is capped, one of the past is now."""
    assert read_retry_after(email.utils.formatdate(NOW + 90, usegmt=True), NOW) == 90.0
    assert read_retry_after(email.utils.formatdate(NOW + 3e7, usegmt=True), NOW) == 300.0
    assert read_retry_after(email.utils.formatdate(NOW - 90, usegmt=True), NOW) == 0.0
    assert read_retry_after("Sun, 99 Foo 2026", NOW) is None


async def test_retry_after_comes_out_with_the_error(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """A 429 and a 503 that name a time hand it on."""
    for status in (429, 503):
        pagerduty.play(Step(reply=Reply(status=status, headers={"Retry-After": "17"})))
        with pytest.raises(TemporaryError) as caught:
            await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
        assert caught.value.retry_after_seconds == 17.0


async def test_600_kb_of_hostile_labels_are_accepted_and_the_cut_is_counted(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """The stand-in, which refuses anything over a limit, takes it at once; the receipt and the counter name every cut."""
    cuts: list[Part] = []
    channel = make_channel(exchange, pagerduty.url, on_cut=cuts.append)
    delivery = make_delivery(
        key="k" * 300, title="🔥" * 2000, service="n" * 300, labels={f"<!channel>{n}\x00\r\n": "{{7*7}}" * 90 for n in range(1000)}
    )
    receipt = await channel.send(delivery, now=NOW)
    assert [request.status for request in pagerduty.requests] == [202]
    assert receipt.note == "cut to PagerDuty's limits: summary, dedup_key, custom_details"
    assert cuts == [Part.SUMMARY, Part.KEY, Part.DETAILS]


async def test_routes_have_their_keys_and_unknown_ones_use_the_default(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """A named route goes through its key; an unknown name through "default", said in the note and counted."""
    unknown: list[str] = []
    channel = make_channel(exchange, pagerduty.url, on_unknown_route=unknown.append)
    assert (await channel.send(make_delivery(route="payments"), now=NOW)).credential == PAYMENTS
    receipt = await channel.send(make_delivery(route="nobody"), now=NOW)
    assert (receipt.credential, receipt.note) == (KEY, "no routing key named 'nobody': sent through 'default'")
    assert unknown == ["nobody"]
    assert [alert.routing_key for alert in pagerduty.alerts()] == [PAYMENTS, KEY]


@pytest.mark.parametrize("keys", [{}, {"payments": PAYMENTS}, {"default": "  "}])
async def test_no_key_is_one_clear_line(exchange: Exchange, keys: dict[str, str]) -> None:
    """Without any usable key nothing is sent, and the error names the setting."""
    with pytest.raises(
        SettingsError, match=r"no routing key named 'x' and none named 'default': set DETECTOR_PAGERDUTY__ROUTING"
    ) as caught:
        await make_channel(exchange, "http://127.0.0.1:1", keys).send(make_delivery(route="x"), now=NOW)
    assert not caught.value.attempted


async def test_a_key_rotated_while_open_is_resolved_through_the_old_one(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """After the rotation the resolve of the open alert takes the credential that opened it; nothing is dropped."""
    receipt = await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
    after = make_channel(exchange, pagerduty.url, {"default": ROTATED})
    for kind in (NoticeKind.UPDATE, NoticeKind.ACKNOWLEDGE, NoticeKind.RESOLVE):
        assert (await after.send(make_delivery(kind, credential=receipt.credential), now=NOW)).credential == KEY
    assert (await after.send(make_delivery(incident="next"), now=NOW)).credential == ROTATED
    assert (pagerduty.drops(), [alert.is_open for alert in pagerduty.alerts()]) == ((), [False, True])


async def test_the_rate_is_kept_for_each_key_and_urgent_ones_pass(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """The 16th of a burst is held back unsent with a time to come back; another key and a resolve still pass."""
    channel = make_channel(exchange, pagerduty.url)
    for number in range(15):
        await channel.send(make_delivery(incident=f"i{number}"), now=NOW)
    with pytest.raises(ThrottledError) as caught:
        await channel.send(make_delivery(incident="i15"), now=NOW)
    assert caught.value.retry_after_seconds is not None
    assert 0 < caught.value.retry_after_seconds <= 10
    assert not caught.value.attempted
    await channel.send(make_delivery(incident="i16", route="payments"), now=NOW)
    await channel.send(make_delivery(NoticeKind.RESOLVE, incident="i1"), now=NOW)
    assert len(pagerduty.requests) == 17


async def test_the_path_before_enqueue_is_kept() -> None:
    """Behind a proxy with a path prefix the events go to <prefix>/v2/enqueue, however the URL is written."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    async with Server(app) as server, Exchange() as exchange:
        for base in ("/proxy/pd", "/proxy/pd/", "/proxy/pd/v2/enqueue", ""):
            await make_channel(exchange, server.url + base).send(make_delivery(), now=NOW)
    assert paths == ["/proxy/pd/v2/enqueue"] * 3 + ["/v2/enqueue"]


@pytest.mark.parametrize("refuser", ["exchange", "channel"])
async def test_a_lost_lease_stops_the_request_before_its_first_byte(pagerduty: PagerDuty, refuser: str) -> None:
    """What either `before_send` raises comes out unchanged, and PagerDuty saw nothing; the channel's knows which delivery."""

    def refuse(*asked: Delivery) -> None:
        assert list(asked) == ([] if refuser == "exchange" else [make_delivery()])
        raise TemporaryError("the lease is lost", attempted=False)

    hooks = {refuser: refuse}
    async with Exchange(before_send=hooks.get("exchange")) as exchange:
        channel = make_channel(exchange, pagerduty.url, before_send=hooks.get("channel"))
        with pytest.raises(TemporaryError, match="the lease is lost"):
            await channel.send(make_delivery(), now=NOW)
    assert pagerduty.requests == []


async def test_a_proxy_in_the_environment_is_not_used(
    pagerduty: PagerDuty, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY of the shell does not carry the routing key elsewhere."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
    assert len(pagerduty.open_alerts()) == 1


async def test_no_secret_reaches_a_log(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """An error logged with its traceback shows no routing key, even where the answer repeats it."""
    pagerduty.play(fail(400, requests=2, body=KEY), fail(500, requests=1, body=KEY), Step(reply=redirect_302(f"http://x/{KEY}")))
    channel = make_channel(exchange, pagerduty.url)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            try:
                await channel.send(make_delivery(), now=NOW)
            except OutsideError as error:
                structlog.get_logger().error(
                    "send failed", error=error, detail=structlog.tracebacks.extract(type(error), error, None)
                )
    assert len(lines) == 3
    assert_no_secret([KEY], *map(repr, lines))


@pytest.mark.parametrize("end", ["answer", "close"])
async def test_a_dead_kept_alive_connection_is_replaced(pagerduty: PagerDuty, exchange: Exchange, end: End) -> None:
    """A connection that the other side closed between two events costs no retry of the notice."""
    channel = make_channel(exchange, pagerduty.url)
    await channel.send(make_delivery(), now=NOW)
    pagerduty.play(Step(reply=Reply(end=end)))
    await channel.send(make_delivery(NoticeKind.UPDATE), now=NOW)
    assert len(pagerduty.open_alerts()) == 1


@pytest.mark.parametrize("reply", [fail(503), Step(reply=Reply(end="close", applied=True))])
async def test_an_attempt_of_unknown_result_says_what_it_was_sent_with(
    pagerduty: PagerDuty, exchange: Exchange, reply: Step
) -> None:
    """It may have opened an alert, which only the same routing key can end."""
    pagerduty.play(reply)
    with pytest.raises(TemporaryError) as caught:
        await make_channel(exchange, pagerduty.url).send(make_delivery(), now=NOW)
    assert (caught.value.attempted, caught.value.credential) == (True, KEY)
    assert_no_secret([KEY], str(caught.value), repr(caught.value))


async def test_a_page_pinned_to_a_key_that_is_gone_leaves_through_the_new_one(pagerduty: PagerDuty, exchange: Exchange) -> None:
    """The first attempt failed, the key was replaced and deleted: 400 under the old one, so the page goes to the new one."""
    channel = make_channel(exchange, pagerduty.url, {"default": ROTATED})
    receipt = await channel.send(make_delivery(credential="gone" * 8), now=NOW)
    assert receipt.credential == ROTATED
    (alert,) = pagerduty.alerts()
    assert (alert.routing_key, alert.is_open) == (ROTATED, True)
    with pytest.raises(PermanentError):
        await channel.send(make_delivery(NoticeKind.RESOLVE, credential="gone" * 8), now=NOW)
