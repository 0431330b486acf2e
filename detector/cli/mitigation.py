"""`detector incidents mitigate`: shows what would be run, and has the daemon run it when a named human says so."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from detector.cli.completion import complete_mitigation
from detector.cli.exit import FAILURE, fail
from detector.cli.incident import AsJson, Id, ask, path_of
from detector.cli.table import clean, format_json, show_time

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 15.0  # beyond the command's own timeout


def mitigate(
    incident: Id,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Its name; without one, what can be run is listed.", autocompletion=complete_mitigation
        ),
    ] = "",
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who runs it; never guessed.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Run it; without this it is only shown.")] = False,  # noqa: FBT002 - a flag
    again: Annotated[bool, typer.Option("--again", help="Although it was run for this incident before.")] = False,  # noqa: FBT002 - a flag
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Stop the bleeding."""
    offers = ask(lambda client: client.get(f"{path_of(incident)}/mitigations"))
    if not name:
        _list_offers(offers, as_json=as_json)
        return
    offer = next((offer for offer in offers if offer["name"] == name), None)
    if offer is None:
        known = ", ".join(offer["name"] for offer in offers) or "none"
        raise typer.Exit(fail(f"this service has no mitigation {name!r}; its catalogue entry names: {known}", FAILURE))
    if not yes:
        if as_json:
            print(format_json(offer | {"dry_run": True}))
        else:
            print(f"would run for {incident}: {_show(offer)}")
            print("nothing was run; add --yes --by NAME to run it")
        return
    if not by.strip():
        raise typer.BadParameter("a mitigation is run by a named human: --by NAME")
    run = ask(lambda client: client.post(f"{path_of(incident)}/mitigate", {"name": name, "by": by, "again": again}))
    if not as_json:
        print(f"started {_show(offer)}")
    _wait(incident, run, offer["timeout"], as_json=as_json)


def _wait(incident: str, run: dict[str, Any], timeout_seconds: float, *, as_json: bool) -> None:
    until = time.monotonic() + timeout_seconds + PATIENCE_SECONDS
    while time.monotonic() < until:
        runs = [
            known
            for offer in ask(lambda client: client.get(f"{path_of(incident)}/mitigations"))
            for known in offer["runs"]
            if offer["name"] == run["name"] and known["started"] == run["started"]
        ]
        if runs and runs[0]["ended"] is not None:
            _tell(incident, runs[0], as_json=as_json)
            return
        time.sleep(POLL_SECONDS)
    raise typer.Exit(fail(f"{run['name']} has not ended yet; `detector incidents show {incident}` tells when it does", FAILURE))


def _tell(incident: str, run: dict[str, Any], *, as_json: bool) -> None:
    from detector.domain.mitigation import KIND, OUTPUT_MARK

    events = ask(lambda client: client.get(f"{path_of(incident)}/timeline"))
    said = next((event["message"] for event in reversed(events) if event["kind"] == KIND), "")
    output = said.partition(OUTPUT_MARK)[2]
    if as_json:
        print(format_json(run | {"output": output}))
    else:
        for line in output.splitlines():
            print(f"  {clean(line)}")
        print(f"{run['name']} {clean(run['outcome'])}; whether it helped, verified recovery says")
    if run["outcome"] != "ended with exit code 0":
        raise typer.Exit(FAILURE)


def _list_offers(offers: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(format_json(offers))
        return
    for offer in offers:
        print(_show(offer))
        for run in offer["runs"]:
            print(f"  {show_time(run['started'])} by {clean(run['by'])}: {clean(run['outcome']) or 'no end seen'}")
    if not offers:
        print("the catalogue entry of this service names no mitigations")


def _show(offer: dict[str, Any]) -> str:
    words = " ".join(json.dumps(word, ensure_ascii=False) if not word.isalnum() else word for word in offer["run"])
    return clean(f"{offer['name']} ({offer['summary']}), at most {offer['timeout']:g} s: {words}")
