"""The diagnosis engine with sources that answer, fail, break and hang."""

# ruff: noqa: ARG002 - the world has the signatures of its ports

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from detector.adapters.rulefile import RuleDirectory
from detector.app.diagnosis import Diagnostician, Limit
from detector.domain.catalogue import Catalogue, Service
from detector.domain.check import Check, Diagnosis, Result, Verdict
from detector.domain.deploy import Deploy
from detector.domain.inquiry import Logs
from detector.domain.label import make_labels
from detector.domain.outcome import FailureReason, Matrix, MatrixOutcome, NoData, Outcome, QueryFailed, RangeOutcome, Samples
from detector.domain.rule import RuleSet
from detector.ports.diagnosis import Condition
from detector.ports.error import PermanentError, TemporaryError

NOW = 1_800_000_000.0
QUICK = Limit(budget_seconds=1.0, check_seconds=0.2, course_seconds=0.2)
DIAGNOSIS = {
    "recent_deploy": {"query": "deploys", "above": 0.0},
    "traffic_spike": {"query": "traffic", "above": 5.0},
    "database": {"query": "database", "above": 5.0, "connect": "db:5432"},
    "third_parties": {"statuspages": {"stripe": "page"}, "probes": {"tax": "probe"}},
    "configuration": {"query": "configuration", "above": 5.0, "environment": ["KEY"]},
    "resources": {"query": "resources", "above": 5.0},
    "concurrency": {"query": "concurrency", "above": 5.0},
    "error_rate": {"query": "errors", "above": 5.0},
    "p99": {"query": "p99", "above": 5.0},
    "recent_errors": {"loki": "loki"},
}
QUERIES = ("deploys", "traffic", "database", "configuration", "resources", "concurrency", "errors", "p99")
CALLS = ("statuspage", "probe", "connect", "environment", "errors of the log", "log of deploys")


class World:
    """Prometheus, the surroundings and the log of deploys in one; everything is well unless a name is told otherwise."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.broken: dict[str, Exception] = {}
        self.bad: set[str] = set()
        self.absent = False
        self.deploys: list[Deploy] = []
        self.lines: list[str] = []

    async def _meet(self, name: str) -> None:
        if name in self.hanging:
            await asyncio.Event().wait()
        if name in self.broken:
            raise self.broken[name]

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """One series, 9 where bad and 0 where well."""
        await self._meet(expr)
        return NoData() if self.absent else Samples({make_labels({"instance": "one"}): 9.0 if expr in self.bad else 0.0})

    async def query_range(
        self, expr: str, start: float, end: float, step_seconds: float, *, deadline_seconds: float
    ) -> RangeOutcome:
        """Not asked."""
        raise AssertionError(expr)

    async def query_matrix(
        self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float
    ) -> MatrixOutcome:
        """No history."""
        await self._meet(expr)
        return Matrix({})

    async def read_statuspage(self, url: str) -> Condition:
        """Well unless bad."""
        await self._meet("statuspage")
        return Condition("statuspage" not in self.bad, "All Systems Operational")

    async def probe(self, url: str) -> Condition:
        """Well unless bad."""
        await self._meet("probe")
        return Condition("probe" not in self.bad, "answered 200")

    async def connect(self, address: str) -> Condition:
        """Well unless bad."""
        await self._meet("connect")
        return Condition("connect" not in self.bad, "connected")

    async def read_environment(self, file: str) -> Mapping[str, str]:
        """All there unless bad."""
        await self._meet("environment")
        return {} if "environment" in self.bad else {"KEY": "x"}

    async def read_errors(self, logs: Logs, at: float, limit: int) -> Sequence[str]:
        """The lines that were set."""
        await self._meet("errors of the log")
        return self.lines

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Those that were set."""
        await self._meet("log of deploys")
        return [told for told in self.deploys if since <= told.at <= until][:limit]


def make_rules(diagnosis: Mapping[str, object] | None = None) -> RuleSet:
    """A catalogue with the service shop, and no rules."""
    service = Service("shop", diagnosis=DIAGNOSIS if diagnosis is None else diagnosis)
    return RuleSet((), Catalogue({"shop": service}), "")


async def diagnose(
    world: World, rules: RuleSet | None = None, *, live: bool = True, limit: Limit = QUICK, graph_url: str = ""
) -> dict[Check, Result]:
    """The results by check."""
    diagnostician = Diagnostician(world, world, world, limit=limit, graph_url=graph_url)
    found = await diagnostician.diagnose(rules or make_rules(), "shop", NOW, live=live)
    assert [result.check for result in found.results] == list(Check)
    return {result.check: result for result in found.results}


async def test_all_is_well() -> None:
    """Every check answers in the practice's order, all of them OK."""
    found = await diagnose(World())
    assert {result.verdict for result in found.values()} == {Verdict.OK}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["ERROR no route to db"], "1; newest first: ERROR no route to db"),
        (
            ["ERROR no route to db", "ERROR  timeout"],
            "2, the first: ERROR no route to db; newest first: ERROR timeout | ERROR no route to db",
        ),
    ],
)
async def test_the_first_error_stands_first(lines: list[str], message: str) -> None:
    """Of many lines the end is cut off, and the first error tells more than the twentieth."""
    world = World()
    world.lines = lines
    assert (await diagnose(world))[Check.ERRORS].message == message


BY_SOURCE = {
    "deploys": Check.DEPLOY,
    "log of deploys": Check.DEPLOY,
    "traffic": Check.TRAFFIC,
    "database": Check.DATABASE,
    "connect": Check.DATABASE,
    "statuspage": Check.THIRD_PARTIES,
    "probe": Check.THIRD_PARTIES,
    "configuration": Check.CONFIGURATION,
    "environment": Check.CONFIGURATION,
    "resources": Check.RESOURCES,
    "concurrency": Check.CONCURRENCY,
    "errors": Check.ERROR_RATE,
    "p99": Check.P99,
}


@pytest.mark.parametrize("source", [*QUERIES, *CALLS])
async def test_a_source_that_hangs_delays_only_its_own_check(source: str) -> None:
    """Each source hangs in turn: its checks are unknown within their time, all others say OK."""
    world = World()
    world.hanging.add(source)
    started = asyncio.get_running_loop().time()
    found = await diagnose(world)
    assert asyncio.get_running_loop().time() - started < QUICK.budget_seconds
    hit = {Check.ERRORS, Check.CONCURRENCY} if source == "errors of the log" else {BY_SOURCE[source]}
    assert {check for check, result in found.items() if result.verdict is Verdict.UNKNOWN} == hit
    assert {check for check, result in found.items() if result.verdict is Verdict.OK} == set(Check) - hit
    assert all(found[check].message == "no answer within 0.2 s" for check in hit)


@pytest.mark.parametrize("reason", ["no answer within 0.05 s", "down"])
async def test_without_the_log_of_deploys_prometheus_still_tells(reason: str) -> None:
    """The log of deploys hangs or fails: a deploy that Prometheus shows is found all the same, and without one it is unknown."""
    world = World()
    if reason == "down":
        world.broken["log of deploys"] = TemporaryError("down", attempted=False)
    else:
        world.hanging.add("log of deploys")
    limit = replace(QUICK, deploy_log_seconds=0.05, check_seconds=20.0, budget_seconds=30.0)
    found = (await diagnose(world, limit=limit))[Check.DEPLOY]
    assert (found.verdict, found.message) == (Verdict.UNKNOWN, f"log of deploys could not be asked: {reason}")
    world.bad.add("deploys")
    assert (await diagnose(world, limit=limit))[Check.DEPLOY].verdict is Verdict.BAD


async def test_two_hanging_sources_of_a_check_cost_the_time_of_one() -> None:
    """The log is read while the metrics are asked: lock lines are heard though the query takes most of the check's time."""

    class Slow(World):
        async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
            await asyncio.sleep(1.0)
            return QueryFailed(FailureReason.TIMEOUT, "slow")

        async def read_errors(self, logs: Logs, at: float, limit: int) -> Sequence[str]:
            await asyncio.sleep(1.0)
            return ["ERROR deadlock detected"]

    limit = Limit(budget_seconds=30.0, check_seconds=1.9, course_seconds=0.2)
    assert (await diagnose(Slow(), limit=limit))[Check.CONCURRENCY].verdict is Verdict.BAD


async def test_what_could_not_be_asked_is_not_called_absent(tmp_path: Path) -> None:
    """The rules' queries fail or hang: traffic, error rate and suspects say so, and not that there is no such metric."""

    class Failing(World):
        async def query_matrix(
            self, expr: str, start: float, count: int, step_seconds: float, *, deadline_seconds: float
        ) -> MatrixOutcome:
            await self._meet("history")
            return QueryFailed(FailureReason.HTTP_STATUS, "answered 503")

    (tmp_path / "r.yaml").write_text("rules: [{name: r, by: [service], signals: {error_rate: {ratio: [a, b]}}, open: 'true'}]")
    rules = RuleDirectory(tmp_path).load().rules
    for hanging, why in ((False, "http_status: answered 503"), (True, "no answer within 0.2 s")):
        world = Failing()
        world.hanging |= {"history"} if hanging else set()
        limit = replace(QUICK, check_seconds=20.0, budget_seconds=30.0)
        found = await Diagnostician(world, world, limit=limit).diagnose(rules, "shop", NOW)
        by_check = {result.check: result for result in found.results}
        for check in (Check.TRAFFIC, Check.ERROR_RATE):
            assert (by_check[check].verdict, by_check[check].message) == (
                Verdict.UNKNOWN,
                f"the rules' signals could not be asked: {why}",
            )
        assert found.unranked == f"its signals could not be asked: {why}"


async def test_each_check_links_to_what_it_saw() -> None:
    """A graph of the worst query, the status page, the deploy; where the catalogue names a dashboard, that one."""
    world = World()
    world.bad |= {"database"}
    diagnosis = {**DIAGNOSIS, "third_parties": {"statuspages": {"stripe": "https://status.example/api/v2/summary.json"}}}
    rules = make_rules(diagnosis)
    found = await diagnose(world, rules, graph_url="http://prometheus:9090/prefix/")
    parts = urlsplit(found[Check.DATABASE].link)
    assert (parts.netloc, parts.path) == ("prometheus:9090", "/prefix/graph")
    assert parse_qs(parts.query)["g0.expr"] == ["database"]
    assert parse_qs(parts.query)["g0.end_input"] == ["2027-01-15 08:00:00"]
    assert found[Check.THIRD_PARTIES].link == "https://status.example"
    measured = set(Check) - {Check.THIRD_PARTIES, Check.ERRORS}
    assert all("/graph?" in found[check].link for check in measured)
    service = Service("shop", diagnosis=diagnosis, dashboard="https://grafana.example/shop")
    found = await diagnose(world, RuleSet((), Catalogue({"shop": service}), ""), graph_url="http://prometheus:9090")
    assert {result.link for result in found.values()} == {"https://grafana.example/shop", "https://status.example"}


async def test_everything_hanging_ends_within_the_budget() -> None:
    """All sources at once: unknown everywhere, no suspects, in the time of one check."""
    world = World()
    world.hanging |= {*QUERIES, *CALLS}
    found = await diagnose(world)
    assert {result.verdict for result in found.values()} == {Verdict.UNKNOWN}


async def test_a_check_beyond_the_budget_is_cut() -> None:
    """A check with more time than the whole diagnosis is cut at the budget."""
    world = World()
    world.hanging.add("p99")
    limit = Limit(budget_seconds=0.2, check_seconds=60.0, course_seconds=0.1)
    found = await Diagnostician(world, world, limit=limit).diagnose(make_rules(), "shop", NOW)
    cut = next(result for result in found.results if result.check is Check.P99)
    assert cut == Result(Check.P99, Verdict.UNKNOWN, "no answer within the 0.2 s that a diagnosis has")


@pytest.mark.parametrize("fault", [TemporaryError("down", attempted=False), PermanentError("wrong"), KeyError("bug")])
@pytest.mark.parametrize("source", CALLS)
async def test_a_source_that_breaks_stops_no_other(source: str, fault: Exception) -> None:
    """An outside fault or a fault of our own is said as unknown; every other check still answers."""
    world = World()
    world.broken[source] = fault
    found = await diagnose(world)
    unknown = {check for check, result in found.items() if result.verdict is Verdict.UNKNOWN}
    assert unknown == ({Check.ERRORS, Check.CONCURRENCY} if source == "errors of the log" else {BY_SOURCE[source]})


@pytest.mark.parametrize(("source", "check"), [(name, check) for name, check in BY_SOURCE.items() if name != "log of deploys"])
async def test_each_source_makes_its_check_bad(source: str, check: Check) -> None:
    """One bad source, one bad check, and it is the first bad one."""
    world = World()
    world.bad.add(source)
    found = await diagnose(world)
    assert [name for name, result in found.items() if result.verdict is Verdict.BAD] == [check]


async def test_absent_metrics_are_unknown_not_fine() -> None:
    """With no series anywhere, no check that rests on metrics alone is OK or bad."""
    world = World()
    world.absent = True
    found = await diagnose(world, make_rules({}))
    assert {result.verdict for result in found.values()} == {Verdict.UNKNOWN}
    assert found[Check.DATABASE].message.startswith("no such metric (looked for PostgreSQL up, ")


async def test_a_failed_query_says_why() -> None:
    """The reason stands in the message."""

    class Failing(World):
        async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
            return QueryFailed(FailureReason.HTTP_STATUS, "answered 503")

    found = await diagnose(Failing())
    assert found[Check.RESOURCES].message == "resources could not be asked: http_status: answered 503"


async def test_a_deploy_shortly_before_is_found() -> None:
    """What was told of a deploy in the hour before is bad, with who and when; an older one is not."""
    world = World()
    world.deploys = [Deploy("shop", "v42", NOW - 300, "ann", "https://ci.example/42")]
    found = (await diagnose(world))[Check.DEPLOY]
    assert found == Result(Check.DEPLOY, Verdict.BAD, "v42 deployed 5m before by ann", "https://ci.example/42")
    world.deploys = [Deploy("shop", "v41", NOW - 7200)]
    assert (await diagnose(world, make_rules({})))[Check.DEPLOY].verdict is not Verdict.BAD


async def test_error_lines_are_shown_newest_first_and_inert() -> None:
    """Lines come cut and on one line; one about locks makes concurrency bad."""
    world = World()
    world.lines = ["ERROR first", "FATAL deadlock\ndetected " + "x" * 1000]
    found = await diagnose(world)
    assert found[Check.ERRORS].message.startswith("2, the first: ERROR first; newest first: FATAL deadlock detected xxx")
    assert found[Check.ERRORS].message.endswith(" | ERROR first")
    assert len(found[Check.ERRORS].message) < 400
    assert found[Check.CONCURRENCY].verdict is Verdict.BAD


async def test_a_past_moment_does_not_ask_what_tells_of_now_only() -> None:
    """Status pages, probes, sockets and the end of a file are not asked about the past."""
    world = World()
    world.bad |= {"statuspage", "probe", "connect"}
    found = await diagnose(world, live=False)
    assert found[Check.THIRD_PARTIES].message == "stripe, tax: status pages and probes tell of now only"
    assert found[Check.DATABASE].verdict is Verdict.OK


async def test_results_are_heard_as_they_come() -> None:
    """A listener hears quick checks before a hanging one gives up."""
    world = World()
    world.hanging.add("deploys")
    heard: list[Check] = []
    found: Diagnosis = await Diagnostician(world, world, world, limit=QUICK).diagnose(
        make_rules(), "shop", NOW, on_result=lambda result: heard.append(result.check)
    )
    assert sorted(heard) == sorted(Check)
    assert heard[-1] is Check.DEPLOY
    assert found.first_bad is None
