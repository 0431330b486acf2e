"""`detector incidents replay`: the time of one incident run through other rules: earlier or later, other severity, not at all.

The samples are those that Prometheus still holds; the engine is that of `detector backtest`. Compared is what was recorded.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path  # noqa: TC003 - typer evaluates it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.cli.exit import FAILURE, fail
from detector.cli.incident import AsJson, Id, ask, path_of
from detector.cli.table import clean, format_json, show_time

if TYPE_CHECKING:
    from detector.domain.rule import RuleSet
    from detector.domain.verdict import Verdict

BEFORE_SECONDS = 1800.0
AFTER_SECONDS = 600.0


def replay(
    incident: Id,
    rules: Annotated[Path, typer.Option("--rules", metavar="DIR", help="The rules to try: a file or directory.")],
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Default: that of the settings.")] = "",
    step: Annotated[str, typer.Option("--step", metavar="DURATION", help="Time between evaluations.")] = "5s",
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Say what would have changed."""
    from detector.cli.backtest.period import PeriodError, read_period
    from detector.ports.error import OutsideError
    from detector.ports.rulefile import RuleFilesError

    known = ask(lambda client: client.get(path_of(incident)))
    now = time.time()
    begin = known["opened"] - BEFORE_SECONDS
    end = min(now, (known["resolved"] or now) + AFTER_SECONDS)
    try:
        period = read_period(begin=f"{begin:.3f}", end=f"{end:.3f}", last="", step=step, now=now)
        verdict = asyncio.run(_run(_load(rules, period.step_seconds), period, prometheus))
    except PeriodError as fault:
        raise typer.BadParameter(str(fault)) from None
    except RuleFilesError as fault:
        for finding in fault.findings:
            fail(str(finding))
        raise typer.Exit(fail(f"{rules}: cannot be loaded; `detector check {rules}` lists all findings", FAILURE)) from None
    except OutsideError as fault:
        raise typer.Exit(fail(str(fault), FAILURE)) from None
    found = compare(known, verdict)
    if as_json:
        print(format_json(found))
    else:
        for line in found["changes"]:
            print(clean(line))


def compare(known: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The incident as recorded beside what the rules would have made of it; `changes` in words."""
    from detector.domain.severity import Severity

    until = known["resolved"] if known["resolved"] is not None else float("inf")
    services = {known["service"], *known["services"]}
    near = [
        finding
        for finding in verdict.findings
        if services & {finding.service, *finding.affected}
        and finding.opened <= until
        and (finding.resolved is None or finding.resolved >= known["opened"])
    ]
    result: dict[str, Any] = {
        "incident": known["id"],
        "recorded": {name: known[name] for name in ("opened", "resolved", "peak_severity")},
        "replayed": None,
        "opens": "never",
        "severity": None,
        "others": len(verdict.findings) - len(near),
        "changes": [f"{known['service']}: no incident would have been opened; it was at {show_time(known['opened'])}"],
    }
    if not near:
        return result
    first = min(near, key=lambda finding: finding.opened)
    peak = max((finding.severity for finding in near), key=lambda severity: severity.rank)
    last = None if any(finding.resolved is None for finding in near) else max(finding.resolved or 0.0 for finding in near)
    shift = first.opened - known["opened"]
    opens = "same" if abs(shift) <= verdict.step_seconds else "earlier" if shift < 0 else "later"
    before = Severity(known["peak_severity"])
    severity = "same" if peak is before else "higher" if peak.rank > before.rank else "lower"
    result |= {
        "replayed": {"opened": first.opened, "resolved": last, "peak_severity": peak.value, "incidents": len(near)},
        "opens": opens,
        "severity": severity,
    }
    result["changes"] = [
        f"breach seen {_say_shift(shift, opens)}: {show_time(first.opened)} by {first.rule}",
        f"severity {severity}: {peak.value}" + ("" if severity == "same" else f" instead of {before.value}"),
        f"end {_say_end(known['resolved'], last, verdict.step_seconds)}",
    ]
    if len(near) > 1:
        result["changes"].append(f"{len(near)} incidents instead of one")
    return result


def _say_shift(shift: float, word: str) -> str:
    return "at the same time" if word == "same" else f"{abs(shift):.0f} s {word}"


def _say_end(recorded: float | None, replayed: float | None, step_seconds: float) -> str:
    if recorded is None or replayed is None:
        return f"{_say_moment(replayed)}; recorded: {_say_moment(recorded)}"
    shift = replayed - recorded
    word = "same" if abs(shift) <= step_seconds else "earlier" if shift < 0 else "later"
    return f"{_say_shift(shift, word)}: {show_time(replayed)}"


def _say_moment(at: float | None) -> str:
    return "not over yet" if at is None else show_time(at)


def _load(rules: Path, step_seconds: float) -> RuleSet:
    from detector.adapters.rulefile import RuleDirectory

    return RuleDirectory(rules, every_seconds=step_seconds).load().rules


async def _run(rules: RuleSet, period: Any, url: str) -> Verdict:  # noqa: ANN401 - a Period, imported late
    from detector.adapters.prometheus import PrometheusSource
    from detector.adapters.template import TemplateRenderer
    from detector.app.backtest import Backtest
    from detector.cli.backtest.course import make_paging, make_replay, make_verdict
    from detector.cli.setting import choose_prometheus, find_access
    from detector.transport.exchange import Exchange

    address, settings = choose_prometheus(url)
    course = make_replay(rules, make_paging(settings), period, TemplateRenderer())
    async with Exchange(find_access(settings, address)) as exchange:
        source = PrometheusSource(exchange, address)
        await Backtest(source, [course], period.begin, period.step_seconds).run(period.count)
    return make_verdict(course, period)
