"""`detector deploys add|list`: tells the daemon of a deploy, as a pipeline's last step does, and shows those that were told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.cli.completion import complete_service
from detector.cli.exit import FAILURE, fail
from detector.cli.moment import read_moment
from detector.cli.table import clean, format_json, print_table, show_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.cli.client import Client

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Tell of deploys, and list them.")


@app.command(help="Tell of a deploy; the diagnosis looks for one shortly before an incident.")
def add(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="As the rules name it.", autocompletion=complete_service)],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="What runs now: a tag, a digest, a commit.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Unix seconds, or 2026-11-23T08:00:00Z. Default now.")] = "",
    by: Annotated[str, typer.Option("--by", metavar="NAME", envvar="USER", help="Who deployed. Default $USER.")] = "",
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where to read more.")] = "",
) -> None:
    """Tell of a deploy."""
    news = {"service": service, "version": version, "by": by, "url": url} | ({"at": read_moment(at)} if at else {})
    told = _ask(lambda client: client.post("/api/v1/deploys", news))
    print(f"kept: {clean(told['service'])} {clean(told['version'])} at {show_time(told['at'])}")


@app.command("list", help="Deploys that were told, newest first.")
def list_deploys(
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Of this service only.", autocompletion=complete_service)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002 - typer's options
) -> None:
    """List deploys."""
    found = _ask(lambda client: list(client.list("/api/v1/deploys", limit, service=service)))
    if as_json:
        print(format_json(found))
        return
    print_table(
        ("at", "service", "version", "by", "url"),
        [[show_time(told["at"]), told["service"], told["version"], told["by"], told["url"]] for told in found],
    )


def _ask(ask: Callable[[Client], Any]) -> Any:  # noqa: ANN401 - JSON
    from detector.cli.client import Client, DaemonError

    try:
        return ask(Client())
    except DaemonError as error:
        raise typer.Exit(fail(str(error), FAILURE)) from None
