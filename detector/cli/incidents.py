"""`detector incidents`: what is open, what happened, and a human's answer to it, by way of the running daemon."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.cli.completion import complete_service
from detector.cli.incident import AsJson, By, Id, ask, check_name, path_of
from detector.cli.mitigation import mitigate
from detector.cli.postmortem import follow_ups, postmortem, why
from detector.cli.replay import replay
from detector.cli.table import clean, format_json, print_table, show_number, show_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="List incidents and respond to them.", invoke_without_command=True
)

STATES = ("investigating", "identified", "monitoring", "resolved")
Text = Annotated[str, typer.Option("--text", metavar="TEXT", help="Words for the timeline.")]


class StatusWord(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    CLOSED = "closed"


class SeverityWord(StrEnum):
    """How bad it is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@app.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_incidents()


@app.command("list", help="Incidents, newest first.")
def list_incidents(
    status: Annotated[list[StatusWord] | None, typer.Option(help="Only these; may be repeated.")] = None,
    severity: Annotated[list[SeverityWord] | None, typer.Option(help="Only these; may be repeated.")] = None,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this service.", autocompletion=complete_service)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List incidents."""
    wanted = {"status": status, "severity": severity, "service": service}
    found = ask(lambda client: list(client.list("/api/v1/incidents", limit + 1, **wanted)))
    if len(found) > limit:
        found = found[:limit]
        print(f"only the newest {limit} are shown; --limit N shows more", file=sys.stderr)
    if as_json:
        print(format_json(found))
        return
    columns = ("ID", "STATUS", "SEVERITY", "SERVICE", "OPENED", "VALUE", "THRESHOLD", "SUMMARY", "MUTED BY")
    print_table(columns, [_row(incident) for incident in found])


@app.command(help="One incident with its timeline.")
def show(incident: Id, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Show one incident."""
    found = ask(lambda client: client.get(path_of(incident)))
    if as_json:
        print(format_json(found))
        return
    for name, value in _facts(found):
        print(f"{name:<18} {clean(value)}")
    print()
    for event in found["timeline"]:
        print(f"{show_time(event['at'])}  {clean(event['actor'])}  {clean(event['kind'])}: {clean(event['message'])}")


@app.command(help="Say that you have it.")
def ack(incident: Id, by: By = "", text: Text = "") -> None:
    """Acknowledge an incident."""
    _act(incident, "acknowledge", by, text, "acknowledged")


@app.command(help="End it by hand; a verified recovery ends it by itself.")
def resolve(incident: Id, by: By = "", text: Text = "") -> None:
    """Resolve an incident."""
    _act(incident, "resolve", by, text, "resolved")
    events = ask(lambda client: client.get(path_of(incident)))["timeline"]
    said = next((event["message"] for event in reversed(events) if event["kind"] == "resolved"), "")
    if "metrics are still bad" in said:
        print("its metrics are still bad: what still fires in 15 min pages once more", file=sys.stderr)


@app.command(help="Add a note to the timeline.")
def note(
    incident: Id,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The words, in quotes; up to 4,000 characters.")],
    by: By = "",
) -> None:
    """Add a note."""
    _act(incident, "note", by, text, "noted on")


@app.command(help="Set the root cause.")
def cause(
    incident: Id,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The words, in quotes; up to 4,000 characters.")],
    by: By = "",
) -> None:
    """Set the root cause."""
    _act(incident, "cause", by, text, "root cause set on")


@app.command(help="Tell everybody who was told: what is new, when it should be over, where the work stands.")
def update(
    incident: Id,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="What is new, in a sentence; systems, not people.")
    ] = "",
    eta: Annotated[str, typer.Option("--eta", metavar="DURATION", help="When it should be over, e.g. 10m.")] = "",
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="investigating, identified, monitoring or resolved.")] = "",
    by: By = "",
) -> None:
    """Publish an update; the status page follows."""
    words = {name: text for name, text in (("message", message), ("eta", eta), ("state", state)) if text.strip()}
    if not words:
        raise typer.BadParameter("say what is new: --message TEXT, --eta 10m or --state monitoring")
    if state and state not in STATES:
        raise typer.BadParameter(f"{state} is no state; use one of {', '.join(STATES)}")
    _post(incident, "update", by, words, "updated")


@app.command(help="Tick what only a human can see, e.g. that the support channel is quiet; `show` lists the items.")
def tick(
    incident: Id,
    item: Annotated[
        str, typer.Argument(metavar="ITEM", help="Its name as `show` lists it; the service before it may be left out.")
    ],
    by: By = "",
) -> None:
    """Tick one item of the verification."""
    _post(incident, "tick", by, {"item": item}, "ticked on")


_FURTHER: dict[str, tuple[Callable[..., None], str]] = {
    "mitigate": (
        mitigate,
        "Show a mitigation of the catalogue entry; with --yes, run it. Verified recovery says whether it helped.",
    ),
    "postmortem": (postmortem, "The post-mortem's draft; with --done, say that it is filled in."),
    "follow-ups": (follow_ups, "What post-mortems of all incidents left to do."),
    "replay": (replay, "Run the incident's time through other rules: earlier, later, other severity."),
    "why": (why, "Every decision in order: evaluated, muted, sent, retried, acknowledged."),
}
for _name, (_command, _about) in _FURTHER.items():
    app.command(_name, help=_about)(_command)


def _act(incident: str, action: str, by: str, text: str, done: str) -> None:
    _post(incident, action, by, {"text": text}, done)


def _post(incident: str, action: str, by: str, words: dict[str, str], done: str) -> None:
    check_name(by)
    found = ask(lambda client: client.post(f"{path_of(incident)}/{action}", {"by": by, **words}))
    print(f"{done} {found['id']} ({clean(found['service'])}, {found['severity']}, {found['status']})")


def _row(incident: dict[str, Any]) -> list[str]:
    return [
        incident["id"],
        incident["status"],
        incident["severity"],
        incident["service"],
        show_time(incident["opened"]),
        show_number(incident["value"]),
        show_number(incident["threshold"]),
        incident["summary"],
        incident["muted"] or "-",
    ]


def _facts(incident: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield from ((name, str(incident[name])) for name in ("id", "summary", "status", "severity", "peak_severity", "service"))
    yield "services", ", ".join(incident["services"])
    yield "rules", ", ".join(incident["rules"])
    yield "labels", ", ".join(f"{name}={value}" for name, value in incident["labels"].items())
    yield from ((name, show_time(incident[name])) for name in ("opened", "acknowledged", "resolved", "closed"))
    yield from ((name, show_number(incident[name])) for name in ("value", "peak_value", "value_at_recovery", "threshold"))
    words = ("acknowledged_by", "end_reason", "root_cause", "muted", "folded", "eta")
    yield from ((name, str(incident[name])) for name in words if incident[name])
    yield from ((role, name) for role, name in incident["responders"].items() if name)
    yield from (("verify", _show_verification(item)) for item in incident["verifications"])


def _show_verification(item: dict[str, Any]) -> str:
    standing = {True: "passed", False: "failed", None: "to be ticked" if item["human"] else "not asked yet"}[item["ok"]]
    detail = item["message"] or (f"by {item['by']}" if item["by"] else "")
    return f"{item['name']}: {standing}{f' ({detail})' if detail else ''}"
