"""The on-call path in a real browser: from the page's link to acknowledge, note and resolved, with the real daemon behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.kit.browser import PHONE, open_browser, open_page
from tests.kit.house import Household
from tests.kit.rule import FLAG, SHORT_RULES
from tests.kit.standin import Alert, Service

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

    from tests.kit.house import Booth, EnterBooth

TOKEN = "write-token-1234"
RULES = f"""\
services:
  checkout:
    mitigations:
{FLAG}{SHORT_RULES}"""
UNTOUCHED = "window.__untouched"


async def _page_link(booth: Booth) -> str:
    """The link of the only page, as PagerDuty shows it."""
    await booth.wait_open(1)
    (alert,) = booth.pagerduty.open_alerts()
    return _find_link(alert)


def _find_link(alert: Alert) -> str:
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


async def test_from_the_page_to_resolved(prometheus_bin: Path, tmp_path: Path) -> None:
    """On a phone, by the link in the page: log in, see the curve, acknowledge, note, see what would run, run it, read its output.

    Everything that others or the daemon do appears without a reload, recovery last; the rule has its line; nothing breaks the CSP.
    """
    del prometheus_bin  # asked for its skip
    house = Household(tmp_path, {"shop": RULES}, (Service("checkout", 100.0),), past_seconds=60.0, write_token=TOKEN)
    house.daemon.settings["DETECTOR_EXTERNAL_URL"] = f"http://127.0.0.1:{house.daemon.port}"
    async with house, open_browser() as browser, open_page(browser, size=PHONE) as (page, said):
        house.flip("checkout", error_ratio=0.3)
        await house.wait_alert("checkout")
        await page.goto(_find_link(house.alert_of("checkout")))
        assert await page.get_by_text("log in with the write token").count() == 1
        await page.get_by_role("link", name="Log in", exact=True).click()
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await _watch_the_curve(page)

        await page.get_by_label("Your name").first.fill("Erin")
        await page.get_by_role("button", name="Acknowledge").click()
        await page.get_by_role("status").filter(has_text="it is yours").wait_for()
        await page.locator("#head .status.acknowledged").wait_for()
        assert await page.get_by_label("Your name").first.input_value() == "Erin"
        await page.get_by_label("Words").fill("looking at <b>the pool</b>")
        await page.get_by_role("button", name="Add note").click()
        await page.locator(".timeline li", has_text="looking at <b>the pool</b>").wait_for()

        await page.locator("summary", has_text="Run").click()
        dry = page.locator(".dry")
        await dry.get_by_text("Nothing has run yet").wait_for()
        assert "basket <b>off</b>" in await dry.inner_text()
        await _mark(page)  # what is open and half typed outlives the live updates
        await page.locator("#mitigations").get_by_label("Your name").fill("Erin B.")
        seen = await page.locator("#asof").inner_text()
        await page.wait_for_function("seen => document.getElementById('asof').innerText !== seen", arg=seen)
        assert await page.locator("#mitigations").get_by_label("Your name").input_value() == "Erin B."
        await page.get_by_role("button", name="Run flag now").click()
        await page.locator("#mitigations .output", has_text="basket <b>off</b>").wait_for()
        assert "by Erin B." in await page.locator("#mitigations").inner_text()

        await _mark(page)
        await page.locator("line.mark.mitigation").first.wait_for(state="attached")
        house.heal("checkout")
        await page.locator("#head .status.resolved").wait_for()
        await page.locator("line.mark.recovery").first.wait_for(state="attached")
        assert await page.evaluate(UNTOUCHED)
        await page.goto(f"{house.daemon.settings['DETECTOR_EXTERNAL_URL']}/rules")
        await page.locator("svg.spark path.line").wait_for()
        assert said == []
        incident = await house.daemon.wait_incident("checkout", "resolved")
        assert incident["acknowledged_by"] == "Erin"
        timeline = await house.daemon.timeline(incident["id"])
        assert [event["actor"] for event in timeline if event["message"] == "looking at <b>the pool</b>"] == ["Erin"]


async def _watch_the_curve(page: Page) -> None:
    """It is there, with its threshold and when it broke, and it grows without a reload."""
    await page.locator(".panel path.line").wait_for()
    assert await page.locator("line.mark.breach").count() == 1
    await page.locator(".panel text", has_text="threshold 1%").wait_for()
    await page.locator("line.mark.page").wait_for(state="attached")
    await _mark(page)
    drawn = await page.locator(".panel path.line").get_attribute("d")
    await page.wait_for_function("drawn => document.querySelector('.panel path.line').getAttribute('d') !== drawn", arg=drawn)
    assert await page.evaluate(UNTOUCHED)


async def test_a_prometheus_that_tells_no_past_takes_no_page_away(enter_booth: EnterBooth) -> None:
    """The incident stands there with the reason in place of its curve."""
    booth = await enter_booth()
    link = await _start(booth)
    async with open_browser() as browser, open_page(browser) as (page, said):
        await page.goto(link)
        await page.locator("#plots", has_text="No data from Prometheus").wait_for()
        await page.locator(".timeline li", has_text="opened").wait_for()
        assert said == []


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
