"""The on-call path in a real browser: from the page's link to acknowledge, note and resolved, with the real daemon behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.kit.browser import PHONE, open_browser, open_page

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.acceptance.conftest import EnterBooth
    from tests.kit.house import Booth

UNTOUCHED = "window.__untouched"


async def _page_link(booth: Booth) -> str:
    """The link of the only page, as PagerDuty shows it."""
    await booth.wait_open(1)
    (alert,) = booth.pagerduty.open_alerts()
    event: Any = alert.log[0].event
    hrefs = [link["href"] for link in event.get("links", ()) if "/incidents/" in link["href"]]
    return str((hrefs or [event["client_url"]])[0])


async def _start(booth: Booth) -> str:
    booth.daemon.settings["DETECTOR_EXTERNAL_URL"] = f"http://127.0.0.1:{booth.daemon.port}"
    booth.show(checkout=0.2)
    await booth.daemon.start()
    return await _page_link(booth)


async def _mark(page: Page) -> None:
    """A reload would forget this."""
    await page.locator("#live", has_text="live").wait_for()
    await page.evaluate(f"{UNTOUCHED} = true")


async def test_from_the_page_to_resolved(enter_booth: EnterBooth) -> None:
    """On a phone: the link opens the incident; acknowledge and a note work; recovery appears without a reload; no CSP violation."""
    booth = await enter_booth()
    link = await _start(booth)
    async with open_browser() as browser, open_page(browser, size=PHONE) as (page, said):
        await page.goto(link)
        await page.get_by_label("Your name").first.fill("Erin")
        await page.get_by_role("button", name="Acknowledge").click()
        await page.get_by_role("status").filter(has_text="it is yours").wait_for()
        await page.locator("#head .status.acknowledged").wait_for()
        assert await page.get_by_label("Your name").first.input_value() == "Erin"
        await page.get_by_label("Words").fill("looking at <b>the pool</b>")
        await page.get_by_role("button", name="Add note").click()
        await page.locator(".timeline li", has_text="looking at <b>the pool</b>").wait_for()

        await _mark(page)
        booth.show(checkout=0.0)
        await page.locator("#head .status.resolved").wait_for()
        assert await page.evaluate(UNTOUCHED)
        assert said == []
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    assert incident["acknowledged_by"] == "Erin"
    timeline = await booth.daemon.timeline(incident["id"])
    assert [event["actor"] for event in timeline if event["message"] == "looking at <b>the pool</b>"] == ["Erin"]


async def test_an_incident_appears_by_itself(enter_booth: EnterBooth) -> None:
    """The list that is open shows a second incident without a reload; a page of words being typed keeps them."""
    booth = await enter_booth()
    link = await _start(booth)
    async with open_browser() as browser, open_page(browser) as (page, said), open_page(browser) as (typing, _):
        await page.goto(f"http://{urlsplit(link).netloc}/")
        await page.get_by_role("link", name="checkout").wait_for()
        await typing.goto(link)
        await typing.get_by_label("Words").fill("half a sen")
        await _mark(page)
        booth.show(cart=0.5)
        await page.get_by_role("link", name="cart").wait_for()
        assert await page.evaluate(UNTOUCHED)
        assert await page.title() == "(2) Incidents \u00b7 detector"
        assert await typing.get_by_label("Words").input_value() == "half a sen"
        assert said == []


async def test_a_daemon_that_stops_does_not_wait_for_its_readers(enter_booth: EnterBooth) -> None:
    """With a page listening, SIGTERM ends the daemon in its usual time without an error in its log; the page says so."""
    booth = await enter_booth()
    link = await _start(booth)
    async with open_browser() as browser, open_page(browser) as (page, _):
        await page.goto(link)
        await page.locator("#live", has_text="live").wait_for()
        assert await booth.daemon.stop() == 0
        assert "Cancel" not in booth.daemon.read()
        assert "Traceback" not in booth.daemon.read()
        await page.locator("body.cut-off").wait_for()
