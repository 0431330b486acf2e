"""`detector drill`: a marked [DRILL] incident through every internal channel of the running daemon, pass or fail a hop."""

from __future__ import annotations

import time
from typing import Any

import typer

from detector.cli.exit import DONE, FAILURE, fail
from detector.cli.incident import AsJson, By, ask, check_name
from detector.cli.table import clean, format_json

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 120.0

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Try every channel with a marked [DRILL] incident; to the public, login and rendering only. Exit code 1 if one fails."
)
def drill(by: By = "", as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Run a drill."""
    begun = ask(lambda client: client.post("/api/v1/drill", {"by": check_name(by)}))
    report = _wait(begun)
    if as_json:
        print(format_json(report))
    else:
        for hop in report["hops"]:
            route = f" ({hop['route']})" if hop["route"] else ""
            print(clean(f"{'✅' if hop['ok'] else '🔴'} {hop['channel']}{route}: {hop['detail']}"))
        print("the drill passed" if report["passed"] else "the drill failed" if report["hops"] else "no channel is configured")
    raise typer.Exit(DONE if report["passed"] else FAILURE)


def _wait(report: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_SECONDS
    while report["passed"] is None:
        if time.monotonic() > until:
            raise typer.Exit(fail("the drill did not end; look at the daemon's log", FAILURE))
        time.sleep(POLL_SECONDS)
        report = ask(lambda client: client.get("/api/v1/drill"))
    return report
