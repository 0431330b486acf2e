"""The checks one by one: each asks its sources and says what that means. None knows of time limits; `diagnosis` has them.

Before it: `diagnosis`, with what is to be asked. After it: `domain.measurement` judges the numbers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from detector.app.evidence import Courses
from detector.domain.check import Check, Result, Verdict
from detector.domain.course import HISTORY_STEPS, STEP_SECONDS, Course
from detector.domain.inquiry import Inquiry
from detector.domain.measurement import Evidence, conclude, fill, judge
from detector.domain.quantity import format_number, format_percent, format_signal, format_span
from detector.domain.traffic import find_burst, judge_traffic, read_history
from detector.ports.diagnosis import DeployLog, Surroundings
from detector.ports.error import OutsideError
from detector.ports.source import PastSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from detector.domain.deploy import Deploy
    from detector.ports.diagnosis import Condition

WINDOW = "5m"
QUERY_SECONDS = 8.0
DEPLOY_SECONDS = 3600.0
ERRORS = 20
LINE_CHARACTERS = 300
LOCK_WORDS = ("deadlock", "lock wait timeout", "could not obtain lock", "lock timeout", "database is locked", "pool exhausted")
_P_NAMES = ("p99", "p95", "p90", "latency")


@dataclass(frozen=True, slots=True)
class Case:
    """What a diagnosis is about, and whom it may ask. `courses`: what the rules' signals said, asked once for all checks.

    `live`: the moment is now. Status pages, probes and the end of a log file tell of now only. `graph_url`: where a browser finds
    Prometheus.
    """

    inquiry: Inquiry
    at: float
    source: PastSource
    surroundings: Surroundings
    courses: asyncio.Future[Courses]
    deploys: DeployLog | None = None
    live: bool = True
    deploy_log_seconds: float = QUERY_SECONDS
    graph_url: str = ""

    async def own_courses(self) -> list[Course]:
        """Those of the service itself."""
        return [course for course in (await asyncio.shield(self.courses)).known if course.service == self.inquiry.service]

    async def explain_absence(self, reason: str) -> str:
        """Why a signal is not known: absent for the reason given, or the rules' queries failed and nobody can tell."""
        failed = (await asyncio.shield(self.courses)).failed
        return f"the rules' signals could not be asked: {failed}" if failed else f"no such metric ({reason})"

    def draw(self, query: str) -> str:
        """Where Prometheus draws a query: two hours up to the moment."""
        moment = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        wanted = {"g0.expr": query, "g0.tab": "0", "g0.range_input": "2h", "g0.end_input": moment}
        return f"{self.graph_url.rstrip('/')}/graph?{urlencode(wanted)}" if self.graph_url and query else ""


async def measure(case: Case, check: Check) -> list[Evidence]:
    """Ask every measurement of a check, all at once."""
    wanted = case.inquiry.measurements.get(check, ())
    queries = [fill(item.query, case.inquiry.service, WINDOW) for item in wanted]
    answers = await asyncio.gather(*(case.source.query(query, case.at, deadline_seconds=QUERY_SECONDS) for query in queries))
    judged = (judge(item, answer, case.at) for item, answer in zip(wanted, answers, strict=True))
    return [replace(found, link=case.draw(query)) for found, query in zip(judged, queries, strict=True)]


async def check_deploys(case: Case) -> Result:
    """A deploy in the hour before: as told, or as Prometheus shows it."""
    told, found = await asyncio.gather(_list_told(case), measure(case, Check.DEPLOY))
    link = next((item.link for item in told if item.link), "")
    return conclude(Check.DEPLOY, [*told, *found], link or case.inquiry.link)


async def check_traffic(case: Case) -> Result:
    """Requests now against the same hour of yesterday and a week ago, else against the last two hours."""
    if case.inquiry.measurements.get(Check.TRAFFIC):
        return conclude(Check.TRAFFIC, await measure(case, Check.TRAFFIC), case.inquiry.link)
    courses = [course for course in await case.own_courses() if course.traffic is not None and course.query]
    if not courses:
        why = await case.explain_absence("no rule counts the requests of this service")
        return Result(Check.TRAFFIC, Verdict.UNKNOWN, why, case.inquiry.link)
    course = courses[0]
    usual = read_history(case.at)
    minutes = [(case.at - HISTORY_STEPS * STEP_SECONDS, HISTORY_STEPS + 1, STEP_SECONDS), *usual]
    asking = [(course.query, span) for span in usual] + [(course.sharp, span) for span in minutes]
    answers = await asyncio.gather(
        *(case.source.query_matrix(query, *span, deadline_seconds=QUERY_SECONDS) for query, span in asking if query)
    )
    days, last = answers[: len(usual)], answers[len(usual) :]
    burst = find_burst(course.labels, last[0], last[1:]) if last else None
    judged = judge_traffic(course, days, case.inquiry.traffic_above, burst)
    return replace(judged, link=case.inquiry.link or case.draw(course.query))


async def check_database(case: Case) -> Result:
    """What the exporters of databases say, and whether a connection can be made."""
    address = case.inquiry.connect if case.live else ""
    connection = [_look(address, case.surroundings.connect(address))] if address else []
    found, looked = await asyncio.gather(measure(case, Check.DATABASE), asyncio.gather(*connection))
    return conclude(Check.DATABASE, [*looked, *found], case.inquiry.link)


async def check_third_parties(case: Case) -> Result:
    """Status pages and plain probes of those the service needs."""
    named = [*case.inquiry.statuspages, *case.inquiry.probes]
    if named and not case.live and not case.inquiry.measurements.get(Check.THIRD_PARTIES):
        said = f"{', '.join(named)}: status pages and probes tell of now only"
        return Result(Check.THIRD_PARTIES, Verdict.UNKNOWN, said, case.inquiry.link)
    pages = [
        _look(name, case.surroundings.read_statuspage(url), url.partition("/api/v")[0])
        for name, url in case.inquiry.statuspages.items()
    ]
    probes = [_look(name, case.surroundings.probe(url)) for name, url in case.inquiry.probes.items()]
    found, looked = await asyncio.gather(measure(case, Check.THIRD_PARTIES), asyncio.gather(*pages, *probes))
    if not found and not looked:
        return Result(Check.THIRD_PARTIES, Verdict.UNKNOWN, "none is named; add diagnosis: third_parties: to the catalogue")
    done = conclude(Check.THIRD_PARTIES, [*looked, *found])
    return replace(done, link=done.link or case.inquiry.link)


async def check_configuration(case: Case) -> Result:
    """Reloads, changed hashes, and names that must be set."""
    required = [_check_environment(case)] if case.inquiry.environment else []
    found, looked = await asyncio.gather(measure(case, Check.CONFIGURATION), asyncio.gather(*required))
    return conclude(Check.CONFIGURATION, [*found, *looked], case.inquiry.link)


async def check_resources(case: Case) -> Result:
    """CPU, memory, disk, descriptors, throttling, OOM."""
    return conclude(Check.RESOURCES, await measure(case, Check.RESOURCES), case.inquiry.link)


async def check_concurrency(case: Case) -> Result:
    """Locks, deadlocks, full pools, as metrics and as log lines."""
    is_told = case.inquiry.logs is not None and (case.live or case.inquiry.logs.loki)
    lines = [_search_locks(case)] if is_told else []
    found, looked = await asyncio.gather(measure(case, Check.CONCURRENCY), asyncio.gather(*lines))
    return conclude(Check.CONCURRENCY, [*found, *looked], case.inquiry.link)


async def check_error_rate(case: Case) -> Result:
    """The share of failed requests now, and as it was."""
    if case.inquiry.measurements.get(Check.ERROR_RATE):
        return conclude(Check.ERROR_RATE, await measure(case, Check.ERROR_RATE), case.inquiry.link)
    ratios = [course for course in await case.own_courses() if course.traffic is not None]
    shown = [(course, course.values[-1]) for course in ratios if course.values and course.values[-1] is not None]
    if not shown:
        why = await case.explain_absence("no rule has a ratio for this service, or it has no traffic")
        return Result(Check.ERROR_RATE, Verdict.UNKNOWN, why, case.inquiry.link)
    course, value = max(((course, value or 0.0) for course, value in shown), key=lambda pair: pair[1])
    past = [known for known in course.values[:-1] if known is not None]
    bad = value > max(case.inquiry.error_rate_above, 2.0 * median(past) if past else 0.0)
    usual = f"median of the last two hours {format_percent(median(past))}" if past else "no history to compare with"
    message = f"{format_percent(value)}, {usual}"
    return Result(Check.ERROR_RATE, Verdict.BAD if bad else Verdict.OK, message, case.inquiry.link)


async def check_p99(case: Case) -> Result:
    """p99 of the service's histogram; without one, the slowest latency that a rule knows, against its usual."""
    found = await measure(case, Check.P99)
    if any(item.verdict is not Verdict.UNKNOWN or item.failed for item in found):
        return conclude(Check.P99, found, case.inquiry.link)
    known = {course.signal: course for course in await case.own_courses() if course.values and course.values[-1] is not None}
    course = next((known[name] for name in _P_NAMES if name in known), None)
    if course is None:
        return conclude(Check.P99, found, case.inquiry.link)
    value = course.values[-1] or 0.0
    usual = median([past for past in course.values[:-1] if past is not None] or [value])
    noise = course.measure_noise()
    bad = noise is not None and value - usual > 3.0 * noise
    name = course.signal
    times = f", {format_number(round(value / usual, 2))} times that" if usual > 0 else ""
    message = f"no p99; {name} {format_signal(name, value)}, median of the last two hours {format_signal(name, usual)}{times}"
    return Result(Check.P99, Verdict.BAD if bad else Verdict.OK, message, case.inquiry.link)


async def check_errors(case: Case) -> Result:
    """The last 20 error lines of the quarter of an hour before; any at all is bad."""
    if case.inquiry.logs is None:
        return Result(Check.ERRORS, Verdict.UNKNOWN, "no log is named; add diagnosis: recent_errors: {loki: ...} or {file: ...}")
    if case.inquiry.logs.file and not case.live:
        return Result(Check.ERRORS, Verdict.UNKNOWN, f"the end of {case.inquiry.logs.file} tells of now only")
    lines = await case.surroundings.read_errors(case.inquiry.logs, case.at, ERRORS)
    if not lines:
        return Result(Check.ERRORS, Verdict.OK, "no error lines", case.inquiry.link)
    shown = [" ".join(line.split())[:LINE_CHARACTERS] for line in lines]
    # the first is what the ticket must keep, and it would be cut off at the end of many
    first = f", the first: {shown[0]}" if len(shown) > 1 else ""
    return Result(Check.ERRORS, Verdict.BAD, f"{len(lines)}{first}; newest first: {' | '.join(reversed(shown))}", case.inquiry.link)


async def _list_told(case: Case) -> list[Evidence]:
    """The deploys of the hour before as they were told; a log that fails or hangs leaves what Prometheus shows."""
    name = "log of deploys"
    if case.deploys is None:
        return []
    try:
        async with asyncio.timeout(case.deploy_log_seconds):
            found = await case.deploys.list_deploys(case.inquiry.service, case.at - DEPLOY_SECONDS, case.at, 5)
            if not found and await case.deploys.list_deploys(case.inquiry.service, 0.0, case.at, 1):
                return [Evidence(name, Verdict.OK, f"no deploy told in the last {format_span(DEPLOY_SECONDS)}")]
    except TimeoutError:
        return [Evidence(name, Verdict.UNKNOWN, failed=f"no answer within {case.deploy_log_seconds:g} s")]
    except OutsideError as fault:
        return [Evidence(name, Verdict.UNKNOWN, failed=str(fault))]
    return [_describe_deploy(deploy, case.at) for deploy in found]


def _describe_deploy(deploy: Deploy, at: float) -> Evidence:
    age_seconds = at - deploy.at
    who = f" by {deploy.by}" if deploy.by else ""
    text = f"{deploy.version} deployed {format_span(age_seconds)} before{who}"
    return Evidence("deploys", Verdict.BAD, text, excess=2.0 - age_seconds / DEPLOY_SECONDS, link=deploy.url)


async def _look(name: str, looking: Awaitable[Condition], link: str = "") -> Evidence:
    """One look outside as evidence; a look that fails is no verdict."""
    try:
        found = await looking
    except OutsideError as fault:
        return Evidence(name, Verdict.UNKNOWN, failed=str(fault), link=link)
    excess = 0.0 if found.good else 1.0
    return Evidence(name, Verdict.OK if found.good else Verdict.BAD, f"{name}: {found.message}", excess=excess, link=link)


async def _check_environment(case: Case) -> Evidence:
    name = "environment"
    try:
        values = await case.surroundings.read_environment(case.inquiry.environment_file)
    except OutsideError as fault:
        return Evidence(name, Verdict.UNKNOWN, failed=str(fault))
    missing = [wanted for wanted in case.inquiry.environment if not values.get(wanted)]
    if missing:
        return Evidence(name, Verdict.BAD, f"not set: {', '.join(missing)}", excess=1.0)
    return Evidence(name, Verdict.OK, f"all {len(case.inquiry.environment)} required names are set")


async def _search_locks(case: Case) -> Evidence:
    name = "log lines about locks"
    if case.inquiry.logs is None:
        return Evidence(name, Verdict.UNKNOWN)
    try:
        lines: Sequence[str] = await case.surroundings.read_errors(case.inquiry.logs, case.at, ERRORS)
    except OutsideError as fault:
        return Evidence(name, Verdict.UNKNOWN, failed=str(fault))
    hits = [line for line in lines if any(word in line.lower() for word in LOCK_WORDS)]
    if not hits:
        return Evidence(name, Verdict.OK, "no log line about locks")
    return Evidence(name, Verdict.BAD, f"{len(hits)} log lines about locks, e.g. {' '.join(hits[-1].split())[:120]}", excess=1.0)


CHECKS: Mapping[Check, Callable[[Case], Awaitable[Result]]] = {
    Check.DEPLOY: check_deploys,
    Check.TRAFFIC: check_traffic,
    Check.DATABASE: check_database,
    Check.THIRD_PARTIES: check_third_parties,
    Check.CONFIGURATION: check_configuration,
    Check.RESOURCES: check_resources,
    Check.CONCURRENCY: check_concurrency,
    Check.ERROR_RATE: check_error_rate,
    Check.P99: check_p99,
    Check.ERRORS: check_errors,
}
