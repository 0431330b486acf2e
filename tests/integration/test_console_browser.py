"""The console in a real browser: hostile values, the keyboard alone, no script, links from elsewhere, narrow screens, contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from detector.domain.postmortem import Curve, Mark
from detector.ports.plot import Plot
from detector.ports.query import RuleReport, RuleTrail
from detector.web.access import Access
from tests.kit.browser import DESKTOP, PHONE, find_barriers, open_browser, open_page
from tests.kit.gallery import PAGES, Shop, fill_news, log_in, serve
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.sample import make_event, make_incident

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.incident import Event, Incident

EVIL = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">\u202egnp.exe\' {{7*7}}'
# the least ratio between a text and what lies behind it, over all texts of the page (WCAG 2.2, 1.4.3), with where it was found
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) { const c = read(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; }
    return [255, 255, 255, 255];
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let least = [99, ""];
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.textContent.trim() || !e.offsetParent || e.closest(".unseen, button:disabled")) continue;
    const [a, b] = [light(read(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 120)];
  }
  return least;
}"""


class Hostile(MemoryDaemon):
    """Everything that comes from outside is an attack."""

    def __init__(self) -> None:
        super().__init__()
        words: dict[str, Any] = {
            "summary": EVIL,
            "service": EVIL,
            "services": (EVIL,),
            "rules": (EVIL,),
            "labels": (("env", EVIL),),
        }
        words |= {"muted": EVIL, "root_cause": EVIL, "acknowledged_by": EVIL, "eta": EVIL, "responders": {EVIL: EVIL}}
        words |= {"links": {EVIL: "javascript:document.title='owned'", "more": EVIL}, "see_also": (EVIL,)}
        self.incidents = [make_incident(1, **words)]

    async def plot(self, incident: Incident) -> Plot:
        """Names that try to leave the drawing."""
        points = ((1000.0, 1.0), (1100.0, 2.0))
        curves = (Curve(EVIL, EVIL, EVIL, points, 1.5), Curve(EVIL, EVIL, EVIL, points))
        return Plot(incident.opened, 1100.0, curves, (Mark(1050.0, f"mitigation {EVIL}"), Mark(1001.0, "breach")), EVIL)

    def rule_reports(self) -> Sequence[RuleReport]:
        """A rule with such a name, that failed with such words."""
        return [RuleReport(EVIL, EVIL, 5.0, 10.0, 10.0, EVIL, {"firing": 1})]

    def rule_trail(self, rule: str) -> RuleTrail:
        """Of such a signal."""
        return RuleTrail(rule, 0.0, 3600.0, ((3000.0, 0.0), (3030.0, 0.2)), (0.01,), EVIL, 2000.0)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """Written by an enemy."""
        return [make_event(1, incident=incident, message=EVIL, actor=EVIL, kind=EVIL)]


async def test_hostile_values_do_nothing() -> None:
    """Values that try to break out run nothing, fetch nothing and hide nothing, taken over live as well."""
    daemon = Hostile()
    async with serve(daemon, now=None) as (url, metrics), open_browser() as browser, open_page(browser) as (page, said):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for path in ("/", "/incidents/incident-00001", "/rules", "/history?status=open"):
            await page.goto(url + path)
            await page.locator("#live", has_text="live").wait_for()
            daemon.incidents[0].links["fresh"] = EVIL  # type: ignore[index]  # a dict, whatever its type says
            metrics.news.ring()
            await page.wait_for_function("seen => document.body.dataset.revision === seen", arg=str(metrics.news.revision))
            assert await page.title() != "owned"
            assert await page.locator("main img, main script, a[href^=javascript]").count() == 0
            assert await page.get_by_text("{{7*7}}").count() > 0
        assert [address for address in asked if not address.startswith(url)] == []
        assert said == []


async def test_the_keyboard_alone_is_enough() -> None:
    """From the address bar: tab to the incident, open it, reach the form, acknowledge; what has the focus is outlined."""
    daemon = MemoryDaemon()
    async with serve(daemon, now=None) as (url, _), open_browser() as browser, open_page(browser) as (page, said):
        await page.goto(url)
        focused = "document.activeElement.getAttribute('href') || document.activeElement.id || document.activeElement.innerText"

        async def tab_to(wanted: str) -> None:
            for _ in range(40):
                await page.keyboard.press("Tab")
                outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", await page.evaluate(focused)
                if await page.evaluate(focused) == wanted:
                    return
            pytest.fail(f"{wanted} is not reached by the Tab key")

        await tab_to("/incidents/incident-00001")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/incidents/incident-00001")
        await tab_to("by")
        await page.keyboard.type("Erin")
        await tab_to("Acknowledge")
        await page.keyboard.press("Enter")
        await page.get_by_role("status").filter(has_text="it is yours").wait_for()
        assert [act[2] for act in daemon.acts] == ["Erin"]
        assert said == []


async def test_without_script_and_behind_a_login() -> None:
    """No JavaScript, tokens configured, coming by a link on another site: log in, read, write a note; no second login."""
    daemon = MemoryDaemon()
    access = Access(read_token="read-token-1234", write_token="write-token-1234")
    async with (
        serve(daemon, access, now=None) as (url, _),
        open_browser() as browser,
        open_page(browser, java_script_enabled=False) as (page, said),
    ):
        chat = f'<a href="{url}/incidents/incident-00001">page</a>'
        await page.route("http://chat.example/", lambda route: route.fulfill(body=chat, content_type="text/html"))
        await page.goto("http://chat.example/")
        await page.get_by_role("link", name="page").click()
        await page.get_by_label("Token").fill("write-token-1234")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_label("Your name").first.fill("Erin")
        await page.get_by_label("Words").fill("seen")
        await page.get_by_role("button", name="Add note").click()
        await page.get_by_role("status").filter(has_text="The note stands").wait_for()
        assert [act[2:] for act in daemon.acts] == [("Erin", "seen")]
        await page.goto("http://chat.example/")
        await page.get_by_role("link", name="page").click()
        await page.get_by_role("button", name="Add note").wait_for()
        assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_page_fits_and_can_be_read(scheme: str, size: tuple[int, int]) -> None:
    """Nothing is wider than the screen, no text has less than 4.5:1 against its ground, axe finds nothing serious or critical."""
    access = Access(write_token="write-token-1234")
    async with serve(Shop(), access) as (url, metrics), open_browser() as browser:
        fill_news(metrics)
        async with open_page(browser, size=size, color_scheme=scheme, reduced_motion="reduce") as (page, said):
            await log_in(page, url, access)
            for path in (*PAGES.values(), "/login", "/nothing"):
                await page.goto(url + path)
                for summary in await page.locator("summary").all():
                    await summary.click()
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
                ratio, where = await page.evaluate(CONTRAST)
                assert ratio >= 4.5, f"{path}: {ratio:.2f} {where}"
                assert await find_barriers(page) == [], path
            assert [line for line in said if "404" not in line] == []


async def test_axe_sees_what_is_wrong() -> None:
    """The check itself: a picture without words, a field without a name and grey on white are found."""
    async with open_browser() as browser, open_page(browser) as (page, _):
        await page.set_content("<main><img src='data:,'><input><p style='color:#bbb'>pale</p></main>")
        assert {found.partition(":")[0] for found in await find_barriers(page)} >= {"image-alt", "label", "color-contrast"}
