"""`detector diagnose SERVICE`: the usual causes in order, and the likely culprit. Works from the rule files and Prometheus alone.

Exit code 0 when nothing is bad (unknown alone is no finding), 1 when something is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from detector.cli.completion import complete_service
from detector.cli.exit import DONE, FAILURE, USAGE, fail
from detector.cli.moment import read_moment
from detector.cli.setting import read_settings
from detector.cli.table import clean, format_json, show_time

if TYPE_CHECKING:
    from detector.adapters.settings import Settings
    from detector.domain.check import Diagnosis
    from detector.domain.deploy import Deploy
    from detector.domain.rule import RuleSet
    from detector.transport.exchange import Exchange, Request

LIVE_SECONDS = 300.0
DAEMON_SECONDS = 5.0
DAEMON_BYTES = 1 << 20
_MARKS = {"ok": "✅", "bad": "🔴", "unknown": "❔"}

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help="Look at the usual causes in order and name the likely culprit. Exit code 1 when something is bad.")
def diagnose(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="As the rules and the catalogue name it.", autocompletion=complete_service)
    ],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="A past moment: unix seconds, or 2026-11-23T08:00:00Z.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - typer's options
) -> None:
    """Diagnose a service."""
    now = time.time()
    moment = read_moment(at) if at else now
    settings = read_settings()
    rules = _load_rules(settings)
    found = asyncio.run(_diagnose(settings, rules, service, moment, live=abs(now - moment) < LIVE_SECONDS))
    if as_json:
        print(format_json(lay_out(found)))
    else:
        _show(found)
    raise typer.Exit(DONE if found.first_bad is None else FAILURE)


def lay_out(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON shows it."""
    from detector.domain.view import view_diagnosis

    return view_diagnosis(found)


def _load_rules(settings: Settings) -> RuleSet:
    from detector.adapters.rulefile import RuleDirectory
    from detector.ports.rulefile import RuleFilesError

    try:
        return RuleDirectory(settings.rules, every_seconds=settings.every).load().rules
    except RuleFilesError as fault:
        for finding in fault.findings:
            fail(str(finding))
        raise typer.Exit(
            fail(f"no rules to diagnose by: mend {settings.rules} (`detector check` lists all findings)", USAGE)
        ) from None


class _RemoteDeploys:
    """The daemon's log of deploys; without a daemon none is known, and the diagnosis works all the same."""

    def __init__(self, settings: Settings, exchange: Exchange) -> None:
        self._url = settings.daemon_url
        self._token = settings.read_token or settings.write_token
        self._exchange = exchange

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> list[Deploy]:
        """Those that the daemon was told of. Bounded as a whole: a daemon that drips its answer must not hold the command."""
        from detector.domain.deploy import Deploy
        from detector.ports.error import PermanentError, TemporaryError
        from detector.transport.fault import ExchangeError, Fault

        try:
            reply = await self._exchange.send(self._make_request(service, since, until, limit))
        except ExchangeError as error:
            if error.fault is Fault.CONNECT:
                return []
            raise TemporaryError(f"the daemon: {error.detail or error.fault.value}") from error
        if reply.status != HTTPStatus.OK:
            raise PermanentError(f"the daemon at {self._url} answered {reply.status}; check DETECTOR_URL and DETECTOR_READ_TOKEN")
        try:
            found = json.loads(reply.body)
            return [Deploy(told["service"], told["version"], told["at"], told["by"], told["url"] or "") for told in found]
        except (ValueError, TypeError, KeyError) as error:
            raise PermanentError(f"what answers at {self._url} is not detector; check DETECTOR_URL") from error

    def _make_request(self, service: str | None, since: float, until: float, limit: int) -> Request:
        from detector.transport.exchange import Request

        wanted = {"service": service, "since": since, "until": until, "limit": limit}
        query = urlencode({name: value for name, value in wanted.items() if value})
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return Request(
            method="GET",
            url=f"{self._url}/api/v1/deploys?{query}",
            deadline_seconds=DAEMON_SECONDS,
            headers=headers,
            max_bytes=DAEMON_BYTES,
            repeatable=True,
        )


async def _diagnose(settings: Settings, rules: RuleSet, service: str, at: float, *, live: bool) -> Diagnosis:
    from detector.adapters.prometheus import PrometheusSource
    from detector.adapters.settings.policy import make_exchange_option
    from detector.adapters.surroundings import OutsideWorld
    from detector.app.diagnosis import Diagnostician
    from detector.transport.exchange import Exchange

    async with Exchange(make_exchange_option(settings)) as prometheus, Exchange() as outside:
        source = PrometheusSource(prometheus, settings.prometheus_url)
        deploys = _RemoteDeploys(settings, outside)
        diagnostician = Diagnostician(source, OutsideWorld(outside), deploys, graph_url=settings.graph_url)
        return await diagnostician.diagnose(rules, service, at, live=live)


def _describe_silence(found: Diagnosis) -> str:
    """No service stands out: that names no culprit, and takes nothing back of what is bad."""
    bad = [result.check.value for result in found.results if result.verdict.value == "bad"]
    begin = f"; begin with what is bad above: {', '.join(bad)}" if bad else ""
    return f"no service stands out ({found.unranked}){begin}"


def _show(found: Diagnosis) -> None:
    for result in found.results:
        print(clean(f"{_MARKS[result.verdict.value]} {result.check.value}: {result.message}"))
    if found.suspects:
        print("suspects, likeliest first:")
        for place, suspect in enumerate(found.suspects, 1):
            print(clean(f"  {place}. {suspect.service} ({suspect.score:.2f}): {suspect.why}"))
    else:
        print(clean(f"suspects: {_describe_silence(found)}"))
    links = {result.link: result.check.value for result in reversed(found.results) if result.link and result.verdict.value == "bad"}
    for link, name in reversed(links.items()):
        print(clean(f"look at {name}: {link}"))
    print(f"{clean(found.service)} at {show_time(found.at)}", file=sys.stderr)
