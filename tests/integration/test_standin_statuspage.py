"""The Statuspage stand-in enforces the documented rules: if it were lax, every test that leans on it would prove less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from detector.standin.script import fail
from detector.standin.statuspage import Statuspage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE, TOKEN = "qfn30z5r6s5h", "2a7b9d4aac30956d537ac76850f4d78d"
GOOD = {"name": "checkout down", "status": "investigating", "body": "We look into it.", "components": {"cmp1": "major_outage"}}


@pytest.fixture
async def page() -> AsyncIterator[Statuspage]:
    """A page with one component."""
    async with Statuspage(PAGE, TOKEN, {"checkout": "cmp1"}) as account:
        yield account


async def call(page: Statuspage, method: str, path: str, incident: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
    """One call; returns status and JSON."""
    body: dict[str, Any] = {} if incident is None else {"json": {"incident": incident}}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"OAuth {token}"}) as session,
        session.request(method, f"{page.api_url}/pages/{path}", **body) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_an_incident_is_created_changed_and_listed(page: Statuspage) -> None:
    """201 with an id, 200 for a change, unresolved ones listed; a component follows; quiet updates are known."""
    status, made = await call(page, "POST", f"{PAGE}/incidents", GOOD)
    assert (status, made["status"]) == (201, "investigating")
    assert page.component_statuses == {"cmp1": "major_outage"}
    assert (await call(page, "GET", f"{PAGE}/incidents/unresolved"))[1] == [made]
    change = {"status": "resolved", "body": "Done.", "deliver_notifications": False, "components": {"cmp1": "operational"}}
    assert (await call(page, "PATCH", f"{PAGE}/incidents/{made['id']}", change))[0] == 200
    assert (await call(page, "GET", f"{PAGE}/incidents/unresolved"))[1] == []
    assert (await call(page, "GET", f"{PAGE}/incidents/{made['id']}"))[1]["incident_updates"][0]["body"] == "Done."
    assert [update.notified for update in page.incidents[0].updates] == [True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "Name can't be blank"),
        ({"name": "n" * 256}, "name is too long"),
        ({"status": "open"}, "status is not included in the list"),
        ({"impact_override": "high"}, "impact_override is not included in the list"),
        ({"body": "b" * 25_001}, "body is too long"),
        ({"metadata": {"key": "abc"}}, "metadata: all top-level values must be objects"),
        ({"components": {"cmp9": "operational"}}, "do not belong to the page"),
        ({"component_ids": ["cmp9"]}, "do not belong to the page"),
        ({"components": {"cmp1": "broken"}}, "components must be a map of id to status"),
        ({"deliver_notifications": "t"}, "deliver_notifications must be a boolean"),
        ({"message": "x"}, "message is unknown"),
    ],
)
async def test_what_breaks_a_rule_is_422(page: Statuspage, changes: dict[str, Any], words: str) -> None:
    """Each documented rule is enforced, with its reason, and nothing is made."""
    status, answer = await call(page, "POST", f"{PAGE}/incidents", GOOD | changes)
    assert status == 422
    assert words in answer["error"][0]
    assert page.incidents == []


async def test_token_page_and_incident_must_be_right(page: Statuspage) -> None:
    """401, 404 and 404; a body without an incident is 400."""
    assert (await call(page, "GET", f"{PAGE}/components", token="other"))[0] == 401
    assert (await call(page, "GET", "other/components"))[0] == 404
    assert (await call(page, "PATCH", f"{PAGE}/incidents/none", {"status": "resolved"}))[0] == 404
    assert (await call(page, "POST", f"{PAGE}/incidents"))[0] == 400


async def test_the_rate_is_limited() -> None:
    """60 calls in any minute; components without paging once a minute; both with Retry-After; later it is free again."""
    clock = [1000.0]
    async with Statuspage(PAGE, TOKEN, {"checkout": "cmp1"}, limit_status=420, now=lambda: clock[0]) as page:
        assert [(await call(page, "GET", f"{PAGE}/components"))[0] for _ in range(2)] == [200, 420]
        statuses = [(await call(page, "GET", f"{PAGE}/components?page=1"))[0] for _ in range(60)]
        assert statuses == [200] * 58 + [420] * 2
        clock[0] += 60.0
        assert (await call(page, "GET", f"{PAGE}/components"))[0] == 200


async def test_faults_are_played_for_a_method_or_a_path(page: Statuspage) -> None:
    """A scripted status replaces the answer and its effect."""
    page.play(fail(503, requests=1))
    assert (await call(page, "POST", f"{PAGE}/incidents", GOOD))[0] == 503
    assert page.incidents == []
    assert (await call(page, "POST", f"{PAGE}/incidents", GOOD))[0] == 201
