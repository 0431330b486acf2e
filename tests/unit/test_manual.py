"""The help of every command is a manual page: purpose, arguments, options, examples that parse, exit codes, environment."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer

from detector.cli.command import app
from detector.cli.manual import MANUALS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Any = typer.main.get_command(app)


def _walk(command: Any, path: str, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    context = command.context_class(command, parent=parent, info_name=path.rpartition(" ")[2])
    yield path, command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _walk(command.get_command(context, name), f"{path} {name}", context)


COMMANDS = {path: (command, context) for path, command, context in _walk(ROOT, "detector", None)}
EXAMPLES = [(path, line) for path, manual in MANUALS.items() for line in manual.examples]


def test_every_command_has_a_manual_and_no_other() -> None:
    """All commands and subcommands, and nothing that does not exist."""
    assert len(COMMANDS) > 25
    assert set(MANUALS) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_is_a_manual_page(path: str) -> None:
    """It says what the command is for, has its examples, exit codes and environment, and cuts no line of a list short."""
    command, context = COMMANDS[path]
    told = command.get_help(context)
    assert re.search(r"^Usage: .+\n\n  \S", told), "no purpose below the usage"
    for title in ("Examples:", "Exit codes:\n  0  ", "Environment:"):
        assert f"\n{title}" in told
    assert "..." not in re.sub(r"\[?[A-Z]+\]?\.\.\.|]\.\.\.", "", told), "a line is cut short"
    assert max(map(len, told.partition("Examples:")[0].splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS)
def test_every_argument_and_option_is_described(path: str) -> None:
    """Each has its words; one that takes a value says what kind, and what holds where it is left out."""
    command, context = COMMANDS[path]
    told = command.get_help(context)
    for parameter in command.params:
        name = max(parameter.opts, key=len) if parameter.opts[0].startswith("-") else parameter.metavar
        assert (getattr(parameter, "help", None) or "").strip(), f"{name} has no words"
        assert name in told
        if parameter.default and parameter.default is not True:
            assert f"[default: {parameter.default}" in " ".join(told.split()), f"{name} hides its default"
    assert not re.search(r"^  (-\w, )?--[\w, -]+ <(str|int|float|path|int range|float range)>", told, re.MULTILINE), (
        "an option of no kind"
    )


@pytest.mark.parametrize(("path", "line"), EXAMPLES)
def test_every_example_is_read_by_its_command(path: str, line: str) -> None:
    """The command's own parser takes it, required arguments and all."""
    words = shlex.split(line.partition(" > ")[0])
    while "=" in words[0]:
        assert words.pop(0).startswith("DETECTOR_")
    found, context = ROOT, None
    own = words[:1]
    words = words[1:]
    while hasattr(found, "get_command") and words and not words[0].startswith("-"):
        own.append(words[0])
        found = found.get_command(context, words.pop(0))
        assert found is not None, f"{own[-1]} is no command"
    assert " ".join(own).startswith(path)
    if found is not ROOT and not hasattr(found, "get_command"):
        found.make_context(own[-1], words)
    else:
        assert set(words) <= {option for parameter in found.params for option in parameter.opts}
