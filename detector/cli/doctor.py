"""`detector doctor`: the readiness checklist, seen from this machine. Exit code 1 when something is missing or not known."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import typer

from detector.cli.exit import DONE, FAILURE
from detector.cli.incident import AsJson  # noqa: TC001 - typer evaluates it
from detector.cli.setting import read_settings
from detector.cli.table import clean, format_json
from detector.domain.quantity import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.adapters.settings import Settings
    from detector.domain.catalogue import Catalogue
    from detector.domain.readiness import Item
    from detector.domain.rule import RuleSet
    from detector.ports.source import SampleSource
    from detector.transport.exchange import Exchange

DEADLINE_SECONDS = 10.0
AT_ONCE = 8
_MARKS = {"ok": "✅", "bad": "🔴", "unknown": "❔"}
_FIRST_REFUSAL = 400
_NEEDS_LOGIN = frozenset({401, 403})  # it is there; whoever is on call can log in

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="What is missing for the next incident: runbooks, routing, coverage, mitigations, drill. Exit code 1 if something is."
)
def doctor(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Go through the list."""
    items = asyncio.run(_examine(read_settings()))
    if as_json:
        rows = [{"name": item.name, "verdict": item.verdict.value, "message": item.message} for item in items]
        print(format_json(rows))
    else:
        for item in items:
            print(clean(f"{_MARKS[item.verdict.value]} {item.name}: {item.message}"))
    raise typer.Exit(DONE if all(item.verdict.value == "ok" for item in items) else FAILURE)


async def _examine(settings: Settings) -> list[Item]:
    from detector.adapters.command import ProcessRunner, sandbox
    from detector.adapters.prometheus import PrometheusSource
    from detector.adapters.settings.policy import make_exchange_option
    from detector.domain import readiness
    from detector.transport.exchange import Exchange

    rules, loaded = _load(settings)
    catalogue = rules.catalogue
    runner = ProcessRunner(settings.mitigation_environment)
    ways = [(f"{service.name} {way.name}", way) for service in catalogue.services.values() for way in service.mitigations]
    programs = await sandbox.find_faults(list(dict.fromkeys(way.run[0] for _, way in ways)), sandbox.read_unit(), runner.find_fault)
    broken = {name: fault for name, way in ways if (fault := programs.faults.get(way.run[0]))}
    async with Exchange(make_exchange_option(settings)) as asking, Exchange() as outside:
        source = PrometheusSource(asking, settings.prometheus_url)
        answers = await _ask_prometheus(source, settings.prometheus_url)
        seen = await _see(source, rules) if answers.verdict.value == "ok" else None
        runbooks = await _reach_runbooks(outside, catalogue)
    return [
        loaded,
        answers,
        readiness.check_runbooks(catalogue, runbooks),
        await _try_status_page(settings),
        readiness.check_flags(catalogue),
        readiness.check_programs(broken, len(ways), programs.how),
        readiness.check_coverage(catalogue, seen),
        readiness.check_routing(catalogue, settings.pagerduty.routing_keys),
        _render_postmortem(),
        _read_drill(settings),
    ]


def _load(settings: Settings) -> tuple[RuleSet, Item]:
    from detector.adapters.rulefile import RuleDirectory
    from detector.domain.catalogue import Catalogue
    from detector.domain.check import Verdict
    from detector.domain.readiness import Item
    from detector.domain.rule import RuleSet
    from detector.ports.rulefile import RuleFilesError

    try:
        rules = RuleDirectory(settings.rules, every_seconds=settings.every).load().rules
    except RuleFilesError as fault:
        empty = RuleSet((), Catalogue(), "")
        return empty, Item("rule files", Verdict.BAD, f"{fault}; `detector check` lists all findings")
    services = format_count(len(rules.catalogue.services), "service")
    return rules, Item("rule files", Verdict.OK, f"{format_count(len(rules.rules), 'rule')}, {services}; digest {rules.digest}")


async def _ask_prometheus(source: SampleSource, url: str) -> Item:
    from detector.domain.check import Verdict
    from detector.domain.outcome import QueryFailed
    from detector.domain.readiness import Item

    answer = await source.query("vector(1)", time.time(), deadline_seconds=DEADLINE_SECONDS)
    if isinstance(answer, QueryFailed):
        return Item("prometheus", Verdict.BAD, f"{url} does not answer: {answer.reason.value} {answer.detail}".strip())
    return Item("prometheus", Verdict.OK, f"{url} answers")


async def _see(source: SampleSource, rules: RuleSet) -> Mapping[str, set[str]]:
    """Names of the signals with a value now, by service."""
    from detector.domain.reading import plan_queries, read_signals

    now, seen = time.time(), dict[str, set[str]]()
    for rule in rules.rules:
        queries = plan_queries(rule)
        found = await asyncio.gather(*(source.query(text, now, deadline_seconds=DEADLINE_SECONDS) for text in queries))
        readings = read_signals(rule, dict(zip(queries, found, strict=True)))
        for name, column in readings.columns.items():
            for labels in {*column.values, *column.thin, *column.idle}:
                # a rule whose name tells what it watches counts, too: signals of alerting rules are called `value`
                seen.setdefault(rule.service_of(labels), set()).update({name, rule.name})
    return seen


async def _reach_runbooks(outside: Exchange, catalogue: Catalogue) -> Mapping[str, str]:
    from detector.transport.exchange import Request
    from detector.transport.fault import ExchangeError

    turns = asyncio.Semaphore(AT_ONCE)

    async def reach(url: str) -> str:
        async with turns:
            try:
                reply = await outside.send(
                    Request(method="GET", url=url, deadline_seconds=DEADLINE_SECONDS, repeatable=True, keep_redirect=True)
                )
            except (ExchangeError, ValueError) as fault:
                return f"{url}: {fault}"
        good = reply.status < _FIRST_REFUSAL or reply.status in _NEEDS_LOGIN
        return "" if good else f"{url} answered {reply.status}"

    with_runbook = [service for service in catalogue.services.values() if service.runbook]
    faults = await asyncio.gather(*(reach(service.runbook) for service in with_runbook))
    return {service.name: fault for service, fault in zip(with_runbook, faults, strict=True) if fault}


async def _try_status_page(settings: Settings) -> Item:
    """Atlassian's where it is set: worded and logged in; else the daemon's own, which needs no deployment to be updated."""
    from detector.cli.client import Client, DaemonError
    from detector.domain.check import Verdict
    from detector.domain.readiness import Item

    name = "status page"
    if settings.statuspage is not None:
        fault = await _rehearse_statuspage(settings)
        return Item(name, Verdict.BAD, fault) if fault else Item(name, Verdict.OK, "Statuspage: login and rendering work")
    try:
        await asyncio.to_thread(Client(settings).get, "/status.json")
    except DaemonError as fault:
        return Item(name, Verdict.UNKNOWN, f"the daemon's own page could not be seen: {fault}")
    return Item(name, Verdict.OK, "the daemon's own page answers")


async def _rehearse_statuspage(settings: Settings) -> str:
    from detector.adapters.settings.policy import make_paging
    from detector.adapters.statuspage import AtlassianStatuspage
    from detector.adapters.template import TemplateRenderer
    from detector.domain.catalogue import Catalogue
    from detector.domain.exercise import make_facts
    from detector.domain.incident import NoticeKind
    from detector.domain.severity import Severity
    from detector.ports.error import OutsideError
    from detector.ports.store import Delivery
    from detector.transport.exchange import Exchange

    page, now = settings.statuspage, time.time()
    if page is None:
        return "not configured"
    channel = AtlassianStatuspage(Exchange(), page.page_id, page.token, TemplateRenderer(), api_url=page.api_url)
    values = make_facts("doctor", Catalogue(), make_paging(settings), now, over=False)
    delivery = Delivery("doctor", "doctor", 0, NoticeKind.TRIGGER, channel.name, "", "doctor", Severity.LOW, now, values)
    try:
        await channel.rehearse(delivery, now=now)
    except OutsideError as fault:
        return str(fault)
    finally:
        await channel.close()
    return ""


def _render_postmortem() -> Item:
    from detector.adapters.postmortem import draw_plot, render_document
    from detector.domain.check import Verdict
    from detector.domain.incident import Incident, Status
    from detector.domain.postmortem import Curve, Facts
    from detector.domain.readiness import Item
    from detector.domain.severity import Severity

    incident = Incident(
        "example", 0, Status.RESOLVED, Severity.HIGH, Severity.HIGH, "example", ("example",), ("example",), (), 0.0, 5.0, "example",
        acknowledged=60.0, resolved=600.0,
    )  # fmt: skip
    facts = Facts(incident, (), (), 86_400.0, (Curve("example", "error_rate", "", ((0.0, 0.2), (600.0, 0.0)), 0.01),))
    good = "## Root cause" in render_document(facts, "example.svg") and draw_plot(facts).endswith("</svg>\n")
    return Item(
        "post-mortem", Verdict.OK if good else Verdict.BAD, "the document renders" if good else "the document does not render"
    )


def _read_drill(settings: Settings) -> Item:
    from detector.cli.client import Client, DaemonError
    from detector.domain.readiness import check_drill

    try:
        found = Client(settings).get("/api/v1/drill")
    except DaemonError as fault:
        return check_drill(None, time.time(), str(fault))
    return check_drill(found["last_success"], time.time())
