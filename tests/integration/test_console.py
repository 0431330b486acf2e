"""The console over HTTP, without a browser: pages, who may look and act, forms that are refused, streams that are bounded."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp
import pytest

from detector.domain.incident import Status
from detector.ports.query import Action
from detector.web.access import Access
from detector.web.console import stream
from detector.web.metrics import Metrics
from tests.kit.gallery import PAGES, Shop, serve
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.sample import NASTY, make_incident
from tests.kit.wait import PATIENCE_SECONDS, wait_until

READ, WRITE = "read-token-1234", "write-token-1234"
FORM_PATHS = (
    "/incidents/incident-00001/acknowledge",
    "/incidents/incident-00001/note",
    "/incidents/incident-00001/tick",
    "/silences",
    "/silences/s1/expire",
    "/logout",
)


@dataclass
class Reader:
    """A browser without script: cookies, forms with their proof and Origin; redirects are not followed."""

    url: str
    metrics: Metrics
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=lambda: {"Accept": "text/html"})

    async def get(self, path: str, **headers: str) -> tuple[int, aiohttp.ClientResponse, str]:
        """GET."""
        async with self.session.get(self.url + path, headers=self.headers | headers, allow_redirects=False) as answer:
            return answer.status, answer, await answer.text()

    async def proof(self, path: str = "/login") -> str:
        """That of a page's forms."""
        _, _, text = await self.get(path)
        found = re.search(r'name="proof" value="(\w+)"', text)
        assert found, text
        return found[1]

    async def post(self, path: str, *, origin: str | None = "own", **fields: str) -> tuple[int, aiohttp.ClientResponse, str]:
        """POST a form; `proof` is fetched where none is given."""
        if "proof" not in fields:
            fields["proof"] = await self.proof()
        headers = self.headers | ({"Origin": self.url if origin == "own" else origin} if origin else {})
        async with self.session.post(self.url + path, data=fields, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer, await answer.text()


Enter: TypeAlias = Callable[..., Awaitable[Reader]]


@pytest.fixture
def daemon() -> MemoryDaemon:
    """A daemon that knows three incidents with hostile names."""
    return MemoryDaemon()


@pytest.fixture
async def enter(daemon: MemoryDaemon) -> AsyncIterator[Enter]:
    """A reader before the console of `daemon` (or another) with such tokens."""
    async with AsyncExitStack() as stack:

        async def run(shown: MemoryDaemon = daemon, **tokens: str) -> Reader:
            url, metrics = await stack.enter_async_context(serve(shown, Access(**tokens), now=None))  # type: ignore[arg-type]
            jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address
            return Reader(url, metrics, await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar)))

        yield run


@pytest.mark.parametrize("path", [*PAGES.values(), "/login", "/history?severity=low&service=x&cursor=0"])
async def test_every_page_is_whole_and_harmless(enter: Enter, path: str) -> None:
    """200, no script or style inside the page, no address outside, a policy that allows neither, nothing kept."""
    reader = await enter(Shop())
    status, answer, text = await reader.get(path)
    assert status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert text.rstrip().endswith("</html>")
    assert not re.search(r"<script(?! src=\"/console/script.js\")|<style|\sstyle=|\son\w+=", text)
    assert not [address for address in re.findall(r'(?:src|action|formaction)="([^"]+)"', text) if not address.startswith("/")]


async def test_hostile_values_are_text(enter: Enter, daemon: MemoryDaemon) -> None:
    """A label or summary with markup, script addresses or template signs stands there as text, in an attribute and a form too."""
    daemon.incidents = [
        make_incident(
            1,
            summary="<img src=x onerror=alert(1)>" + NASTY,
            muted='"><img src=x onerror=alert(2)>',
            links={"a": "javascript:alert(1)", "b": "https://example.org/"},
        )
    ]
    reader = await enter()
    assert (await reader.post("/incidents/incident-00001/note", by='"><img src=x onerror=alert(3)>', text="x"))[0] == 303
    for path in ("/", "/incidents/incident-00001", "/history?status=open"):
        _, _, text = await reader.get(path)
        assert "<img src=x" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "{{7*7}}" in text
        assert "\0" not in text
    _, _, text = await reader.get("/incidents/incident-00001")
    assert "onerror=alert(2)&gt;" in text
    assert "onerror=alert(3)&gt;" in text
    assert re.findall(r'href="((?:javascript|https)[^"]*)"', text) == ["https://example.org/"]


async def test_what_is_over_has_its_picture_and_post_mortem(enter: Enter) -> None:
    """Where no samples can be had the kept plot stands, an image that may do nothing, beside the reason; the document is text."""
    shop = Shop()
    shop.fault = "timeout <b>after</b> 5 s"
    reader = await enter(shop)
    _, _, text = await reader.get("/incidents/5e6f7a8b9c0d")
    assert '<img class="plot" src="/incidents/5e6f7a8b9c0d/plot.svg"' in text
    assert "No data from Prometheus:</strong> <bdi>timeout &lt;b&gt;after&lt;/b&gt; 5 s" in text
    assert '<svg class="panel"' not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    status, answer, text = await reader.get("/incidents/5e6f7a8b9c0d/plot.svg")
    assert (status, answer.content_type, text[:4]) == (200, "image/svg+xml", "<svg")
    assert answer.headers["Content-Security-Policy"].endswith("; sandbox")
    assert "plot.svg" not in (await reader.get("/incidents/7c1e90ab24d5"))[2]
    assert (await reader.get("/incidents/7c1e90ab24d5/plot.svg"))[0] == 404


async def test_an_incident_shows_its_signals(enter: Enter) -> None:
    """Open or recovered: a curve with its threshold and its moments, told in words as well, drawn by the server alone."""
    reader = await enter(Shop())
    for identity, last in {"7c1e90ab24d5": "mitigation", "5e6f7a8b9c0d": "recovery"}.items():
        _, _, text = await reader.get(f"/incidents/{identity}")
        panel = text[text.index('<svg class="panel"') :].partition("</figure>")[0]
        for kind in ("breach", "page", "acknowledge", last):
            assert f'<line class="mark {kind}"' in panel
        assert "threshold 1%" in panel
        assert re.search(r'aria-label="error_rate: [^"]*, breach, page, acknowledge', panel)
        assert re.search(r'<path class="line" [^>]*d="M[\d. ]+(L[\d. ]+){50,}', panel)


async def test_rules_show_their_last_hour_and_their_last_error(enter: Enter) -> None:
    """A line for every rule that saw a value; an error that is over is still told, with its age."""
    _, _, text = await (await enter(Shop())).get("/rules")
    rows = {found[1]: row for row in text.split("<tr>")[2:] if (found := re.search(r"<bdi>([\w-]+)</bdi>", row))}
    assert '<svg class="spark"' in rows["http-errors"]
    assert "the last 1h: 0.1" in rows["http-errors"]
    assert "no value yet" in rows["disk-full"]
    assert "ago</time>: " in rows["queue-depth"]
    assert "connection refused" in rows["queue-depth"]


async def test_a_form_acts_and_leads_back(enter: Enter, daemon: MemoryDaemon) -> None:
    """A note reaches the desk with its author; the answer leads back to the incident, and the name is known next time."""
    reader = await enter()
    status, answer, _ = await reader.post("/incidents/incident-00001/note", by="Erin", text="a\r\nb")
    assert (status, answer.headers["Location"]) == (303, "/incidents/incident-00001?done=note")
    assert daemon.acts == [("incident-00001", Action.NOTE, "Erin", "a\nb")]
    _, _, text = await reader.get("/incidents/incident-00001")
    assert 'value="Erin"' in text


async def test_a_resolve_by_hand_while_it_fires_says_what_follows(enter: Enter, daemon: MemoryDaemon) -> None:
    """Nobody reads "recovered" of what is still bad; a verified recovery reads as before."""
    ended = {"status": Status.RESOLVED, "resolved": 1400.0}
    daemon.incidents = [make_incident(1, end_reason="resolved by hand", **ended)]
    reader = await enter()
    _, _, text = await reader.get("/incidents/incident-00001")
    assert "Its metrics are still bad" in text
    assert "<dt>Resolved</dt>" in text
    daemon.incidents = [make_incident(1, alerts={}, end_reason="recovered", **ended)]
    _, _, text = await reader.get("/incidents/incident-00001")
    assert "Its metrics are still bad" not in text
    assert "<dt>Recovered</dt>" in text


async def test_a_window_of_the_rule_files_says_how_it_ends(enter: Enter) -> None:
    """It has no button, also for who may write; the row and the page say where it is ended instead."""
    reader = await enter()
    _, _, text = await reader.get("/silences")
    assert "/silences/w1/expire" not in text
    assert "ends early only in the rule files" in text
    assert "cannot be ended here" in text


async def test_silences_are_made_and_ended(enter: Enter, daemon: MemoryDaemon) -> None:
    """By forms; what is wrong with one is said in one line."""
    reader = await enter()
    fields = {"matchers": 'service=checkout, severity=~"low|medium"', "by": "Erin", "reason": "load test", "duration": "2h"}
    assert (await reader.post("/silences", **fields))[0] == 303
    made = next(kept for identity, kept in daemon.mutes.items() if identity != "w1")
    assert [str(matcher) for matcher in made.mute.matchers] == ['service="checkout"', 'severity=~"low|medium"']
    assert (await reader.post(f"/silences/{made.mute.id}/expire", by="Ana"))[0] == 303
    assert daemon.mutes[made.mute.id].expired_by == "Ana"
    assert (await reader.post("/silences", **(fields | {"starts": "1970-01-01T05:00Z"})))[0] == 303
    later = next(kept for identity, kept in daemon.mutes.items() if identity not in {"w1", made.mute.id})
    assert (later.mute.starts, later.mute.ends - later.mute.starts) == (18_000.0, 7200.0)
    status, _, text = await reader.post("/silences", **(fields | {"duration": "soon"}))
    assert status == 422
    assert "duration" in text


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"by": "", "text": "x"}, 422, "say who you are"),
        ({"by": "Erin", "text": ""}, 422, "say it in words"),
        ({"by": "E" * 201, "text": "x"}, 422, "at most 200"),
        ({"by": "Erin", "text": "x", "proof": "0" * 64}, 403, "this form has expired"),
    ],
)
async def test_a_wrong_form_is_refused(enter: Enter, daemon: MemoryDaemon, fields: dict[str, str], status: int, words: str) -> None:
    """As a page with one line; nothing is done."""
    reader = await enter()
    found, _, text = await reader.post("/incidents/incident-00001/note", **fields)
    assert found == status
    assert words in text
    assert daemon.acts == []


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1:1"])
@pytest.mark.parametrize("path", FORM_PATHS)
async def test_another_site_cannot_post(enter: Enter, daemon: MemoryDaemon, path: str, origin: str | None) -> None:
    """A form of another origin, or of none, is refused even with the right proof."""
    reader = await enter()
    assert (await reader.post(path, origin=origin, by="x", text="x", item="x"))[0] == 403
    assert daemon.acts == []
    assert daemon.ticks == []


async def test_what_cannot_be_done_is_said(enter: Enter, daemon: MemoryDaemon) -> None:
    """A conflict is 409 with the desk's words, an unknown incident 404, a store that is down 503; programs get a problem."""
    reader = await enter()
    status, _, text = await reader.post("/incidents/incident-00001/resolve", by="Erin")
    assert (status, "already resolved" in text) == (409, True)
    assert (await reader.post("/incidents/nothing/resolve", by="Erin"))[0] == 404
    assert (await reader.get("/incidents/nothing"))[0] == 404
    assert (await reader.get("/nothing"))[0] == 404
    assert (await reader.get("/nothing", Accept="*/*"))[1].content_type == "application/problem+json"
    daemon.down = True
    assert (await reader.get("/"))[0] == 503


async def test_with_a_read_token_one_logs_in(enter: Enter) -> None:
    """Without a session every page leads to the login, and back after it; the cookie holds no token and is no script's to read."""
    reader = await enter(read_token=READ, write_token=WRITE)
    for path in PAGES.values():
        status, answer, text = await reader.get(path)
        assert (status, text) == (303, "")
        assert answer.headers["Location"].startswith("/login?to=")
    assert (await reader.get("/console/events"))[0] == 303
    assert (await reader.get("/", Accept="*/*"))[0] == 401
    status, _, text = await reader.post("/login", token="guess", to="/rules")
    assert (status, "neither the read nor the write token" in text) == (403, True)
    status, answer, _ = await reader.post("/login", token=READ, to="/rules")
    assert (status, answer.headers["Location"]) == (303, "/rules")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    assert READ not in cookie
    status, _, text = await reader.get("/incidents/incident-00001")
    assert (status, "log in with the write token" in text) == (200, True)
    status, _, text = await reader.post("/incidents/incident-00001/note", by="Erin", text="x")
    assert (status, "needs the write token" in text) == (403, True)


async def test_the_write_token_lets_act_and_logging_out_ends_it(enter: Enter, daemon: MemoryDaemon) -> None:
    """With it a note is written; after the logout the page asks for the token again."""
    reader = await enter(read_token=READ, write_token=WRITE)
    assert (await reader.post("/login", token=WRITE, to="//evil.example"))[1].headers["Location"] == "/"
    assert (await reader.post("/incidents/incident-00001/note", by="Erin", text="x"))[0] == 303
    assert len(daemon.acts) == 1
    await reader.post("/logout")
    assert (await reader.get("/"))[0] == 303


@pytest.mark.parametrize("change", ["level", "expires", "mac"])
async def test_a_forged_session_is_none(enter: Enter, change: str) -> None:
    """A read session that calls itself a write session, lives longer or is signed otherwise opens nothing more."""
    reader = await enter(read_token=READ, write_token=WRITE)
    _, answer, _ = await reader.post("/login", token=READ)
    level, expires, nonce, mac = answer.cookies["detector_session"].value.split(".")
    forged = {
        "level": f"2.{expires}.{nonce}.{mac}",
        "expires": f"{level}.{int(expires) + 1}.{nonce}.{mac}",
        "mac": f"{level}.{expires}.{nonce}.{'0' * 64}",
    }[change]
    async with aiohttp.ClientSession(cookies={"detector_session": forged}, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        assert (await Reader(reader.url, reader.metrics, session).get("/"))[0] == 303


async def test_a_mitigation_needs_the_write_token(enter: Enter) -> None:
    """Without one configured nobody may run a command, not even on this machine."""
    reader = await enter(Shop())
    status, _, text = await reader.post("/incidents/7c1e90ab24d5/mitigate", by="Erin", item="shed-guests")
    assert (status, "DETECTOR_WRITE_TOKEN" in text) == (403, True)


async def test_a_link_from_elsewhere_comes_in_by_itself(enter: Enter) -> None:
    """A browser keeps Strict cookies back when a link on another site is followed: one step more brings them."""
    reader = await enter(read_token=READ)
    status, answer, text = await reader.get("/incidents/x?done=%22%3E", **{"Sec-Fetch-Site": "cross-site"})
    assert (status, "Set-Cookie" in answer.headers) == (200, False)
    assert '<meta http-equiv="refresh" content="0;url=/incidents/x?done=%22%3E">' in text


async def test_the_stream_tells_changes_and_is_bounded(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is behind hears so at once, one that is not when something happens; too many listeners are sent away."""
    monkeypatch.setattr(stream, "MAX_LISTENERS", 1)
    monkeypatch.setattr(stream, "LOOK_SECONDS", 0.01)
    reader = await enter()
    events = f"{reader.url}/console/events?seen="
    async with reader.session.get(f"{events}{reader.metrics.news.revision}") as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        reader.metrics.news.ring()
        assert b"event: change" in await asyncio.wait_for(answer.content.readuntil(b"\n\n"), PATIENCE_SECONDS)
        async with reader.session.get(events) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "15")

    async def is_free() -> bool:
        async with reader.session.get(f"{events}-1") as again:
            return again.status == 200 and b"event: change" in await again.content.read(200)

    await wait_until(is_free, "the place of the one that left")


def test_a_daemon_that_nobody_looks_at_imports_no_console() -> None:
    """Start-up is budgeted: the composition root alone does not bring the console in, nor does the site."""
    code = "import sys, detector.daemon, detector.web.site; print([name for name in sys.modules if 'web.console' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    assert done.stdout == "[]\n"


async def test_history_goes_page_by_page(enter: Enter, daemon: MemoryDaemon) -> None:
    """Older incidents stand behind a link that keeps the filter; a page that never was is 400."""
    daemon.incidents = [make_incident(number, status=Status.CLOSED) for number in range(120, 0, -1)]
    reader = await enter()
    seen: list[str] = []
    path = "/history?status=closed&severity=&service="
    while path:
        _, _, text = await reader.get(path)
        seen += re.findall(r'href="/incidents/(incident-\d+)"', text)
        found = re.search(r'rel="next" href="([^"]+)"', text)
        path = found[1].replace("&amp;", "&") if found else ""
    assert seen == [incident.id for incident in daemon.incidents]
    assert (await reader.get("/history?cursor=x"))[0] == 400
