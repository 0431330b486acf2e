"""`detector test`: runs rule tests (`*.test.yaml`) on a real Prometheus that it starts on their series; time is virtual."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from detector.cli.exit import USAGE, fail

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Run rule tests: input series in promtool's notation go into a real Prometheus, the rules are evaluated over them, and "
    "what comes is compared with what is expected. Exit code 1 when a test fails; 2 without a prometheus binary."
)
def run_tests(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="*.test.yaml files, or directories; default: `rules` of the settings, else ./rules."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Run rule tests."""
    from detector.adapters.binary import BinaryMissingError
    from detector.adapters.program.child import ProgramError
    from detector.cli.setting import choose_rules
    from detector.cli.trial import perform

    try:
        code = perform(choose_rules(paths), as_json=as_json)
    except BinaryMissingError as error:
        code = fail(str(error), USAGE)
    except ProgramError as error:
        code = fail(str(error))
    raise typer.Exit(code)
