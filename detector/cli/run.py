"""`detector run`: the daemon. Reads the settings, then hands over to the composition root."""

from __future__ import annotations

import gc

import typer

from detector.cli.setting import read_settings

_YOUNG_OBJECTS = 50_000  # an answer over 20,000 series makes as many, none in a cycle; at 700 they are searched over and over

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Run the daemon until SIGTERM; SIGHUP reloads the rules. All settings come from DETECTOR_*, detector.yaml or files."
)
def run() -> None:
    """Run the daemon."""
    gc.disable()  # what a start imports stays: looking through it for garbage, again and again, is a seventh of the start's CPU
    settings = read_settings()
    from detector.daemon import run as run_daemon

    gc.freeze()  # nor does a later collection look through it
    gc.set_threshold(_YOUNG_OBJECTS)
    gc.enable()

    raise typer.Exit(run_daemon(settings))
