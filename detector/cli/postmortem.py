"""`detector incidents postmortem | follow-ups | why`: what is to be learned of an incident, and how it was decided."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from detector.cli.incident import AsJson, By, Id, ask, check_name, path_of
from detector.cli.table import clean, format_json, print_table, show_time


def postmortem(
    incident: Id,
    done: Annotated[bool, typer.Option("--done", help="It is filled in: no reminder any more.")] = False,  # noqa: FBT002 - a flag
    by: By = "",
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Print the document."""
    if done:
        told = ask(lambda client: client.post(f"{path_of(incident)}/postmortem/done", {"by": check_name(by)}))
        print(format_json(told) if as_json else f"finished: the post-mortem of {incident}")
        return
    found = ask(lambda client: client.get(f"{path_of(incident)}/postmortem"))
    if as_json:
        print(format_json(found))
    elif found["markdown"] is None:
        print(f"no post-mortem of {incident} yet; it is drafted when the incident is resolved")
    else:
        print("\n".join(clean(line) for line in found["markdown"].splitlines()))


def follow_ups(
    everything: Annotated[bool, typer.Option("--all", help="Those that are done, too.")] = False,  # noqa: FBT002 - a flag
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """List what was to be done."""
    found = [item for item in ask(lambda client: client.get("/api/v1/follow-ups")) if everything or not item["done"]]
    if as_json:
        print(format_json(found))
    else:
        print_table(
            ("INCIDENT", "DONE", "WHAT"), [[item["incident"], "yes" if item["done"] else "no", item["text"]] for item in found]
        )


def why(incident: Id, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Every decision in its order."""
    found = ask(lambda client: client.get(path_of(incident)))
    hops = ask(lambda client: client.get(f"{path_of(incident)}/deliveries"))
    chain = sorted((*_tell_events(found["timeline"]), *_tell_hops(hops)), key=lambda step: (step["at"], step["order"]))
    if as_json:
        print(format_json(chain))
        return
    print(clean(f"{found['id']} {found['service']} {found['severity']} {found['status']}: {found['summary']}"))
    print(clean(f"rules: {', '.join(found['rules'])}; first breach {show_time(found['opened'])}"))
    if found["muted"]:
        print(clean(f"muted now by {found['muted']}"))
    for step in chain:
        print(clean(f"{show_time(step['at'])}  {step['what']}: {step['detail']}"))


def _tell_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"at": event["at"], "what": event["kind"], "detail": f"{event['message']} (by {event['actor']})", "order": 0}
        for event in events
    ]


def _tell_hops(hops: list[dict[str, Any]]) -> list[dict[str, Any]]:
    steps = []
    for hop in hops:
        route = f" ({hop['route']})" if hop["route"] else ""
        notice = f"{hop['kind']} to {hop['channel']}{route}, {hop['severity']}"
        steps.append({"at": hop["queued"], "what": "queued", "detail": notice, "order": 1})
        if hop["first_attempt"] is not None:
            steps.append({"at": hop["first_attempt"], "what": "sent", "detail": notice, "order": 2})
        steps.append({"at": hop["delivered"] or hop["first_attempt"] or hop["queued"], **_say_state(hop, notice), "order": 3})
    return steps


def _say_state(hop: dict[str, Any], notice: str) -> dict[str, str]:
    tries = f" after {hop['attempts']} attempts" if hop["attempts"] > 1 else ""
    match hop["state"]:
        case "accepted":
            return {"what": "retried, accepted" if tries else "accepted", "detail": f"{notice}{tries}"}
        case "collapsed":
            return {"what": "collapsed", "detail": f"{notice}: it was over before anything was sent"}
        case "rejected":
            return {"what": "rejected", "detail": f"{notice}{tries}: {hop['error']}"}
        case _:
            reason = f": {hop['error']}" if hop["error"] else ""
            return {"what": "waiting", "detail": f"{notice}{tries}{reason}"}
