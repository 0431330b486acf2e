"""What the commands about one incident share: its arguments, and the question to the daemon."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from detector.cli.completion import complete_incident
from detector.cli.exit import FAILURE, fail

Id = Annotated[str, typer.Argument(metavar="ID", help="The incident's id, as `list` prints it.", autocompletion=complete_incident)]
By = Annotated[str, typer.Option("--by", envvar="USER", metavar="NAME", help="Who does it; default $USER.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def ask(question: Any) -> Any:  # noqa: ANN401 - a function of the client, JSON
    """What the daemon answers; one line and exit code 1 where it does not."""
    from detector.cli.client import Client, DaemonError

    try:
        return question(Client())
    except DaemonError as error:
        raise typer.Exit(fail(str(error), FAILURE)) from None


def path_of(incident: str) -> str:
    """Where the API has it."""
    return f"/api/v1/incidents/{quote(incident, safe='')}"


def check_name(by: str) -> str:
    """Whoever does it has a name."""
    if not by.strip():
        raise typer.BadParameter("say who does it: --by NAME ($USER is not set)")
    return by
