"""A day in the life of a shop, to be looked at: what the console's pictures in docs/console show.

`python -m tests.kit.gallery docs/console` takes them anew, each page at desktop and phone width, the first in the dark too.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from detector.domain.alert import AlertState, SignalTrack
from detector.domain.catalogue import Mitigation
from detector.domain.check import Check, Result, Verdict
from detector.domain.incident import Event, Incident, JoinedAlert, MitigationRun, Status, Verification
from detector.domain.mitigation import Offer
from detector.domain.mute import Mute, MuteKind, parse_matchers
from detector.domain.severity import Severity
from detector.domain.silence import KeptMute
from detector.domain.suspect import Suspect
from detector.ports.query import RuleReport, RuleTrail
from detector.ports.store import Backlog
from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.server import WebServer
from detector.web.site import Site
from tests.kit.browser import DESKTOP, PHONE, open_browser, open_page
from tests.kit.curve import draw_hour, make_plot
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.sample import make_incident
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from playwright.async_api import Browser, Page

    from detector.domain.label import Labels
    from detector.ports.plot import Plot

NOW = 1_795_420_800.0
OVER = "5e6f7a8b9c0d"
OUTPUT = "gateway: primary -> backup (50%)\npool payments-backup: 3 of 3 healthy"
RUN = MitigationRun("route-to-backup", "ana", NOW - 300, NOW - 296, "ended with exit code 0")
OPENED = "#run-2"  # what a second mitigation would run
PAGES = {
    "incidents": "/",
    "incident": "/incidents/7c1e90ab24d5",
    "unclaimed": "/incidents/91b0c2d3e4f5",
    "recovered": f"/incidents/{OVER}",
    "rules": "/rules",
    "silences": "/silences",
    "deliveries": "/deliveries",
    "history": "/history",
}


class Shop(MemoryDaemon):
    """A daemon in the middle of an incident at a payment provider."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.fault = ""
        self.incidents = _list_incidents()
        self.mutes = {kept.mute.id: kept for kept in _list_mutes()}

    async def find_incident(self, incident: str) -> Incident | None:
        """By id."""
        return next((one for one in self.incidents if one.id == incident), None)

    async def timeline(self, incident: str) -> Sequence[Event]:
        """From the breach to the second look."""
        if incident == "91b0c2d3e4f5":
            told = [
                (-840, "detector", "breach", "first breach seen by http-latency-p99 (latency_p99 2.1 s, threshold 0.8 s)"),
                (-840, "detector", "opened", "opened as high: checkout answers slowly: p99 2.1s"),
            ]
            return [Event(incident, NOW + at, *rest) for at, *rest in told]
        if incident != "7c1e90ab24d5":
            told = [
                (-9000, "detector", "breach", "first breach seen by http-errors (error_rate 2.2%, threshold 1%)"),
                (-9000, "detector", "opened", "opened as medium: search fails 2.2% of its requests"),
                (-8800, "tomasz", "acknowledged", "acknowledged"),
                (-700, "detector", "resolved", "resolved (recovered) (error_rate 0.1% at recovery, peak 2.2%)"),
            ]
            return [Event(incident, NOW + at, *rest) for at, *rest in told]
        told = [
            (-1260, "detector", "breach", "first breach seen by http-errors (error_rate 6.1%, threshold 1%)"),
            (-1260, "detector", "opened", "opened as high: payments fails 6.1% of its requests"),
            (-1258, "detector", "check", "\u2705 recent deploy: no deploy in the last 2 h"),
            (-1257, "detector", "check", "\u2705 database: latency as an hour ago"),
            (-1257, "detector", "check", "\u2754 resources: no series of memory for payments"),
            (-1256, "detector", "check", "\U0001f534 third parties: card-gateway: 31% of calls fail since 07:38"),
            (-1100, "ana", "acknowledged", "acknowledged"),
            (-900, "detector", "severity", "severity high -> critical"),
            (-640, "ana", "note", "Card gateway confirms an outage on their side.\nTicket 88121 is open with them."),
            (-300, "ana", "mitigation", "route-to-backup started: shopctl gateway use backup --share 50%"),
            (-296, "ana", "mitigation", f"route-to-backup ended with exit code 0 after 4s; output: {OUTPUT}"),
            (-120, "ana", "update", "traffic moves to the backup gateway; ETA 10 min; identified"),
        ]
        return [Event(incident, NOW + at, *rest) for at, *rest in told]

    def live_state(self, rule: str, labels: Labels) -> AlertState | None:
        """As stored."""
        del rule, labels
        return None

    def rule_reports(self) -> Sequence[RuleReport]:
        """A rule of each health."""
        return [
            RuleReport("http-errors", "ok", 5.0, NOW - 2, NOW - 2, "", {"firing": 1, "pending": 1}),
            RuleReport("http-latency-p99", "ok", 5.0, NOW - 3, NOW - 3, "", {"firing": 1}),
            RuleReport("queue-depth", "ok", 15.0, NOW - 9, NOW - 9, "", {"firing": 1}),
            RuleReport("orders-per-minute", "no_data", 30.0, NOW - 12, NOW - 4000, "orders_total: no series", {}),
            RuleReport("refunds", "error", 30.0, NOW - 12, NOW - 600, "query timed out after 4 s", {}),
            RuleReport("disk-full", "idle", 60.0),
        ]

    def rule_trail(self, rule: str) -> RuleTrail:
        """An hour as it might have been; a rule that never saw a value has none."""
        return draw_hour(rule, NOW)

    async def plot(self, incident: Incident) -> Plot:
        """As a Prometheus would have it: calm, the fault, what was done about it."""
        plot = make_plot(incident, NOW)
        return replace(plot, curves=(), fault=self.fault) if self.fault else plot

    async def list_offers(self, incident: str) -> Sequence[Offer]:
        """Two ways, one tried."""
        if incident != "7c1e90ab24d5":
            return []
        run = RUN
        command = ("shopctl", "gateway", "use", "backup", "--share", "50%")
        backup = Mitigation("route-to-backup", "Send card payments to the backup gateway", command)
        shed = Mitigation("shed-guests", "Refuse guest checkouts", ("shopctl", "flag", "off", "guest-checkout"))
        return [Offer(backup, (run,)), Offer(shed)]

    async def read_postmortem(self, incident: str) -> tuple[str | None, str | None, None]:
        """Drafted with a picture for what is over."""
        if incident != OVER:
            return None, None, None
        style = "<style>path{fill:none;stroke:#1f4fa3;stroke-width:2}</style>"
        line = '<path d="M0 80H180L210 30L260 22L330 26L420 24L470 70L500 79H600"/>'
        drawn = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 90">{style}{line}</svg>'
        return "# search fails 2.2% of its requests\n\n<script>alert(1)</script>", drawn, None

    async def mitigate(self, incident: str, name: str, by: str, *, again: bool) -> Incident:
        """Not in a picture."""
        raise NotImplementedError


def fill_news(metrics: Metrics) -> None:
    """A channel that delivers, one that fails, one that has sent nothing yet."""
    metrics.news.backlog_seen({"pagerduty": Backlog(), "slack": Backlog(3, NOW - 190), "email": Backlog()})
    news = metrics.news._channels
    news["pagerduty"] = replace(news["pagerduty"], accepted=NOW - 899)
    failure = "retried: HTTP 429, asked to wait 30 s"
    news["slack"] = replace(news["slack"], accepted=NOW - 1255, failed=NOW - 31, failure=failure, failed_incident="7c1e90ab24d5")


@asynccontextmanager
async def serve(daemon: Any, access: Access | None = None, *, now: float | None = NOW) -> AsyncIterator[tuple[str, Metrics]]:
    """The web side of such a daemon on a free port; its address. `now` None: the time of day."""
    metrics = Metrics("1", ("pagerduty", "slack", "email"))
    shop: Any = daemon if isinstance(daemon, Shop) else None
    plotter: Any = daemon if hasattr(daemon, "plot") else None
    parts = {"query": daemon, "desk": daemon, "pulse": daemon, "aid": shop, "plotter": plotter}
    site = Site(metrics=metrics, access=access or Access(), version="1", **parts)
    server = WebServer(site, "127.0.0.1", 0)
    server.bind()
    serving = asyncio.create_task(server.serve())
    try:
        await wait_until(lambda: server.started, "the server started")
        if now is not None:
            (await site._find_console())._now = lambda: now
        yield f"http://127.0.0.1:{server.port}", metrics
    finally:
        server.stop()
        await serving


async def log_in(page: Page, url: str, access: Access) -> None:
    """With the write token, by the form."""
    await page.goto(f"{url}/login")
    await page.get_by_label("Token").fill(access.write_token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{url}/")


async def take_pictures(folder: Path) -> None:
    """Every page, twice; the incident and the list in the dark as well."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    access = Access(write_token="write-token-1234")
    async with serve(Shop(), access) as (url, metrics), open_browser() as browser:
        fill_news(metrics)
        for name, path in PAGES.items():
            for width, size in {"desktop": DESKTOP, "phone": PHONE}.items():
                await _take(browser, access, url + path, folder / f"{name}-{width}.png", size)
        for name in ("incidents", "incident"):
            await _take(browser, access, url + PAGES[name], folder / f"{name}-dark.png", DESKTOP, color_scheme="dark")


async def _take(browser: Browser, access: Access, url: str, path: Path, size: tuple[int, int], **settings: Any) -> None:
    async with open_page(browser, size=size, reduced_motion="reduce", **settings) as (page, said):
        parts = urlsplit(url)
        await log_in(page, f"{parts.scheme}://{parts.netloc}", access)
        await page.goto(url)
        await page.locator("#live:not([hidden])").wait_for()
        await page.evaluate(f"document.querySelector('{OPENED}')?.setAttribute('open', '')")
        await page.screenshot(path=path, full_page=True)
        wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
        if said or wide:
            raise AssertionError(f"{path.name}: {said or 'wider than its window'}")


def _list_incidents() -> list[Incident]:
    return [
        _make("7c1e90ab24d5", "payments", "payments fails 12.9% of its requests", Severity.CRITICAL, Status.ACKNOWLEDGED, -1260,
              rule="http-errors", signal=("error_rate", 0.129, 0.141, 0.01), acknowledged=NOW - 1100, acknowledged_by="ana",
              state="identified", eta="10 min", see_also=("91b0c2d3e4f5",),
              mitigations=(RUN,), mitigated=NOW - 300,
              links={"runbook": "https://wiki.example.org/payments", "dashboard": "https://grafana.example.org/d/payments"},
              responders={"service_owner": "olu@example.org", "on_call_engineer": "ana"},
              verifications=(Verification("health", ok=False, at=NOW - 20, message="HTTP 503"),
                             Verification("refund queue is empty", human=True)),
              checks=(Result(Check.DEPLOY, Verdict.OK, "no deploy in the last 2 h"),
                      Result(Check.THIRD_PARTIES, Verdict.BAD, "card-gateway: 31% of calls fail since 07:38",
                             "https://status.example.org"),
                      Result(Check.DATABASE, Verdict.OK, "latency as an hour ago"),
                      Result(Check.RESOURCES, Verdict.UNKNOWN, "no series of memory for payments"),
                      Result(Check.CONFIGURATION, Verdict.UNKNOWN, "no series of a configuration hash")),
              suspects=(Suspect("card-gateway", 0.91, "its errors began 40 s before those of payments"),)),
        _make("91b0c2d3e4f5", "checkout", "checkout answers slowly: p99 2.4s", Severity.HIGH, Status.OPEN, -840,
              rule="http-latency-p99", signal=("latency_p99", 2.4, 3.1, 0.8)),
        _make("0d4f5a6b7c8e", "reports", "reports has 1240 jobs waiting", Severity.LOW, Status.OPEN, -5400, rule="queue-depth",
              signal=("depth", 1240.0, 1310.0, 500.0), muted="window nightly reports", stale=True),
        _make(OVER, "search", "search fails 2.2% of its requests", Severity.MEDIUM, Status.RESOLVED, -9000,
              rule="http-errors", signal=("error_rate", 0.001, 0.022, 0.01), resolved=NOW - 700, acknowledged_by="tomasz",
              acknowledged=NOW - 8800, end_reason="recovered", episode=2),
        *(
            _make(f"c{number:02d}aa11bb22cc", service, f"{service} fails {peak:.1%} of its requests", severity, Status.CLOSED,
                  -86400.0 * number, rule="http-errors", signal=("error_rate", 0.0, peak, 0.01),
                  resolved=NOW - 86400.0 * number + lasted, closed=NOW - 86400.0 * number + lasted + 1800,
                  end_reason="recovered", acknowledged_by="ana")
            for number, (service, peak, severity, lasted) in enumerate(
                [("search", 0.03, Severity.MEDIUM, 410.0), ("payments", 0.22, Severity.CRITICAL, 3720.0),
                 ("checkout", 0.06, Severity.HIGH, 930.0), ("reports", 0.015, Severity.LOW, 240.0)], start=1)
        ),
    ]  # fmt: skip


def _make(
    identity: str,
    service: str,
    summary: str,
    severity: Severity,
    status: Status,
    since: float,
    *,
    rule: str,
    signal: tuple[str, float, float, float],
    **changes: Any,
) -> Incident:
    name, value, peak, threshold = signal
    labels = (("service", service),)
    alert = JoinedAlert(
        rule, labels, service, severity, NOW + since, NOW + since, signal=name, threshold=threshold,
        signals={name: SignalTrack(value, peak, value if status in {Status.RESOLVED, Status.CLOSED} else None)},
    )  # fmt: skip
    fields: dict[str, Any] = {
        "id": identity, "status": status, "severity": severity, "peak_severity": severity, "service": service,
        "services": (service,), "rules": (rule,), "labels": labels, "opened": NOW + since, "detected": NOW + since,
        "summary": summary, "alerts": {alert.key: alert}, "pages": (), "relapses": (), "due": None,
        "rule_labels": {"team": "payments" if service == "payments" else "shop"},
    }  # fmt: skip
    return make_incident(1, **(fields | changes))


def _list_mutes() -> list[KeptMute]:
    return [
        KeptMute(Mute("w1", MuteKind.WINDOW, parse_matchers(["service=reports"]), NOW - 7200, NOW + 3600, "rule files",
                      "nightly reports"), 1.0),
        KeptMute(Mute("s1", MuteKind.SILENCE, parse_matchers(["service=search", 'severity=~"low|medium"']), NOW - 600,
                      NOW + 6600, "tomasz", "index is being rebuilt"), NOW - 600),
        KeptMute(Mute("s2", MuteKind.SILENCE, parse_matchers(["service=checkout"]), NOW + 36000, NOW + 39600, "ana",
                      "database moves to its new host"), NOW - 60),
        KeptMute(Mute("s0", MuteKind.SILENCE, parse_matchers(["service=checkout"]), NOW - 90000, NOW - 80000, "ana",
                      "load test"), NOW - 90000, NOW - 83000, "ana"),
    ]  # fmt: skip


if __name__ == "__main__":
    asyncio.run(take_pictures(Path(sys.argv[1])))
