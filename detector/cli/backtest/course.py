"""Runs a backtest: rules in, the past of a Prometheus, a verdict out; progress and faults told in one line each."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.calendar import RuleCalendar
from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.template import TemplateRenderer
from detector.app.backtest import Backtest
from detector.app.replay import Replay
from detector.app.stretch import PastError
from detector.cli.backtest.period import Period
from detector.cli.backtest.plot import Canvas
from detector.cli.backtest.reference import OtherRulesError, find_rules
from detector.cli.backtest.report import print_report
from detector.cli.exit import DONE, FAILURE, OVER_LIMIT, USAGE, fail
from detector.cli.setting import choose_prometheus, find_access
from detector.cli.table import clean, show_time
from detector.domain.baseline import plan_baselines, plan_history
from detector.domain.ledger import Paging
from detector.domain.outcome import FailureReason
from detector.domain.reading import plan_queries
from detector.domain.severity import Severity
from detector.domain.verdict import Verdict, list_findings
from detector.domain.view import merge_live
from detector.ports.rulefile import RuleFilesError
from detector.transport.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.adapters.settings import Settings
    from detector.domain.rule import Rule, RuleSet

MAX_BODY_BYTES = 64 * 1024 * 1024
_PERMITS = 4  # more than `app.backtest` asks ahead
_ABOUT_THE_QUERY = frozenset(
    {FailureReason.BAD_QUERY, FailureReason.RESULT_TYPE, FailureReason.DUPLICATE, FailureReason.TOO_LARGE, FailureReason.TIMEOUT}
)
_GAP_STEPS = 5  # shorter holes are a scrape that failed


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for. `style`: table, markdown or json."""

    paths: tuple[Path, ...]
    period: Period
    prometheus: str
    compare: str
    style: str
    max_pages: float | None
    plot: Path | None


def perform(order: Order) -> int:
    """Run and print; the exit code."""
    url, settings = choose_prometheus(order.prometheus)
    sets: list[RuleSet] = []
    try:
        with tempfile.TemporaryDirectory(prefix="detector-backtest-") as folder:
            sets.append(_load(order.paths, order.period))
            if order.compare:
                sets.insert(0, _load_other(order, Path(folder)))
            return asyncio.run(_run(order, sets, settings, url))
    except OtherRulesError as error:
        return fail(clean(str(error)), USAGE)
    except RuleFilesError as error:
        for finding in error.findings:
            print(clean(str(finding)), file=sys.stderr)
        return FAILURE
    except PastError as error:
        return fail(clean(_describe(error, sets[-1], url)))


def _load(paths: Sequence[Path], period: Period) -> RuleSet:
    return RuleDirectory(*paths, every_seconds=period.step_seconds).load().rules


def _load_other(order: Order, folder: Path) -> RuleSet:
    """The rules to compare with; a finding among them names the commit, not the folder that it was laid out in."""
    found = find_rules(order.compare, order.paths, folder)
    try:
        return _load(found, order.period)
    except RuleFilesError as error:
        places = [(re.sub(rf"^{re.escape(str(folder))}/\d+/", f"{order.compare}:", each.file), each) for each in error.findings]
        raise RuleFilesError([replace(each, file=file) for file, each in places]) from None


def _describe(error: PastError, rules: RuleSet, url: str) -> str:
    """One line: where, what, and whose query it was, or which option names another server."""
    told = str(error).replace(f"{url.rstrip('/')}: ", "", 1)
    if error.failure.reason not in _ABOUT_THE_QUERY:
        return f"Prometheus at {url}: {told}; is it there? --prometheus URL names another"
    asking = [rule for rule in rules.rules if error.query in _list_asked(rule)]
    whose = f", of rule {asking[0].name} ({asking[0].source.file}:{asking[0].source.line})" if asking else ""
    return f"Prometheus at {url}: {told}; query: {' '.join(error.query.split())}{whose}"


def _list_asked(rule: Rule) -> set[str]:
    history = (query for texts in plan_history(rule).values() for query in texts)
    return {*plan_queries(rule), *plan_queries(rule, severity=True), *plan_baselines(rule).values(), *history}


async def _run(order: Order, sets: Sequence[RuleSet], settings: Settings | None, url: str) -> int:
    period, paging = order.period, make_paging(settings)
    replays = [make_replay(rules, paging, period, TemplateRenderer(lambda _template, _why: None)) for rules in sets]
    canvas = Canvas(replays[-1].rules, period.begin, period.end) if order.plot is not None else None
    async with Exchange(find_access(settings, url)) as exchange:
        source = PrometheusSource(exchange, url, permits=_PERMITS, max_bytes=MAX_BODY_BYTES)
        with _Progress(period.count) as progress:
            past = Backtest(source, replays, period.begin, period.step_seconds, tell=progress.advance)
            if canvas is not None:
                past.look = canvas.add_stretch
            await past.run(period.count)
    verdicts = [make_verdict(replay, period) for replay in replays]
    for warning in _list_warnings(past, sets[-1], period, url):
        print(f"warning: {clean(warning)}", file=sys.stderr)
    if canvas is not None and order.plot is not None:
        try:
            order.plot.write_text(canvas.render(verdicts[-1], page=order.plot.suffix == ".html"))
        except OSError as error:
            return fail(f"--plot {order.plot}: cannot be written: {error.strerror}", USAGE)
    print_report(order.style, verdicts[-1], verdicts[0] if order.compare else None, order.compare)
    pages = verdicts[-1].pages_per_week
    if order.max_pages is not None and pages > order.max_pages:
        return fail(f"{pages:.4g} pages a week, more than the {order.max_pages:g} of --max-pages", OVER_LIMIT)
    return DONE


def make_replay(rules: RuleSet, paging: Paging, period: Period, renderer: TemplateRenderer) -> Replay:
    """A replay under the maintenance windows of its rules."""
    return Replay(rules, paging, renderer, period.step_seconds, calendar=RuleCalendar())


def make_verdict(replay: Replay, period: Period) -> Verdict:
    """What the replay found; incidents that are still open with the values of the last slot."""
    live = [
        merge_live(incident, lambda rule, labels: replay.states.get(rule, {}).get(labels)) for incident in replay.incidents.values()
    ]
    return Verdict(
        period.begin, period.end, period.step_seconds, list_findings(live, replay.muted), len(replay.pages), replay.flaps
    )


def make_paging(settings: Settings | None) -> Paging:
    """Who is paged, by the settings; a routing key is not needed to count pages."""
    if settings is None:
        return Paging()
    given = settings.pagerduty
    return Paging(page_from=Severity(given.page_from), on_rise_new_key=given.on_rise == "new_key")


def _list_warnings(past: Backtest, rules: RuleSet, period: Period, url: str) -> list[str]:
    """Rules that never found a series, and times without any: silence there is no verdict."""
    between = f"between {show_time(period.begin)} and {show_time(period.end)}"
    blind = [rule for rule in rules.rules if rule.name not in past.seen and not rule.vector]
    if len(blind) == len(rules.rules) > 1:
        told = f"none of the {len(blind)} rules matched a series {between}: nothing was judged"
        return [f"{told}; is {url} their Prometheus, and does it keep its data that long?"]
    found = [
        f"{rule.source.file}:{rule.source.line}: rule {rule.name} matched no series {between}; try its queries with "
        f"`detector check --prometheus {url}`"
        for rule in blind
    ]
    gaps = [(first, last) for first, last in past.blank if last - first >= _GAP_STEPS * period.step_seconds]
    if gaps and past.seen:
        shown = ", ".join(f"{show_time(first)} to {show_time(last)}" for first, last in gaps[:3])
        more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""  # noqa: PLR2004 - as many as are shown
        found.append(f"samples missing, nothing was judged there: {shown}{more}")
    return found


class _Progress:
    """A bar on standard error where that is a terminal: share, slots a second, time left."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._stop: Callable[[], None] = lambda: None
        self._update: Callable[[int], None] = lambda _: None

    def __enter__(self) -> _Progress:  # noqa: PYI034 - nobody derives from it
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            bar = Progress(
                TextColumn("backtest"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f} slots"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            task = bar.add_task("backtest", total=self._count, rate="")
            bar.start()

            def update(done: int) -> None:
                speed = bar.tasks[0].speed
                bar.update(task, completed=done, rate=f"{speed:,.0f}/s" if speed else "")

            self._update, self._stop = update, bar.stop
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def advance(self, done: int) -> None:
        """So many slots are done."""
        self._update(done)
