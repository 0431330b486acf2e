"""One hostile service through the running daemon: its name, a log line and what a command writes are inert in every document."""

import asyncio
import json
import sys
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

from markdown_it import MarkdownIt

from tests.acceptance.test_mitigation import TOKEN
from tests.kit.audience import Audience
from tests.kit.house import Booth, EnterBooth
from tests.kit.wait import wait_until

STEERING = frozenset("\x00\x07\x1b\x9b\r\u202e")
LINE = "ERROR </pre><script>alert(2)</script>\x1b[2J {{7*7}} <!here> ``` ![x](javascript:1) <https://evil.example|click> \u202eab"
NAME = (
    "<img src=x onerror=alert(1)>\x1b]0;own\x07{{7*7}}<!channel> </text><script>x</script>`id`\r\n"
    "Bcc: evil@example.org\n# Heading ![p](http://evil.example/x.png) \u202eab"
)
SOURCE = f"import sys\nsys.stdout.write({LINE + chr(0) + chr(10) + '## fake heading' + chr(10) + '```' + chr(10)!r})\n"
RULES = """
rules:
  - name: errors
    summary: "{{ service }} fails"
    by: [service]
    every: 1s
    signals: {error_rate: errors}
    open: error_rate > 0.01
    severity: {high: "true"}
    recover_for: 1s
"""


class Page(HTMLParser):
    """What a browser would make of a page: tags that load or run something, addresses, and attributes that run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.live: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what came from the hostile text."""
        told = {name: value or "" for name, value in attrs}
        foreign = any(value == "x" or value.startswith(("http://evil", "https://evil", "javascript:")) for value in told.values())
        if foreign or any(name.startswith("on") for name in told) or (tag == "script" and "src" not in told):
            self.live.append(f"{tag} {told}")


def write_hostile(folder: Path) -> str:
    """The rule file of the hostile service; its log and its mitigation's program lie in the folder."""
    log, program = folder / "shop.log", folder / "revert.py"
    log.write_text(LINE + "\n")
    program.write_text(SOURCE)
    ways = {"revert": {"summary": LINE.replace("\x1b", ""), "run": [sys.executable, str(program)]}}
    service = {"mitigations": ways, "diagnosis": {"recent_errors": {"file": str(log)}}}
    return f"services: {json.dumps({NAME: service})}\n{RULES}"


def fetch(booth: Booth, path: str) -> str:
    """A page of the console."""
    asked = urllib.request.Request(f"http://127.0.0.1:{booth.daemon.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def read_documents(folder: Path) -> tuple[str, str]:
    """The post-mortem and its picture."""
    (document,) = (folder / "state" / "postmortems").glob("*.md")
    return document.read_text(), document.with_suffix(".svg").read_text()


def check_documents(text: str, picture: str) -> None:
    """Markdown with its HTML left alive shows text only; the picture is XML without a foreign element."""
    assert "alert(2)" in text
    html = MarkdownIt("commonmark", {"html": True}).render(text)
    assert Page(html).live == []
    assert "fake heading</h2>" not in html
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()}  # noqa: S314 - our own
    assert tags <= {"svg", "title", "style", "rect", "text", "circle", "path", "line", "g"}


def check_told(audience: Audience) -> None:
    """No mention, no link and no unfurling in Slack; plain text mails without a further recipient."""
    assert audience.slack.calls
    for call in audience.slack.calls:
        said = json.dumps(call.arguments, ensure_ascii=False, default=str)
        assert "alert(" not in said or not any(live in said for live in ("<!", "<img", "<script", "<https://evil"))
        assert not call.arguments.get("unfurl_links")
    assert audience.mail.mails
    for mail in audience.mail.mails:
        assert mail.message["Bcc"] is None
        assert mail.message.get_content_type() == "text/plain"
        assert not STEERING & set(str(mail.message["Subject"]) + mail.text.replace("\r\n", "\n"))


async def test_hostile_text_is_inert_in_every_document(enter_booth: EnterBooth, audience: Audience, tmp_path: Path) -> None:
    """Page, thread, mail, console, terminal, post-mortem and plot show it, and nothing of it runs, links, mentions or steers."""
    booth = await enter_booth(
        rules={"shop": await asyncio.to_thread(write_hostile, tmp_path)}, write_token=TOKEN, **audience.settings
    )
    await booth.daemon.start()
    booth.show(**{NAME: 0.1})
    await booth.wait_open(1)
    identity = (await booth.daemon.wait_incident(NAME))["id"]

    async def is_diagnosed() -> bool:
        return any(len(found["checks"]) == 10 for found in await booth.daemon.incidents())

    await wait_until(is_diagnosed, "the diagnosis is in the ticket")
    commands = (
        ("incidents", "mitigate", identity, "revert", "--by", "ann \x1b[31m<b>", "--yes"),
        ("incidents", "mitigate", identity, "revert", "--by", "bob", "--yes"),
        ("incidents", "note", identity, LINE, "--by", "ann"),
        ("incidents", "cause", identity, LINE, "--by", "ann"),
        ("incidents", "show", identity),
        ("incidents", "why", identity),
    )
    said = ["".join((await booth.daemon.run(*words))[1:]) for words in commands]
    assert "was run by ann" in said[1]
    pages = [await asyncio.to_thread(fetch, booth, path) for path in (f"/incidents/{identity}", "/", "/rules")]
    booth.show(**{NAME: 0.0})
    await booth.wait_open(0)
    folder = booth.daemon.folder
    await wait_until(lambda: any((folder / "state" / "postmortems").glob("*.svg")), "the draft")
    await wait_until(lambda: any((folder / "state" / "postmortems").glob("*.md")), "the draft")
    said.append((await booth.daemon.run("incidents", "postmortem", identity))[1])
    text, picture = await asyncio.to_thread(read_documents, folder)
    check_documents(text, picture)
    check_told(audience)
    events = json.dumps([request.event for request in booth.pagerduty.requests], ensure_ascii=False)
    for document in (
        *said,
        *pages,
        text,
        picture,
        events,
        json.dumps([call.arguments for call in audience.slack.calls], default=str, ensure_ascii=False),
    ):
        assert not STEERING & set(document), document
    assert [live for page in pages for live in Page(page).live] == []
    assert all("49" not in str(line.get("summary")) for line in await booth.daemon.incidents())
