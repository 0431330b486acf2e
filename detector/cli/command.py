"""The `detector` command: finds the subcommand, imports only its module, and turns every fault into one line and an exit code.

Exit codes: 0 done, 1 findings or failure, 2 usage or settings error, 3 over a limit.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from detector import __version__
from detector.cli.exit import FAILURE, USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer._click import Command, Context

_COMPLETING = "_DETECTOR_COMPLETE"
# name -> what it does; the module of that name under detector.cli holds `app` or a function of that name
COMMANDS = {
    "run": "Run the daemon.",
    "init": "Look into a Prometheus and write the rules that fit.",
    "check": "Validate rule files.",
    "test": "Run rule tests against a real Prometheus.",
    "backtest": "Replay rules over the past of a Prometheus.",
    "explain": "Say what a rule will do, minute by minute.",
    "schema": "Print the JSON Schema of rule files.",
    "diagnose": "Look at the usual causes of a service's trouble, and name the likely culprit.",
    "deploys": "Tell of deploys, and list them.",
    "incidents": "List incidents and respond to them.",
    "silence": "Keep alerts quiet for a while.",
    "doctor": "Say what is missing for the next incident.",
    "drill": "Try every channel with an incident that is none.",
    "demo": "Show it all on this machine: a broken service, a page, the repair.",
}


class _Commands(TyperGroup):
    """Lists every command and imports the one that is used."""

    def list_commands(self, ctx: Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"detector.cli.{cmd_name}")
        found = getattr(module, "app", None)
        if found is None:
            found = typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(found)
        command.name = cmd_name
        _add_manual(command, f"detector {cmd_name}")
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:  # noqa: ANN401 - a help formatter of click's
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: Context, formatter: Any) -> None:  # noqa: ANN401 - as above
        del ctx
        _write_manual("detector", formatter)


def _add_manual(command: Any, path: str) -> None:  # noqa: ANN401 - a command of the click that typer carries
    """Give it and its subcommands the sections below the options, and lines in lists that are not cut in the middle."""
    command.format_epilog = lambda _, formatter: _write_manual(path, formatter)
    for name, inner in getattr(command, "commands", {}).items():
        inner.short_help = (inner.help or "").split("\n\n")[0]
        _add_manual(inner, f"{path} {name}")


def _write_manual(path: str, formatter: Any) -> None:  # noqa: ANN401 - as above
    from detector.cli.manual import write_manual

    write_manual(path, formatter)


app = typer.Typer(cls=_Commands, add_completion=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        print(f"detector {__version__}")
        raise typer.Exit


@app.callback(help="One daemon from a Prometheus sample to a delivered page, a verified recovery and a post-mortem.")
def _root(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words and _COMPLETING not in os.environ:  # the shell asks without a word
        return fail("say what to do; see `detector --help`", USAGE)
    try:
        outcome = app(args=words, prog_name="detector", standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return FAILURE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILURE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of our output went away (`detector ... | head`): nothing more to say, also not at interpreter exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = _find_usage(error)
        if message is None:
            raise
        return fail(message, USAGE)
    return outcome if isinstance(outcome, int) else 0


def _find_usage(error: Exception) -> str | None:
    """One line for a usage error of click's, whichever click typer carries; None for anything else."""
    say = getattr(error, "format_message", None)
    if say is None:
        return None
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", None) or "detector"
    words = " ".join(str(say()).split()).rstrip(".").replace(": Value error, ", ": ")  # what typer's own pydantic says before it
    return f"{words}; see `{command} --help`" if words else f"what to do? see `{command} --help`"
