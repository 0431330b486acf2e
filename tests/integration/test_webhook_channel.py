"""The webhook channel against a receiver that checks every signature, over real HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import SecretStr

from detector.adapters.webhook import SignedWebhook
from detector.adapters.webhook.body import MAX_BODY_BYTES
from detector.domain.incident import NoticeKind
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError
from detector.standin.script import End, Reply, Step, html_200, redirect_302
from detector.standin.webhook import Receiver
from detector.transport.address import AddressPolicy
from detector.transport.exchange import Exchange, ExchangeOption
from tests.kit.delivery import FACTS, OPENED, make_delivery
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector.ports.store import Delivery

SECRET = "s3cr3t-of-the-webhook"
TOKEN = "T0K3N-in-the-path"
NOW = OPENED + 10


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes signed notices only."""
    async with Receiver(secrets=(SECRET,), token=TOKEN) as served:
        yield served


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Connections of the test's own."""
    async with Exchange() as opened:
        yield opened


def make_channel(exchange: Exchange, url: str, secret: str | None = SECRET, **options: Any) -> SignedWebhook:
    """The channel as the composition root makes it."""
    return SignedWebhook(exchange, SecretStr(url), secret=None if secret is None else SecretStr(secret), **options)


async def test_every_kind_arrives_signed_with_its_facts(receiver: Receiver, exchange: Exchange) -> None:
    """One event a notice: its id, kind, moment and the incident's facts, under a signature the receiver verified."""
    channel = make_channel(exchange, receiver.url)
    for sequence, kind in enumerate(NoticeKind):
        assert (await channel.send(make_delivery(kind, sequence=sequence), now=NOW)).note == ""
    assert [event["kind"] for event in receiver.events] == [kind.value for kind in NoticeKind]
    first, delivery = receiver.events[0], make_delivery(NoticeKind.TRIGGER, sequence=0)
    assert (first["schema"], first["version"], first["id"], first["at"]) == ("detector.notice", 1, delivery.id, OPENED)
    assert first["incident"] == FACTS | {"id": "abc", "episode": 1, "key": delivery.key, "severity": "high"}
    assert all(arrival.signed and arrival.status == 204 for arrival in receiver.arrivals)
    assert len({event["id"] for event in receiver.events}) == len(NoticeKind)


async def test_a_repetition_has_the_same_id_and_bytes(receiver: Receiver, exchange: Exchange) -> None:
    """After an answer that was lost the same event comes again, and the receiver can tell."""
    receiver.play(Step(reply=Reply(end="hang", applied=True)))
    channel = make_channel(exchange, receiver.url, deadline_seconds=BRIEF_SECONDS)
    with pytest.raises(TemporaryError, match="no complete answer") as caught:
        await channel.send(make_delivery(), now=NOW)
    assert caught.value.attempted
    await channel.send(replace(make_delivery(), attempts=1), now=NOW + 60)
    first, second = receiver.arrivals
    assert (first.body, first.event_id, second.replay) == (second.body, second.event_id, True)
    assert (len(receiver.events), receiver.replays) == (1, (first.event_id,))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_acceptance(receiver: Receiver, exchange: Exchange, status: int) -> None:
    """Whatever stands in its body."""
    receiver.play(Step(reply=Reply(status=status)))
    await make_channel(exchange, receiver.url).send(make_delivery(), now=NOW)
    receiver.play(Step(reply=html_200()))
    await make_channel(exchange, receiver.url).send(make_delivery(), now=NOW)
    assert [arrival.status for arrival in receiver.arrivals] == [status, 200]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (redirect_302(f"http://127.0.0.1:1/{TOKEN}"), SettingsError, "302"),
        (Reply(status=304), SettingsError, "304"),
        (Reply(status=400, body=TOKEN), PermanentError, "400"),
        (Reply(status=401), SettingsError, "DETECTOR_WEBHOOK__SECRET"),
        (Reply(status=403), SettingsError, "DETECTOR_WEBHOOK__SECRET"),
        (Reply(status=404), SettingsError, "check DETECTOR_WEBHOOK__URL"),
        (Reply(status=405), SettingsError, "takes no POST"),
        (Reply(status=407), SettingsError, "proxy"),
        (Reply(status=408), TemporaryError, "408"),
        (Reply(status=409), PermanentError, "409"),
        (Reply(status=410), SettingsError, "was removed"),
        (Reply(status=413), PermanentError, "413"),
        (Reply(status=415), PermanentError, "415"),
        (Reply(status=422), PermanentError, "422"),
        (Reply(status=425), TemporaryError, "425"),
        (Reply(status=429), TemporaryError, "429"),
        (Reply(status=499), PermanentError, "499"),
        (Reply(status=500, body=TOKEN), TemporaryError, "500"),
        (Reply(status=502), TemporaryError, "502"),
        (Reply(status=503), TemporaryError, "503"),
        (Reply(status=504), TemporaryError, "504"),
        (Reply(status=599), TemporaryError, "599"),
        (Reply(status=200, body="x" * 100_000), SettingsError, "larger than"),
        (Reply(end="reset"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="close"), TemporaryError, "ended before the answer was complete"),
        (Reply(end="hang"), TemporaryError, "no complete answer within 1.5 s"),
    ],
)
async def test_every_other_answer_has_its_consequence(
    receiver: Receiver, exchange: Exchange, reply: Reply, kind: type[OutsideError], words: str
) -> None:
    """Settings faults, refusals and passing faults are told apart; neither the URL nor the secret shows in any text."""
    receiver.play(Step(reply=reply, requests=None))
    channel = make_channel(exchange, receiver.url, deadline_seconds=BRIEF_SECONDS if reply.end == "hang" else PATIENCE_SECONDS)
    with pytest.raises(OutsideError) as caught:
        await channel.send(make_delivery(), now=NOW)
    logged = repr(structlog.tracebacks.extract(type(caught.value), caught.value, caught.tb))
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert_no_secret([receiver.url, TOKEN, SECRET], str(caught.value), repr(caught.value), repr(channel), logged)
    assert "127.0.0.1" not in str(caught.value)


async def test_retry_after_comes_out_with_the_error(receiver: Receiver, exchange: Exchange) -> None:
    """A 429 and a 503 that name a time hand it on."""
    for status in (429, 503):
        receiver.play(Step(reply=Reply(status=status, headers={"Retry-After": "17"})))
        with pytest.raises(TemporaryError) as caught:
            await make_channel(exchange, receiver.url).send(make_delivery(), now=NOW)
        assert caught.value.retry_after_seconds == 17.0


async def test_a_wrong_secret_is_a_settings_fault(receiver: Receiver, exchange: Exchange) -> None:
    """The receiver refuses the signature; nothing is counted as delivered."""
    for wrong in ("another", None):
        with pytest.raises(SettingsError, match="401"):
            await make_channel(exchange, receiver.url, wrong).send(make_delivery(), now=NOW)
    assert receiver.events == ()


async def test_without_a_secret_it_goes_unsigned(exchange: Exchange) -> None:
    """No signature header at all, rather than one over an empty secret, which is refused at start."""
    async with Receiver() as open_receiver:
        await make_channel(exchange, open_receiver.url, None).send(make_delivery(), now=NOW)
        assert len(open_receiver.events) == 1
        assert "X-Detector-Signature" not in open_receiver.arrivals[0].headers
    with pytest.raises(ValueError, match="the secret is empty"):
        make_channel(exchange, "http://127.0.0.1:1/", "")


async def test_hostile_facts_arrive_as_valid_json_below_the_limit(receiver: Receiver, exchange: Exchange) -> None:
    """600 KB of labels with NUL, CRLF, halves of surrogate pairs, NaN and huge numbers: valid, cut, and the cut is named."""
    labels = {f"<!channel>{n}\x00\r\n\ud800": "{{7*7}} \u202e\U0001f525" * 60 for n in range(1000)}
    delivery = make_delivery(
        labels=labels, value=float("nan"), threshold=10**400, title="a\x00b\r\nc\udfff", severity_note={1: object}
    )
    await make_channel(exchange, receiver.url).send(delivery, now=NOW)
    (arrival,), (event,) = receiver.arrivals, receiver.events
    assert len(arrival.body) <= MAX_BODY_BYTES
    assert event["cut"] == ["labels"]
    assert (event["incident"]["title"], event["incident"]["value"], event["incident"]["threshold"]) == (
        "a\ufffdb\nc\ufffd",
        None,
        None,
    )
    assert json.loads(arrival.body) == event


async def test_the_address_policy_holds(exchange: Exchange) -> None:
    """A metadata service is never asked, and loopback only where the policy lets it: settings faults, nothing sent."""
    for allowed, url in ((exchange, "http://169.254.169.254/latest"), (None, f"http://127.0.0.1:{free_port()}/x")):
        guarded = allowed or Exchange(ExchangeOption(policy=AddressPolicy(allow_loopback=False)))
        async with guarded:
            with pytest.raises(SettingsError, match="denied by the address policy") as caught:
                await make_channel(guarded, url).send(make_delivery(), now=NOW)
            assert not caught.value.attempted


async def test_a_refused_connection_was_no_attempt(exchange: Exchange) -> None:
    """Nothing listens: a passing fault, and surely nothing arrived."""
    url = f"http://127.0.0.1:{free_port()}/{TOKEN}"
    with pytest.raises(TemporaryError, match="the URL of DETECTOR_WEBHOOK__URL: cannot connect") as caught:
        await make_channel(exchange, url).send(make_delivery(), now=NOW)
    assert not caught.value.attempted
    assert_no_secret([TOKEN, url], str(caught.value))


@pytest.mark.parametrize("end", ["answer", "close"])
async def test_a_dead_kept_alive_connection_is_replaced(receiver: Receiver, exchange: Exchange, end: End) -> None:
    """A connection that the other side closed between two notices costs no retry."""
    channel = make_channel(exchange, receiver.url)
    await channel.send(make_delivery(), now=NOW)
    receiver.play(Step(reply=Reply(end=end)))
    await channel.send(make_delivery(NoticeKind.UPDATE), now=NOW)
    assert [event["kind"] for event in receiver.events] == ["trigger", "update"]


@pytest.mark.parametrize("refuser", ["exchange", "channel"])
async def test_a_lost_lease_stops_the_request_before_its_first_byte(receiver: Receiver, refuser: str) -> None:
    """What either `before_send` raises comes out unchanged, and the receiver saw nothing; the channel's knows which delivery."""

    def refuse(*asked: Delivery) -> None:
        assert list(asked) == ([] if refuser == "exchange" else [make_delivery()])
        raise TemporaryError("the lease is lost", attempted=False)

    hooks = {refuser: refuse}
    async with Exchange(before_send=hooks.get("exchange")) as exchange:
        channel = make_channel(exchange, receiver.url, before_send=hooks.get("channel"))
        with pytest.raises(TemporaryError, match="the lease is lost"):
            await channel.send(make_delivery(), now=NOW)
    assert receiver.arrivals == []
