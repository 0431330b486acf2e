"""The PagerDuty stand-in enforces the documented contract: if it were lax, every test that leans on it would prove less."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from detector.standin.event import MAX_EVENT_BYTES
from tests.kit.standin import DropReason, End, PagerDuty, Reply, Status, Step, fail, html_200, redirect_302
from tests.kit.wait import BRIEF_SECONDS

KEY = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
KEYS = {"default": KEY, "payments": OTHER}


def event(action: str = "trigger", *, key: str = KEY, dedup: str | None = "inc-1:1:default", **payload: object) -> dict[str, Any]:
    """A small valid event; `payload` overrides fields of its payload."""
    built: dict[str, Any] = {"routing_key": key, "event_action": action}
    if dedup is not None:
        built["dedup_key"] = dedup
    if action == "trigger":
        built["payload"] = {"summary": "checkout fails", "source": "detector", "severity": "error"} | payload
    return built


async def post(pagerduty: PagerDuty, sent: dict[str, Any] | bytes) -> tuple[int, dict[str, Any]]:
    """Send one event; returns the status and the JSON answer."""
    async with aiohttp.ClientSession() as session:
        body = {"data": sent} if isinstance(sent, bytes) else {"json": sent}
        async with session.post(pagerduty.events_url, **body) as answer:
            return answer.status, await answer.json()


async def test_trigger_is_accepted_with_the_documented_answer() -> None:
    """A valid trigger is answered 202 with its dedup key, and opens one alert."""
    async with PagerDuty(KEYS) as pagerduty:
        status, answer = await post(pagerduty, event())
    assert (status, answer) == (
        202,
        {"status": "success", "message": "Event processed", "dedup_key": "inc-1:1:default"},
    )
    (alert,) = pagerduty.open_alerts()
    assert (alert.severity, alert.status, alert.summary) == ("error", Status.TRIGGERED, "checkout fails")


async def test_full_event_is_accepted() -> None:
    """Every documented field together passes, and a key the documentation does not name is ignored but recorded."""
    full = event(timestamp="2015-07-17T08:42:58.315+0000", component="c", group="g", custom_details={"a": 1})
    full["payload"]["class"] = "k"
    full |= {
        "images": [{"src": "https://example.com/a.png", "href": "https://example.com", "alt": "a"}],
        "links": [{"href": "https://example.com", "text": "runbook"}],
        "client": "detector",
        "client_url": "https://example.com",
        "surprise": 1,
    }
    async with PagerDuty(KEYS) as pagerduty:
        assert (await post(pagerduty, full))[0] == 202
    assert pagerduty.requests[0].unknown_keys == ("surprise",)


def without(key: str) -> dict[str, Any]:
    """A trigger whose payload lacks one field."""
    built = event()
    del built["payload"][key]
    return built


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (event(key="short"), "Length of 'routing_key' is incorrect (should be 32 characters)"),
        (event(key="x" * 32), "'routing_key' belongs to no integration"),
        (event() | {"routing_key": None}, "'routing_key' is missing or blank"),
        (event() | {"event_action": "open"}, "'event_action' is missing or invalid"),
        (event(dedup="d" * 256), "'dedup_key' is too long (maximum is 255 characters)"),
        (event() | {"dedup_key": 7}, "'dedup_key' is not a string"),
        (event("resolve", dedup=None), "'dedup_key' is missing or blank"),
        (event("acknowledge", dedup=None), "'dedup_key' is missing or blank"),
        (event() | {"payload": None}, "'payload' is missing or is not an object"),
        (without("summary"), "'payload.summary' is missing or blank"),
        (without("source"), "'payload.source' is missing or blank"),
        (without("severity"), "'payload.severity' is invalid"),
        (event(severity="high"), "'payload.severity' is invalid"),
        (event(summary="s" * 1025), "'summary' is too long (maximum is 1024 characters)"),
        (event(timestamp="yesterday"), "'payload.timestamp' is not an ISO 8601 date and time"),
        (event(timestamp=1763880000), "'payload.timestamp' is not an ISO 8601 date and time"),
        (event(component=3), "'payload.component' is not a string"),
        (event(custom_details="text"), "'payload.custom_details' is not an object"),
        (event() | {"links": {"href": "https://example.com"}}, "'links' is not an array"),
        (event() | {"links": [{"text": "runbook"}]}, "'links[0]' has no 'href'"),
        (event() | {"images": [{"src": "http://example.com/a.png"}]}, "'images[0]' has no 'src' served via HTTPS"),
        (event() | {"images": ["a.png"]}, "'images[0]' is not an object"),
        (event() | {"client": 1}, "'client' is not a string"),
        (b"{", "Body is not valid JSON"),
        (b"\xff", "Body is not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": "\\ud800"}', "Body is not valid JSON"),
        (b"[]", "Body is not a JSON object"),
    ],
)
async def test_broken_rule_is_refused_and_named(sent: dict[str, Any] | bytes, named: str) -> None:
    """Each documented rule, broken, is answered 400 'invalid event' with that rule in `errors`, and opens nothing."""
    async with PagerDuty(KEYS) as pagerduty:
        status, answer = await post(pagerduty, sent)
    assert (status, answer["status"], answer["message"]) == (400, "invalid event", "Event object is invalid")
    assert any(named in each for each in answer["errors"]), answer["errors"]
    assert pagerduty.alerts() == ()


@pytest.mark.parametrize(
    "sent",
    [
        event(dedup="d" * 255),
        event(summary="é" * 1024),
        event("resolve") | {"payload": {"summary": "over"}},
    ],
)
async def test_value_at_its_limit_is_accepted(sent: dict[str, Any]) -> None:
    """255 characters of dedup key, 1024 characters (not bytes) of summary and a partial payload in a resolve pass."""
    async with PagerDuty(KEYS) as pagerduty:
        assert (await post(pagerduty, sent))[0] == 202


async def test_event_over_512_kb_is_refused() -> None:
    """One byte over the limit is answered 400; exactly the limit passes."""
    empty = len(json.dumps(event(custom_details={"pad": ""})))
    exact = event(custom_details={"pad": "x" * (MAX_EVENT_BYTES - empty)})
    over = event(custom_details={"pad": "x" * (MAX_EVENT_BYTES - empty + 1)})
    async with PagerDuty(KEYS) as pagerduty:
        assert (await post(pagerduty, exact))[0] == 202
        status, answer = await post(pagerduty, over)
    assert status == 400
    assert "too large" in answer["errors"][0]


async def test_missing_dedup_key_is_invented_every_time() -> None:
    """Two triggers without a key open two alerts under two invented keys."""
    async with PagerDuty(KEYS) as pagerduty:
        first = (await post(pagerduty, event(dedup=None)))[1]["dedup_key"]
        second = (await post(pagerduty, event(dedup=None)))[1]["dedup_key"]
    assert first != second
    assert [alert.invented_key for alert in pagerduty.alerts()] == [True, True]


async def test_trigger_on_an_open_key_adds_a_log_line() -> None:
    """A second trigger on an open key opens nothing new; severity now changes, severity at open stays."""
    async with PagerDuty(KEYS) as pagerduty:
        await post(pagerduty, event(severity="warning"))
        await post(pagerduty, event(severity="critical"))
    (alert,) = pagerduty.alerts()
    assert (alert.severity_at_open, alert.severity, len(alert.log)) == ("warning", "critical", 2)
    assert pagerduty.duplicates() == ()


async def test_trigger_after_resolve_opens_a_second_alert() -> None:
    """A resolved alert does not reopen: a later trigger is a second alert, and shows among the duplicates."""
    async with PagerDuty(KEYS) as pagerduty:
        for action in ("trigger", "resolve", "trigger"):
            await post(pagerduty, event(action))
    assert [alert.status for alert in pagerduty.alerts_for("inc-1")] == [Status.RESOLVED, Status.TRIGGERED]
    (duplicate,) = pagerduty.duplicates()
    assert (duplicate.dedup_key, duplicate.alerts) == ("inc-1:1:default", 2)


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_event_without_an_open_alert_is_dropped_silently(action: str) -> None:
    """An acknowledge or resolve of a key that nobody opened is answered 202 and changes nothing."""
    async with PagerDuty(KEYS) as pagerduty:
        assert (await post(pagerduty, event(action)))[0] == 202
    (drop,) = pagerduty.drops()
    assert (drop.action, drop.reason) == (action, DropReason.NO_OPEN_ALERT)
    assert pagerduty.alerts() == ()


async def test_resolve_through_another_routing_key_is_dropped_silently() -> None:
    """Only the routing key that opened an alert resolves it."""
    async with PagerDuty(KEYS) as pagerduty:
        await post(pagerduty, event())
        assert (await post(pagerduty, event("resolve", key=OTHER)))[0] == 202
        assert [drop.reason for drop in pagerduty.drops()] == [DropReason.OTHER_ROUTING_KEY]
        assert len(pagerduty.open_alerts()) == 1
        await post(pagerduty, event("resolve"))
        assert pagerduty.open_alerts() == ()


async def test_acknowledged_alert_stays_acknowledged_through_further_triggers() -> None:
    """After an acknowledge another trigger is a log line, and the alert remains acknowledged until its resolve."""
    async with PagerDuty(KEYS) as pagerduty:
        for action in ("trigger", "acknowledge", "trigger"):
            await post(pagerduty, event(action))
    (alert,) = pagerduty.open_alerts()
    assert (alert.status, alert.acknowledged, len(alert.log)) == (Status.ACKNOWLEDGED, True, 3)


async def test_calls_above_the_limit_are_throttled_per_key_and_window() -> None:
    """The 121st call in 60 s is answered 429; another key is not touched; the window slides."""
    moments = [1000.0]
    async with PagerDuty(KEYS, now=lambda: moments[-1]) as pagerduty:
        async with aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(121):
                async with session.post(pagerduty.events_url, json=event()) as answer:
                    statuses.append(answer.status)
        assert statuses == [202] * 120 + [429]
        assert (await post(pagerduty, event(key=OTHER)))[0] == 202
        moments.append(1059.9)
        assert (await post(pagerduty, event()))[0] == 429
        moments.append(1060.0)
        assert (await post(pagerduty, event()))[0] == 202


async def test_throttle_names_retry_after_only_when_told_to() -> None:
    """Retry-After is not documented with this 429, so it is sent only where a test asks for it."""
    for asked, sent in ((7200, "7200"), (None, None)):
        async with (
            PagerDuty(KEYS, calls_per_window=0, retry_after_seconds=asked) as pagerduty,
            aiohttp.ClientSession() as session,
            session.post(pagerduty.events_url, json=event()) as answer,
        ):
            assert (answer.status, answer.headers.get("Retry-After")) == (429, sent)


async def test_requests_are_recorded_raw_with_the_status_they_got() -> None:
    """Time, headers, body and answered status of every request are kept, refused ones too."""
    async with PagerDuty(KEYS, now=lambda: 1000.0) as pagerduty:
        await post(pagerduty, event())
        await post(pagerduty, b"{")
    first, second = pagerduty.requests
    assert (first.at, first.path, first.status, second.status) == (1000.0, "/v2/enqueue", 202, 400)
    assert first.headers["Content-Type"] == "application/json"
    assert second.body == "{"


async def test_failure_for_some_requests_then_the_honest_answer() -> None:
    """`fail(503, requests=2)` answers 503 twice without effect; the third request opens the alert."""
    async with PagerDuty(KEYS) as pagerduty, aiohttp.ClientSession() as session:
        pagerduty.play(fail(503, requests=2))
        statuses = []
        for _ in range(3):
            async with session.post(pagerduty.events_url, json=event()) as answer:
                statuses.append(answer.status)
    assert statuses == [503, 503, 202]
    (alert,) = pagerduty.alerts()
    assert len(alert.log) == 1


async def test_failure_for_some_seconds() -> None:
    """`fail(500, seconds=60)` fails everything for a minute of the injected clock, and nothing after it."""
    moments = [1000.0]
    async with PagerDuty(KEYS, now=lambda: moments[-1]) as pagerduty, aiohttp.ClientSession() as session:
        pagerduty.play(fail(500, seconds=60))
        statuses = []
        for moment in (1000.0, 1059.0, 1060.0):
            moments.append(moment)
            async with session.post(pagerduty.events_url, json=event()) as answer:
                statuses.append(answer.status)
    assert statuses == [500, 500, 202]


async def test_step_for_one_key_and_action_leaves_the_others_alone() -> None:
    """A step may be bound to a routing key and an action."""
    async with PagerDuty(KEYS) as pagerduty, aiohttp.ClientSession() as session:
        pagerduty.play(Step(reply=Reply(status=401), requests=None, routing_key=OTHER, action="trigger"))
        statuses = []
        for sent in (event(), event(key=OTHER), event("resolve", key=OTHER)):
            async with session.post(pagerduty.events_url, json=sent) as answer:
                statuses.append(answer.status)
    assert statuses == [202, 401, 202]


async def test_html_and_redirect_are_answered_as_scripted() -> None:
    """A login page with 200 and a 302 arrive as a proxy would send them, and have no effect."""
    async with PagerDuty(KEYS) as pagerduty, aiohttp.ClientSession() as session:
        pagerduty.play(Step(reply=html_200()), Step(reply=redirect_302("https://example.com/")))
        async with session.post(pagerduty.events_url, json=event()) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        async with session.post(pagerduty.events_url, json=event(), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "https://example.com/")
    assert pagerduty.alerts() == ()


@pytest.mark.parametrize("applied", [True, False])
async def test_hang_after_accept(*, applied: bool) -> None:
    """A hanging request is recorded with no status; `applied` says whether it took effect: the caller cannot know."""
    async with PagerDuty(KEYS) as pagerduty:
        pagerduty.play(Step(reply=Reply(end="hang", applied=applied)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(BRIEF_SECONDS):
                await post(pagerduty, event())
    assert [request.status for request in pagerduty.requests] == [None]
    assert len(pagerduty.alerts()) == int(applied)


@pytest.mark.parametrize(
    ("end", "error"),
    [("reset", aiohttp.ClientOSError), ("close", aiohttp.ServerDisconnectedError)],
)
async def test_connection_is_cut(end: End, error: type[Exception]) -> None:
    """RST and FIN reach the caller as what they are, with the event applied where the script says so."""
    async with PagerDuty(KEYS) as pagerduty:
        pagerduty.play(Step(reply=Reply(end=end, applied=True)))
        with pytest.raises(error):
            await post(pagerduty, event())
    assert len(pagerduty.open_alerts()) == 1


async def test_delayed_answer_is_honest() -> None:
    """A delay alone changes nothing but the time: the event takes effect before the answer."""
    async with PagerDuty(KEYS) as pagerduty:
        pagerduty.play(Step(reply=Reply(delay_seconds=BRIEF_SECONDS)))
        sending = asyncio.create_task(post(pagerduty, event()))
        await pagerduty.wait_for(lambda account: len(account.alerts()) == 1)
        assert not sending.done()
        assert (await sending)[0] == 202


async def test_another_process_can_look_and_script() -> None:
    """GET /alerts, /requests and /drops show the account as JSON; POST /script scripts it, and names what is wrong."""
    async with PagerDuty(KEYS) as pagerduty, aiohttp.ClientSession(pagerduty.url) as session:
        await session.post("/script", json=[{"reply": {"status": 500}, "requests": 1}])
        for sent in (event(), event(), event("resolve"), event("resolve")):
            await session.post("/v2/enqueue", json=sent)
        (alert,) = await (await session.get("/alerts")).json()
        assert (alert["dedup_key"], alert["open"], alert["severity"]) == ("inc-1:1:default", False, "error")
        assert await (await session.get("/alerts?open")).json() == []
        requests = await (await session.get("/requests")).json()
        assert [each["status"] for each in requests] == [500, 202, 202, 202]
        assert [each["reason"] for each in await (await session.get("/drops")).json()] == ["no open alert"]
        wrong = await session.post("/script", json=[{"reply": {"state": 500}}])
        assert (wrong.status, "state" in (await wrong.json())["error"]) == (400, True)
        await session.post("/script", json=[{"reply": {"status": 500}, "requests": None}])
        await session.delete("/script")
        assert (await session.post("/v2/enqueue", json=event())).status == 202
