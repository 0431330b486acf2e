"""`detector backtest`: what rules would have done over a past that a Prometheus holds, before they page anybody.

`period` reads the range, `reference` the rules of a commit, `course` runs, `report` and `plot` show.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from detector.cli.exit import USAGE, fail

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Replay rules over the past of a Prometheus: every incident they would have opened, pages a week, flaps (breaches that "
    "came back while recovering, and relapses). A severity is the incident's peak. Exit code 1: findings in the rules, or the past "
    "could not be read; 3: more pages a week than --max-pages."
)
def backtest(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; default: `rules` of the settings, else ./rules."),
    ] = None,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="Unix seconds, ISO 8601, or an age such as 2d.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="As --from; default now.")] = "",
    last: Annotated[str, typer.Option("--last", metavar="AGE", help="From that long before --to; default 7d.")] = "",
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Default: that of the settings.")] = "",
    step: Annotated[str, typer.Option("--step", metavar="DURATION", help="Rules are evaluated this often.")] = "1m",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,  # noqa: FBT002 - a flag
    compare: Annotated[
        str, typer.Option("--compare", metavar="GIT_REF|DIR", help="Show what changes against the rules there.")
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown, for a comment on a merge request.")] = False,  # noqa: FBT002
    max_pages: Annotated[
        float | None, typer.Option("--max-pages", metavar="N", min=0, help="Exit code 3 when more than N pages a week went out.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg|html", help="Draw signals, thresholds and incidents over time.")
    ] = None,
) -> None:
    """Replay rules over a past."""
    from detector.cli.backtest.course import Order, perform
    from detector.cli.backtest.period import PeriodError, read_period
    from detector.cli.setting import choose_rules

    try:
        period = read_period(begin=begin, end=end, last=last, step=step)
    except PeriodError as error:
        raise typer.Exit(fail(str(error), USAGE)) from None
    if plot is not None and plot.suffix not in {".svg", ".html"}:
        raise typer.Exit(fail(f"--plot {plot}: the name must end with .svg or .html", USAGE))
    if plot is not None and not plot.parent.is_dir():  # said now, not after a month was replayed
        raise typer.Exit(fail(f"--plot {plot}: there is no directory {plot.parent}", USAGE))
    if as_json and markdown:
        raise typer.Exit(fail("--json or --markdown, not both", USAGE))
    order = Order(
        paths=tuple(choose_rules(paths)),
        period=period,
        prometheus=prometheus,
        compare=compare,
        style="json" if as_json else "markdown" if markdown else "table",
        max_pages=max_pages,
        plot=plot,
    )
    raise typer.Exit(perform(order))
