"""`detector demo`: a service breaks, one page arrives, the repair is verified; on this machine, in under two minutes.

`stage` (standin) starts the parts, `story` plays what happens in order, `screen` shows it: on a terminal, in a pipe, as a picture.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation at run time
from typing import Annotated

import typer

from detector.cli.exit import USAGE, fail

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Break a service of a demo shop and watch: a real Prometheus sees it, this daemon pages a PagerDuty stand-in, the repair "
    "is verified. On this machine alone, in under two minutes."
)
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards, to play with, until Ctrl-C.")] = False,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE.svg", help="Write the finished screen as a picture.")
    ] = None,
) -> int:
    """Run the demo. Exit code: 0 done, 1 a step failed, 2 no Prometheus binary, 128 + n ended by signal n before its end."""
    from detector.adapters.binary import BinaryMissingError
    from detector.cli.demo.story import perform

    try:
        return perform(keep=keep, record=record)
    except BinaryMissingError as error:
        return fail(str(error), USAGE)
