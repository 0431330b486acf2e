"""The settings for a command: read, or told in one line each and exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from detector.cli.exit import USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.adapters.settings import Settings, WrongSettingsError
    from detector.transport.exchange import ExchangeOption


def read_settings() -> Settings:
    """The settings of the environment; typer.Exit(2) after one line for each that is wrong."""
    from detector.adapters.settings import WrongSettingsError, load_settings

    try:
        return load_settings()
    except WrongSettingsError as wrong:
        raise _refuse(wrong) from None


def read_settings_if_right() -> Settings | None:
    """The settings of the environment; None where they are wrong, for a command that can do without."""
    from detector.adapters.settings import WrongSettingsError, load_settings

    try:
        return load_settings()
    except WrongSettingsError:
        return None


def choose_rules(paths: Sequence[Path] | None) -> list[Path]:
    """The paths of the command line, else where the settings say the rules lie; typer.Exit(2) where they cannot be read."""
    if paths:
        return list(paths)
    from detector.adapters.settings import WrongSettingsError
    from detector.adapters.settings.place import find_rules_path

    try:
        return [find_rules_path()]
    except WrongSettingsError as wrong:
        raise _refuse(wrong) from None


def choose_prometheus(given: str) -> tuple[str, Settings | None]:
    """What `--prometheus` names, else the address of the settings; and these, None where they are wrong and not needed.

    typer.Exit(2) after one line where that is no address, or the settings are needed and wrong.
    """
    if not given:
        settings = read_settings()
        return settings.prometheus_url, settings
    if not given.startswith(("http://", "https://")):
        raise typer.Exit(fail(f"--prometheus {given}: write an address such as http://127.0.0.1:9090", USAGE))
    return given, read_settings_if_right()


def find_access(settings: Settings | None, url: str) -> ExchangeOption | None:
    """The settings' credentials for Prometheus where they are for this very address; no other server gets to see them."""
    if settings is None or url.rstrip("/") != settings.prometheus_url.rstrip("/"):
        return None
    from detector.adapters.settings.policy import make_exchange_option

    return make_exchange_option(settings)


def _refuse(wrong: WrongSettingsError) -> typer.Exit:
    for line in wrong.lines:
        fail(line)
    return typer.Exit(USAGE)
