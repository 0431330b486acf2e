"""`detector silence`: keep alerts quiet for a while, see what is quiet, end it early, by way of the running daemon.

The words are those of amtool: the same matchers, and its flags beside our own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from detector.cli.completion import complete_silence
from detector.cli.exit import FAILURE, fail
from detector.cli.table import format_json, print_table, show_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.cli.client import Client

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Keep alerts quiet for a while: silences, and leases of deploy jobs.",
    invoke_without_command=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str, typer.Option("--by", "--author", "-a", envvar="USER", metavar="NAME", help="Who does it; default $USER.")]

_WORD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(=~|!~|!=|=)(.*)", re.DOTALL)
_PLAIN = re.compile(r"[^\s{},\"']*")
_ACTIVE = ("active", "pending")


@app.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_silences()


@app.command(help='Mute alerts that all matchers cover, e.g. service=checkout severity=~"low|medium". Prints the id.')
def add(
    matchers: Annotated[
        list[str] | None, typer.Argument(metavar="MATCHER...", help="name=value, name!=value, name=~regex, name!~regex")
    ] = None,
    duration: Annotated[str, typer.Option("--duration", "-d", metavar="DURATION", help="How long, from its start, e.g. 2h.")] = "",
    reason: Annotated[str, typer.Option("--reason", "--comment", "-c", metavar="TEXT", help="Why, for whoever wonders.")] = "",
    by: By = "",
    starts: Annotated[str, typer.Option("--starts", "--start", metavar="TIME", help="ISO 8601 with a zone; default now.")] = "",
    ends: Annotated[str, typer.Option("--ends", "--end", metavar="TIME", help="Instead of --duration.")] = "",
    lease: Annotated[bool, typer.Option("--lease", help="Of a job: lapses by itself, renewed by --id.")] = False,  # noqa: FBT002 - a flag
    identity: Annotated[str, typer.Option("--id", metavar="ID", help="A silence to change, a lease to make or renew.")] = "",
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Add, change or renew one."""
    if not matchers:
        raise typer.BadParameter("say what to mute, e.g. service=checkout; a silence of everything is refused")
    if not (duration or ends):
        raise typer.BadParameter("say how long: --duration 2h, or --ends TIME")
    if not reason.strip():
        raise typer.BadParameter("say why: --reason TEXT")
    wish = {
        "matchers": [_quote_value(_check_word(word)) for word in matchers],
        "reason": reason,
        "author": _check_name(by),
        "duration": duration,
        "ends": ends or None,
        "starts": starts or None,
        "lease": lease,
        "id": identity,
    }
    made = _ask(lambda client: client.post("/api/v1/silences", wish))
    print(format_json(made) if as_json else made["id"])


@app.command("list", help="What is muted now and what will be: silences, leases, maintenance windows.")
def list_silences(
    everything: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,  # noqa: FBT002 - a flag
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List them."""
    status = [*_ACTIVE, "ended"] if everything else list(_ACTIVE)
    found = _ask(lambda client: list(client.list("/api/v1/silences", limit, status=status)))
    if as_json:
        print(format_json(found))
        return
    print_table(("ID", "KIND", "STATUS", "MATCHERS", "STARTS", "ENDS", "BY", "REASON", "MUTES NOW"), [_row(each) for each in found])


@app.command(help="End one early; what it withheld pages then if it still fires.")
def expire(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `list` prints it.", autocompletion=complete_silence)],
    by: By = "",
) -> None:
    """End one early."""
    path = f"/api/v1/silences/{quote(identity, safe='')}/expire"
    found = _ask(lambda client: client.post(path, {"by": _check_name(by)}))
    print(f"ended {found['kind']} {found['id']}")


def _check_word(word: str) -> str:
    """A word that is no matcher at all is most often amtool's bare alert name, or lost its quotes to the shell."""
    if word.lstrip().startswith("{") or re.match(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*(=~|!~|!=|=)", word):
        return word
    hint = f"; for a rule of that name write alertname={word}" if re.fullmatch(r"[\w.-]+", word) else ""
    raise typer.BadParameter(f"{word!r} is not a matcher: write name=value, name!=value, name=~regex or name!~regex{hint}")


def _quote_value(word: str) -> str:
    """The shell takes quotes away: alertname="disk is full" comes as one word, whose value is everything after the operator."""
    found = _WORD.fullmatch(word)
    if found is None or _PLAIN.fullmatch(found[3]) or found[3].startswith(('"', "'")) or re.search(r",\s*\w+\s*[=!]", found[3]):
        return word
    escaped = found[3].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{found[1]}{found[2]}"{escaped}"'


def _check_name(by: str) -> str:
    if not by.strip():
        raise typer.BadParameter("say who does it: --by NAME ($USER is not set)")
    return by


def _ask(ask: Callable[[Client], Any]) -> Any:  # noqa: ANN401 - JSON
    from detector.cli.client import Client, DaemonError

    try:
        return ask(Client())
    except DaemonError as error:
        raise typer.Exit(fail(str(error), FAILURE)) from None


def _row(silence: dict[str, Any]) -> list[str]:
    return [
        silence["id"],
        silence["kind"],
        silence["status"],
        " ".join(silence["matchers"]),
        show_time(silence["starts"]),
        show_time(silence["ends"]),
        silence["author"],
        silence["reason"],
        ", ".join(silence["mutes"]) or "-",
    ]
