"""PagerDuty's REST API by the vendor's client against the stand-in: what is read, what is asked, and every way it can fail."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from detector.adapters.pagerduty_rest import PagerDutyRest
from detector.adapters.pagerduty_rest.thread import MOST_ABANDONED
from detector.ports.error import PermanentError, SettingsError, TemporaryError
from detector.ports.pagerduty import Person, Standing
from detector.standin.account import ENGINEER, MANAGER, OWNER, POLICY_ID
from detector.standin.server import Server
from detector.standin.subscription import Subscription
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.standin import PagerDuty
from tests.kit.wait import HELD_UP_SECONDS, wait_until

KEY = "k" * 32
TOKEN = "rest-token"


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDuty]:
    """An account with one integration."""
    async with PagerDuty({"default": KEY}) as account:
        yield account


@pytest.fixture
async def rest(pagerduty: PagerDuty) -> AsyncIterator[PagerDutyRest]:
    """The adapter, with the token that the account takes."""
    adapter = PagerDutyRest(SecretStr(TOKEN), rest_url=pagerduty.url)
    yield adapter
    await adapter.close()


async def trigger(pagerduty: PagerDuty, *dedup_keys: str) -> None:
    """Open these alerts through the Events API."""
    for key in dedup_keys:
        event = {
            "routing_key": KEY,
            "event_action": "trigger",
            "dedup_key": key,
            "payload": {"summary": key, "source": "shop", "severity": "error"},
        }
        async with aiohttp.ClientSession() as session, session.post(pagerduty.events_url, json=event) as answer:
            assert answer.status == 202


async def test_an_incident_is_found_by_its_key_and_shows_who_acknowledged_it(pagerduty: PagerDuty, rest: PagerDutyRest) -> None:
    """From triggered to acknowledged to resolved, with the name of who did it; an unknown key or id is None."""
    await trigger(pagerduty, "a:1:default")
    found = await rest.find_by_key("a:1:default")
    assert found is not None
    assert (found.standing, found.policy, found.alert_count, found.merged) == (Standing.TRIGGERED, POLICY_ID, 1, False)
    pagerduty.acknowledge("a:1:default")
    seen = await rest.find_by_id(found.id)
    assert seen is not None
    assert (seen.standing, seen.by) == (Standing.ACKNOWLEDGED, "Erin Engineer")
    pagerduty.resolve("a:1:default", MANAGER)
    seen = await rest.find_by_id(found.id)
    assert seen is not None
    assert (seen.standing, seen.by) == (Standing.RESOLVED, "Mo Manager")
    assert await rest.find_by_key("nobody:1:default") is None
    assert await rest.find_by_id("PNOPE") is None
    assert await rest.read_alerts("PNOPE") == {}


async def test_grouped_alerts_are_read_by_their_keys(pagerduty: PagerDuty, rest: PagerDutyRest) -> None:
    """One incident, three alerts, more than a page of them too; the list of open incidents has it."""
    pagerduty.account.grouping = True
    keys = [f"i{number}:1:default" for number in range(3)]
    await trigger(pagerduty, *keys)
    (found,) = await rest.list_open()
    assert found.alert_count == 3
    assert await rest.read_alerts(found.id) == dict.fromkeys(keys, Standing.TRIGGERED)
    assert await rest.find_by_key(keys[1]) is None


async def test_who_is_on_call_comes_by_level(rest: PagerDutyRest) -> None:
    """Engineer at level 1, manager at level 2, with names and addresses."""
    on_call = await rest.find_on_call(POLICY_ID)
    assert {level: [person.name for person in people] for level, people in on_call.levels.items()} == {
        1: ["Erin Engineer"],
        2: ["Mo Manager"],
    }
    assert on_call.levels[1][0].email == ENGINEER.email
    assert await rest.find_person(OWNER.email.upper()) == Person(OWNER.id, OWNER.name, OWNER.email)
    assert await rest.find_person("olu@example.or") is None


async def test_people_are_asked_to_join_in_the_requesters_name(pagerduty: PagerDuty, rest: PagerDutyRest) -> None:
    """The From header and the requester are the same user; a stranger is refused for good, with PagerDuty's words."""
    await trigger(pagerduty, "a:1:default")
    found = await rest.find_by_key("a:1:default")
    assert found is not None
    requester, manager = await rest.find_person(ENGINEER.email), await rest.find_person(MANAGER.email)
    assert requester is not None
    assert manager is not None
    await rest.request_responders(found.id, requester, [manager], "high: shop fails")
    (request,) = pagerduty.account.responder_requests
    assert (request["requester_id"], request["message"]) == (ENGINEER.id, "high: shop fails")
    with pytest.raises(PermanentError, match="400: Requester User Not Found"):
        await rest.request_responders(found.id, Person("PX", "X", "x@example.org"), [manager], "m")


async def test_a_refused_token_is_a_setting_and_is_not_told(pagerduty: PagerDuty) -> None:
    """401 names the setting, and no part of the token."""
    rest = PagerDutyRest(SecretStr("secret-token-1234567890"), rest_url=pagerduty.url)
    with pytest.raises(SettingsError, match="DETECTOR_PAGERDUTY__API_TOKEN") as caught:
        await rest.find_by_key("a")
    assert_no_secret(["secret-token-1234567890", "567890"], str(caught.value))
    await rest.close()


async def test_nobody_there_is_temporary() -> None:
    """A refused connection comes out at once, without the vendor's pauses."""
    rest = PagerDutyRest(SecretStr(TOKEN), rest_url=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="cannot be reached: ConnectError"):
        await rest.find_by_key("a")
    assert time.monotonic() - began < HELD_UP_SECONDS
    await rest.close()


def serve(answer: web.Response | None, *, hold: asyncio.Event | None = None) -> Server:
    """A server that gives the same answer to everything; with `hold`, headers and then a byte at a time until it is set."""
    app = web.Application()

    async def reply(http: web.Request) -> web.StreamResponse:
        if answer is not None:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        stream = web.StreamResponse()
        await stream.prepare(http)
        assert hold is not None
        while not hold.is_set():
            await stream.write(b" ")
            await asyncio.sleep(0.05)
        return stream

    app.router.add_route("*", "/{path:.*}", reply)
    return Server(app)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (web.Response(status=429, headers={"Retry-After": "70"}), TemporaryError, "429"),
        (web.Response(status=503), TemporaryError, "503"),
        (web.Response(status=403, text='{"error": {"message": "Access Denied"}}'), SettingsError, "API_TOKEN"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), SettingsError, "302"),
        (web.Response(text="<html>proxy</html>"), SettingsError, "did not answer with JSON"),
        (web.Response(status=400, text='{"error": {"message": "Bad", "errors": ["key"]}}'), PermanentError, "400: Bad; key"),
    ],
    ids=["429", "503", "403", "302", "html", "400"],
)
async def test_every_other_answer_is_told_apart(answer: web.Response, kind: type[Exception], words: str) -> None:
    """At once, whatever the vendor's client would wait for; 429 carries its Retry-After."""
    async with serve(answer) as server:
        rest = PagerDutyRest(SecretStr(TOKEN), rest_url=server.url)
        began = time.monotonic()
        with pytest.raises(kind, match=words) as caught:
            await rest.find_by_key("a")
        assert type(caught.value) is kind
        if answer.status == 429:
            assert isinstance(caught.value, TemporaryError)
            assert caught.value.retry_after_seconds == 70.0
        assert time.monotonic() - began < HELD_UP_SECONDS
        await rest.close()


async def test_a_dripping_answer_ends_at_the_deadline_and_holds_no_more_than_a_few_threads() -> None:
    """Each read is in time and the whole never is: cut, refused while too many hang, and free again when they end."""
    hold = asyncio.Event()
    async with serve(None, hold=hold) as server:
        rest = PagerDutyRest(SecretStr(TOKEN), rest_url=server.url, deadline_seconds=0.5)
        for _ in range(MOST_ABANDONED + 2):
            began = time.monotonic()
            with pytest.raises(TemporaryError, match=r"no complete answer|still hang"):
                await rest.find_by_key("a")
            assert time.monotonic() - began < 0.5 + HELD_UP_SECONDS
        hung = [thread for thread in threading.enumerate() if thread.name == "pagerduty rest"]
        assert len(hung) <= MOST_ABANDONED
        assert all(thread.daemon for thread in hung)  # none holds the exit of the process
        hold.set()
        await wait_until(lambda: not any(thread.is_alive() for thread in hung), "the threads ended")
        await rest.close()


async def test_the_stand_in_drops_4xx_repeats_5xx_and_disables_after_three_drops() -> None:
    """As documented: a 4xx loses the event, a 5xx is tried again, three drops in a row end the subscription."""
    statuses = [503, 500, 202, 400, 400, 400, 202]
    app = web.Application()

    async def reply(_: web.Request) -> web.Response:
        return web.Response(status=statuses.pop(0))

    app.router.add_post("/", reply)
    async with Server(app) as server:
        subscription = Subscription(f"{server.url}/", ["one", "two"], retry_seconds=(0.01, 0.01))
        sent = [await subscription.send("incident.triggered", {}, None, 0.0) for _ in range(5)]
    assert sent == [True, False, False, False, False]
    assert subscription.answers == [503, 500, 202, 400, 400, 400]
    assert (len(subscription.dropped), subscription.enabled) == (3, False)
