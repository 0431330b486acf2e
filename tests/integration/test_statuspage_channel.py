"""The Statuspage channel against the stand-in that enforces the documented API, over real HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from detector.adapters.statuspage import AtlassianStatuspage
from detector.adapters.statuspage.account import read_retry_after
from detector.adapters.template import TemplateRenderer
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.standin.script import Reply, Step, fail, html_200, redirect_302
from detector.standin.statuspage import Statuspage
from detector.transport.exchange import Exchange
from tests.kit.delivery import OPENED, make_delivery
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector.ports.store import Delivery

PAGE, TOKEN = "qfn30z5r6s5h", "2a7b9d4aac30956d537ac76850f4d78d"
COMPONENTS = {"Checkout": "cmp000000001", "basket": "cmp000000002", "Search API": "cmp000000003"}
NOW = OPENED + 10


@pytest.fixture
async def page() -> AsyncIterator[Statuspage]:
    """A page with three components, on a clock that stands still."""
    async with Statuspage(PAGE, TOKEN, COMPONENTS, now=lambda: NOW) as account:
        yield account


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Connections of the test's own."""
    async with Exchange() as opened:
        yield opened


def make_channel(exchange: Exchange, page: Statuspage | str, *, page_id: str = PAGE, token: str = TOKEN, **options: Any) -> Any:
    """The channel to that page."""
    url = page if isinstance(page, str) else page.api_url
    return AtlassianStatuspage(exchange, page_id, SecretStr(token), TemplateRenderer(), api_url=url, **options)


def make_post(kind: NoticeKind = NoticeKind.TRIGGER, *, attempts: int = 0, **about: Any) -> Delivery:
    """A delivery of this channel; the key is the incident's id."""
    return replace(make_delivery(kind, key=about.pop("key", "abc"), route="", **about), channel="statuspage", attempts=attempts)


async def test_an_incident_from_open_over_a_relapse_to_resolved(page: Statuspage, exchange: Exchange) -> None:
    """One public incident all along: created, risen, updated by a human, resolved, opened again, resolved."""
    channel = make_channel(exchange, page)
    first = await channel.send(make_post(next_update=OPENED + 1800), now=NOW)
    (incident,) = page.incidents
    assert (incident.id, incident.name, incident.status, incident.impact) == (
        first.credential,
        "checkout, basket disrupted",
        "investigating",
        "major",
    )
    assert incident.metadata == {"detector": {"key": "abc", "notice": make_post().id}}
    assert set(incident.component_ids) == {"cmp000000001", "cmp000000002"}
    assert page.component_statuses["cmp000000001"] == "partial_outage"
    steps: list[tuple[NoticeKind, dict[str, Any]]] = [
        (NoticeKind.RISE, {"severity": Severity.CRITICAL}),
        (NoticeKind.UPDATE, {"message": "The payment provider fails.", "actor": "jane", "eta": "10 min", "state": "identified"}),
        (NoticeKind.RESOLVE, {"resolved": OPENED + 600, "state": "resolved", "root_cause": "a full disk"}),
        (NoticeKind.RELAPSE, {"severity": Severity.CRITICAL}),
        (NoticeKind.RESOLVE, {"resolved": OPENED + 1200, "state": "resolved"}),
    ]
    for sequence, (kind, about) in enumerate(steps, start=2):
        receipt = await channel.send(make_post(kind, sequence=sequence, credential=first.credential, **about), now=NOW)
        assert (receipt.credential, receipt.note) == (first.credential, "")
        if kind is NoticeKind.RISE:
            assert (incident.impact, page.component_statuses["cmp000000001"]) == ("critical", "major_outage")
    assert [(update.status, update.body) for update in incident.updates] == [
        ("investigating", "checkout, basket disrupted. We are investigating. Next update by 22:43 UTC."),
        ("investigating", "The impact has grown: checkout, basket down. We are investigating."),
        ("identified", "The payment provider fails. ETA: 10 min."),
        ("resolved", "Incident resolved at 2023-11-14 22:23 UTC, root cause: a full disk."),
        ("investigating", "checkout, basket down again. We are investigating."),
        ("resolved", "Incident resolved at 2023-11-14 22:33 UTC."),
    ]
    assert all(update.notified for update in incident.updates)
    assert (len(page.incidents), page.unresolved()) == (1, [])
    assert set(page.component_statuses.values()) == {"operational"}
    assert all(call.status in {200, 201} for call in page.calls)


@pytest.mark.parametrize("kind", list(NoticeKind))
async def test_customers_read_nothing_of_the_inside(page: Statuspage, exchange: Exchange, kind: NoticeKind) -> None:
    """No label, host name, link, value, rule, person or unlisted service of any notice leaves the house."""
    facts: dict[str, Any] = {
        "title": "checkout on db-7.prod.internal fails",
        "labels": {"instance": "10.1.2.3:9100", "pod": "checkout-5f7"},
        "message": "db-7.prod.internal lost its disk, see https://wiki.internal/x",
        "actor": "jane.doe",
        "acknowledged_by": "jane.doe",
        "services": ["checkout", "billing-postgres"],
        "root_cause": "the disk of 10.1.2.3:9100",
    }
    channel = make_channel(exchange, page)
    first = await channel.send(make_post(), now=NOW)
    await channel.send(make_post(kind, sequence=2, credential=first.credential, **facts), now=NOW)
    sent = [repr(call.body) for call in page.calls]
    for inside in ("internal", "10.1.2.3", "5f7", "https", "jane", "postgres", "error_rate", "10.2", "http-errors", "{{"):
        assert [body for body in sent if inside in body] == []


async def test_a_summon_is_no_call_at_all(page: Statuspage, exchange: Exchange) -> None:
    """Who is called in is nothing for the public; the credential stays."""
    receipt = await make_channel(exchange, page).send(make_post(NoticeKind.SUMMON, credential="inc000000001"), now=NOW)
    assert (receipt.credential, page.calls) == ("inc000000001", [])


@pytest.mark.parametrize("end", ["hang", "close", "reset"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_create_of_unknown_result_makes_one_incident(
    page: Statuspage, exchange: Exchange, end: Any, *, restarted: bool
) -> None:
    """The answer was lost: before it is repeated, also by a new process, the page is asked, and the incident found by its mark."""
    page.play(Step(reply=Reply(end=end, applied=True), path="incidents"))
    channel = make_channel(exchange, page, deadline_seconds=BRIEF_SECONDS)
    with pytest.raises(TemporaryError) as caught:
        await channel.send(make_post(), now=NOW)
    assert caught.value.attempted
    if restarted:
        channel = make_channel(exchange, page)
    receipt = await channel.send(make_post(attempts=1 if restarted else 0), now=NOW)
    (incident,) = page.incidents
    assert (receipt.credential, receipt.note) == (incident.id, "stood on the page already")
    assert len(incident.updates) == 1


async def test_a_create_that_surely_failed_is_repeated(page: Statuspage, exchange: Exchange) -> None:
    """Lost before it took effect: the look finds nothing, and the incident is made."""
    page.play(Step(reply=Reply(end="close"), path="incidents"))
    channel = make_channel(exchange, page)
    with pytest.raises(TemporaryError):
        await channel.send(make_post(), now=NOW)
    await channel.send(make_post(), now=NOW)
    assert len(page.incidents) == 1


async def test_an_update_of_unknown_result_is_posted_once(page: Statuspage, exchange: Exchange) -> None:
    """A lost answer to an update does not tell customers the same thing twice."""
    channel = make_channel(exchange, page, deadline_seconds=BRIEF_SECONDS)
    first = await channel.send(make_post(), now=NOW)
    page.play(Step(reply=Reply(end="hang", applied=True), action="PATCH"))
    rise = make_post(NoticeKind.RISE, sequence=2, credential=first.credential)
    with pytest.raises(TemporaryError):
        await channel.send(rise, now=NOW)
    assert (await channel.send(rise, now=NOW)).note == "stood on the page already"
    assert len(page.incidents[0].updates) == 2


@pytest.mark.parametrize("lost", [False, True])
async def test_a_relapse_where_the_page_opens_nothing_again_makes_a_new_incident(exchange: Exchange, *, lost: bool) -> None:
    """Refused, the relapse becomes a new public incident, one, whose id is the credential from then on."""
    async with Statuspage(PAGE, TOKEN, COMPONENTS, reopens=False, now=lambda: NOW) as page:
        channel = make_channel(exchange, page, deadline_seconds=BRIEF_SECONDS)
        first = await channel.send(make_post(), now=NOW)
        await channel.send(make_post(NoticeKind.RESOLVE, sequence=2, credential=first.credential), now=NOW)
        relapse = make_post(NoticeKind.RELAPSE, sequence=3, credential=first.credential)
        if lost:
            page.play(Step(reply=Reply(end="hang", applied=True), action="POST"))
            with pytest.raises(TemporaryError):
                await channel.send(relapse, now=NOW)
        receipt = await channel.send(relapse, now=NOW)
        assert len(page.incidents) == 2
        assert receipt.credential == page.incidents[1].id
        assert receipt.note == (
            "stood on the page already" if lost else "the former incident could not be opened again: a new one was made"
        )
        assert [incident.status for incident in page.incidents] == ["resolved", "investigating"]


async def test_without_a_credential_the_incident_is_found_by_its_mark(page: Statuspage, exchange: Exchange) -> None:
    """The store lost the id: the end still reaches the right one of several incidents; one that never was is no call to make it."""
    channel = make_channel(exchange, page)
    for key in ("abc", "def"):
        await channel.send(make_post(key=key, incident=key), now=NOW)
    receipt = await channel.send(make_post(NoticeKind.RESOLVE, key="def", incident="def"), now=NOW)
    assert receipt.credential == page.incidents[1].id
    assert [incident.status for incident in page.incidents] == ["investigating", "resolved"]
    receipt = await channel.send(make_post(NoticeKind.RESOLVE, key="ghi", incident="ghi"), now=NOW)
    assert (receipt.note, len(page.incidents)) == ("never stood on the page", 2)


async def test_the_close_of_a_resolved_incident_says_nothing_again(page: Statuspage, exchange: Exchange) -> None:
    """Resolved was said; after a resolve that was still monitored, the close says it."""
    channel = make_channel(exchange, page)
    first = await channel.send(make_post(), now=NOW)
    await channel.send(make_post(NoticeKind.RESOLVE, sequence=2, credential=first.credential, state="monitoring"), now=NOW)
    assert page.incidents[0].status == "monitoring"
    for sequence in (3, 4):
        await channel.send(make_post(NoticeKind.CLOSE, sequence=sequence, credential=first.credential), now=NOW)
    assert [update.status for update in page.incidents[0].updates] == ["investigating", "monitoring", "resolved"]


async def test_a_component_is_well_again_only_when_no_incident_holds_it(page: Statuspage, exchange: Exchange) -> None:
    """Two incidents of one service: the end of the first leaves the component as it is, the end of the second heals it."""
    channel = make_channel(exchange, page)
    for key in ("abc", "def"):
        await channel.send(make_post(key=key), now=NOW)
    statuses = []
    for key in ("abc", "def"):
        end = make_post(NoticeKind.RESOLVE, key=key, sequence=2, resolved=OPENED + 600, state="resolved")
        await channel.send(end, now=NOW)
        statuses.append(page.component_statuses["cmp000000001"])
    assert [incident.status for incident in page.incidents] == ["resolved", "resolved"]
    assert statuses == ["partial_outage", "operational"]


async def test_incidents_that_end_together_heal_their_component(page: Statuspage, exchange: Exchange) -> None:
    """Each looks at the page before it says that the component is well: not while the other is about to end as well."""
    channel = make_channel(exchange, page)
    keys = ("abc", "def")
    for key in keys:
        await channel.send(make_post(key=key), now=NOW)
    ends = [make_post(NoticeKind.RESOLVE, key=key, sequence=2, resolved=OPENED + 600, state="resolved") for key in keys]
    await asyncio.gather(*(channel.send(end, now=NOW) for end in ends))
    assert page.component_statuses["cmp000000001"] == "operational"


async def test_an_incident_that_somebody_removed_is_not_posted_again(page: Statuspage, exchange: Exchange) -> None:
    """404 for the incident but not for the page: accepted with a note; a relapse makes a new one."""
    channel = make_channel(exchange, page)
    first = await channel.send(make_post(), now=NOW)
    page.incidents.clear()
    receipt = await channel.send(make_post(NoticeKind.UPDATE, sequence=2, credential=first.credential), now=NOW)
    assert "removed from the page by somebody" in receipt.note
    assert page.incidents == []
    receipt = await channel.send(make_post(NoticeKind.RELAPSE, sequence=3, credential=first.credential), now=NOW)
    assert receipt.note == "the former incident is gone: a new one was made"
    assert len(page.incidents) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "words", "attempted"),
    [
        (Reply(status=401), SettingsError, "401: check DETECTOR_STATUSPAGE__TOKEN", False),
        (Reply(status=403), SettingsError, "403", False),
        (Reply(status=404), SettingsError, "404: check DETECTOR_STATUSPAGE__PAGE_ID", False),
        (Reply(status=405), SettingsError, "405", False),
        (Reply(status=420), TemporaryError, "420", False),
        (Reply(status=429), TemporaryError, "429", False),
        (Reply(status=500), TemporaryError, "500", True),
        (Reply(status=503), TemporaryError, "503", True),
        (html_200(), SettingsError, "without JSON", True),
        (Reply(status=200, body="{}"), SettingsError, "without an incident id", True),
        (redirect_302("http://127.0.0.1:1/"), SettingsError, "302", True),
        (Reply(end="hang"), TemporaryError, "no complete answer within 1.5 s", True),
    ],
)
async def test_every_other_answer_has_its_consequence(
    page: Statuspage, exchange: Exchange, reply: Reply, kind: type[OutsideError], words: str, *, attempted: bool
) -> None:
    """Settings faults and passing ones are told apart, attempts are known, and the token shows in no text."""
    page.play(Step(reply=reply, requests=None, path="incidents"))
    channel = make_channel(exchange, page, deadline_seconds=BRIEF_SECONDS if reply.end == "hang" else PATIENCE_SECONDS)
    with pytest.raises(OutsideError) as caught:
        await channel.send(make_post(), now=NOW)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert isinstance(caught.value, TemporaryError)
    assert caught.value.attempted is attempted
    assert_no_secret([TOKEN], str(caught.value), repr(caught.value), repr(channel), repr(channel._account))


@pytest.mark.parametrize("status", [400, 422])
async def test_refused_once_takes_the_least_form(page: Statuspage, exchange: Exchange, status: int) -> None:
    """Name, status, text and mark go alone the second time, for a new incident and for an update; the note says what was lost."""
    channel = make_channel(exchange, page)
    page.play(Step(reply=Reply(status=status, body=f'{{"error": "no {TOKEN}"}}'), path="incidents"))
    receipt = await channel.send(make_post(), now=NOW)
    assert "took its least form" in receipt.note
    assert_no_secret([TOKEN], receipt.note)
    assert set(page.calls[-1].body["incident"]) == {"name", "status", "body", "metadata"}
    page.play(fail(status, requests=1))
    receipt = await channel.send(make_post(NoticeKind.RISE, sequence=2, credential=receipt.credential), now=NOW)
    assert "took its least form" in receipt.note
    assert len(page.incidents[0].updates) == 2


async def test_refused_twice_is_rejected(page: Statuspage, exchange: Exchange) -> None:
    """Two refusals are the end of this notice; the reason is quoted without the token."""
    page.play(Step(reply=Reply(status=422, body=f"no {TOKEN}"), requests=2, path="incidents"))
    with pytest.raises(PermanentError, match="least form too: no <token>") as caught:
        await make_channel(exchange, page).send(make_post(), now=NOW)
    assert_no_secret([TOKEN], str(caught.value))


@pytest.mark.parametrize("limit_status", [420, 429])
async def test_the_vendors_rate_limit_hands_its_time_on(exchange: Exchange, limit_status: int) -> None:
    """Beyond 60 calls a minute by whoever shares the token: come back in a minute, nothing was attempted."""
    async with Statuspage(PAGE, TOKEN, COMPONENTS, limit_status=limit_status, now=lambda: NOW) as page:
        for _ in range(60):
            page._window.admit(TOKEN, NOW)
        with pytest.raises(TemporaryError, match=str(limit_status)) as caught:
            await make_channel(exchange, page).send(make_post(), now=NOW)
    assert (caught.value.retry_after_seconds, caught.value.attempted) == (60.0, False)


async def test_our_own_rate_stays_below_the_vendors(exchange: Exchange) -> None:
    """A storm of incidents on a moving clock: never 429, because we hold back first, and every incident gets through."""
    clock = [NOW]
    async with Statuspage(PAGE, TOKEN, COMPONENTS, now=lambda: clock[0]) as page:
        channel = make_channel(exchange, page)
        held = 0
        for number in range(70):
            while True:
                try:
                    await channel.send(make_post(key=f"i{number}", incident=f"i{number}"), now=clock[0])
                except ThrottledError as error:
                    held += 1
                    clock[0] += error.retry_after_seconds or 0.0
                else:
                    break
        assert held > 0
        assert {call.status for call in page.calls} == {200, 201}
        assert len(page.incidents) == 70


async def test_components_are_asked_for_once_in_ten_minutes_and_by_page(page: Statuspage, exchange: Exchange) -> None:
    """The list is kept; after ten minutes it is read anew, so that a new component is found."""
    channel = make_channel(exchange, page)
    for number in range(3):
        await channel.send(make_post(key=f"i{number}", incident=f"i{number}", service="search_api", services=[]), now=NOW)
    assert [call.path for call in page.calls].count("components") == 1
    assert page.incidents[0].component_ids == ["cmp000000003"]
    await channel.send(make_post(key="late", incident="late"), now=NOW + 601)
    assert [call.path for call in page.calls].count("components") == 2


async def test_a_page_without_components_names_the_services(exchange: Exchange) -> None:
    """No component to choose from: the catalogue's names are used, and nothing else is sent about components."""
    async with Statuspage(PAGE, TOKEN, now=lambda: NOW) as page:
        await make_channel(exchange, page).send(make_post(), now=NOW)
    assert page.incidents[0].name == "checkout, basket disrupted"
    assert "components" not in page.calls[-1].body["incident"]


async def test_a_service_that_is_no_component_stays_unnamed(page: Statuspage, exchange: Exchange) -> None:
    """Inner services are nobody's business where the page lists what customers know."""
    await make_channel(exchange, page).send(make_post(service="postgres", services=["postgres"]), now=NOW)
    assert page.incidents[0].name == "our services disrupted"


HOSTILE = "x\r\n\x00<script>{{7*7}}<!channel>\u2028\ud800" + "🔥" * 30_000


async def test_hostile_values_fit_the_vendors_rules(page: Statuspage, exchange: Exchange) -> None:
    """NUL, CRLF, half surrogates and 600 KB in every fact: accepted at once, template signs inert."""
    facts = {"service": HOSTILE, "services": [HOSTILE] * 50, "labels": {HOSTILE: HOSTILE}, "eta": HOSTILE, "title": HOSTILE}
    about: dict[str, Any] = {"message": HOSTILE, "actor": "jane", "incident": HOSTILE, **facts}
    async with Statuspage(PAGE, TOKEN, now=lambda: NOW) as bare:
        for account in (page, bare):
            receipt = await make_channel(exchange, account).send(make_post(NoticeKind.UPDATE, **about), now=NOW)
            assert receipt.note == ""
            assert {call.status for call in account.calls} <= {200, 201}
            (incident,) = account.incidents
            assert "{{7*7}}" in incident.updates[0].body
            assert "\n" not in incident.name
            assert len(incident.name) <= 180


async def test_a_credential_that_is_no_id_is_never_part_of_an_address(page: Statuspage, exchange: Exchange) -> None:
    """A path in place of the id is treated as an incident that is gone."""
    receipt = await make_channel(exchange, page).send(make_post(NoticeKind.UPDATE, credential="../../x?y#"), now=NOW)
    assert "removed from the page" in receipt.note
    assert all(".." not in call.path for call in page.calls)


async def test_wrong_page_and_wrong_token(page: Statuspage, exchange: Exchange) -> None:
    """Each names its setting."""
    with pytest.raises(SettingsError, match="PAGE_ID"):
        await make_channel(exchange, page, page_id="other").send(make_post(), now=NOW)
    with pytest.raises(SettingsError, match="TOKEN"):
        await make_channel(exchange, page, token="wrong").send(make_post(), now=NOW)
    with pytest.raises(SettingsError, match="header values"):
        await make_channel(exchange, page, token="a\r\nb").send(make_post(), now=NOW)


async def test_nothing_listens(exchange: Exchange) -> None:
    """A refused connection is worth another try and was no attempt."""
    with pytest.raises(TemporaryError, match="cannot connect") as caught:
        await make_channel(exchange, f"http://127.0.0.1:{free_port()}/v1").send(make_post(), now=NOW)
    assert not caught.value.attempted


async def test_own_templates_override_and_failing_ones_do_not_reach_customers(page: Statuspage, exchange: Exchange) -> None:
    """A template of the settings is used; one that fails gives way to the shipped one."""
    templates = {"name": "Trouble with {{ services }}", "trigger": "{{ nothing.at.all }}"}
    await make_channel(exchange, page, templates=templates).send(make_post(), now=NOW)
    (incident,) = page.incidents
    assert incident.name == "Trouble with checkout, basket"
    assert incident.updates[0].body == "checkout, basket disrupted. We are investigating."


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("-3", 0.0), ("86400", 300.0), ("inf", 300.0), ("nan", None), ("soon", None), (None, None)]
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """Read as seconds, capped at five minutes, ignored where it is no number."""
    assert read_retry_after(text) == seconds
