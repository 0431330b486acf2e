"""The settings for a command: read, or told in one line each and exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from detector.cli.exit import USAGE, fail

if TYPE_CHECKING:
    from detector.adapters.settings import Settings


def read_settings() -> Settings:
    """The settings of the environment; typer.Exit(2) after one line for each that is wrong."""
    from detector.adapters.settings import WrongSettingsError, load_settings

    try:
        return load_settings()
    except WrongSettingsError as wrong:
        for line in wrong.lines:
            fail(line)
        raise typer.Exit(USAGE) from None
