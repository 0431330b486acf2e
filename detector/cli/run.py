"""`detector run`: the daemon. Reads the settings, then hands over to the composition root."""

from __future__ import annotations

import typer

from detector.cli.setting import read_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Run the daemon until SIGTERM; SIGHUP reloads the rules. All settings come from DETECTOR_*, detector.yaml or files."
)
def run() -> None:
    """Run the daemon."""
    settings = read_settings()
    from detector.daemon import run as run_daemon

    raise typer.Exit(run_daemon(settings))
