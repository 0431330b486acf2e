"""Ways to stop the bleeding: in which order they are offered, who may run which, and what a run leaves in the incident. Pure.

A run is begun inside the transaction, so that two people, or two replicas, can't run at once. It never ends the incident: verified
recovery does. Before it: `app/mitigator` carries commands out. After it: the decision is committed like every other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from detector.domain.audience import tell
from detector.domain.catalogue import Catalogue, Mitigation, Service
from detector.domain.duration import format_duration
from detector.domain.incident import Book, Decision, Incident, MitigationRun, NoticeKind
from detector.domain.ledger import Ledger, Paging
from detector.domain.offer import order_offers
from detector.domain.response import ResponseError

KIND = "mitigation"
LOST_AFTER_SECONDS = 60.0  # beyond its timeout: the daemon that ran it is gone
OUTPUT_CHARACTERS = 65_536
OUTPUT_MARK = "; output: "


@dataclass(frozen=True, slots=True)
class Offer:
    """One way that is offered for an incident: `runs` are those of it so far, `running` one that is under way."""

    way: Mitigation
    runs: tuple[MitigationRun, ...] = ()
    running: bool = False


def list_offers(incident: Incident, service: Service, now: float) -> tuple[Offer, ...]:
    """Every way of the service, the one to try first standing first."""
    ways = order_offers(service.mitigations, incident.checks)
    return tuple(
        Offer(
            way,
            runs := tuple(run for run in incident.mitigations if run.name == way.name),
            any(_is_running(run, service, now) for run in runs),
        )
        for way in ways
    )


def begin_mitigation(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, name: str, by: str, now: float, *, again: bool = False
) -> Decision:
    """A named human runs one way. Raises ResponseError where it is none, one runs now, or it has run and `again` is not said."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    if incident is None:
        raise ResponseError(f"no incident {incident_id} is known; `detector incidents list` shows them")
    way = permit(incident, catalogue.find(incident.service), name, by, now, again=again)
    run = MitigationRun(way.name, by, now)
    mitigated = now if incident.mitigated is None else incident.mitigated
    incident = ledger.put(replace(incident, mitigations=(*incident.mitigations, run), mitigated=mitigated))
    ledger.say(incident, KIND, f"{way.name} started: {format_arguments(way.run)}", actor=by)
    tell(ledger, incident, NoticeKind.UPDATE, f"mitigation {way.name} ({way.summary}) started by {by}")
    return ledger.decide()


def permit(incident: Incident, service: Service, name: str, by: str, now: float, *, again: bool) -> Mitigation:
    """The way of that name, where it may be run now; ResponseError says why not and what would be right."""
    if not by.strip():
        raise ResponseError("a mitigation is run by a named human: say who")
    ways = {way.name: way for way in service.mitigations}
    if name not in ways:
        known = ", ".join(ways) or "none"
        raise ResponseError(f"{service.name} has no mitigation {name!r}; its catalogue entry names: {known}")
    if not incident.status.active:
        raise ResponseError(f"incident {incident.id} is {incident.status.value}; only an active incident is mitigated")
    running = next((run for run in incident.mitigations if _is_running(run, service, now)), None)
    if running is not None:
        since = format_duration(max(0.0, now - running.started))
        raise ResponseError(f"{running.name} runs since {since}, started by {running.by}; wait for its end, one runs at a time")
    before = next((run for run in reversed(incident.mitigations) if run.name == name), None)
    if before is not None and not again:
        raise ResponseError(
            f"{name} was run by {before.by} already ({before.outcome or 'its end was never seen'}); repeat it with --again"
        )
    return ways[name]


def end_mitigation(
    book: Book, catalogue: Catalogue, paging: Paging, incident_id: str, started: float, outcome: str, output: str, now: float
) -> Decision:
    """What came of a run, in words, with what the command wrote. The incident stays as it is."""
    ledger = Ledger(book, catalogue, paging, now)
    incident = ledger.find(incident_id)
    run = None if incident is None else next((run for run in incident.mitigations if run.started == started), None)
    if incident is None or run is None or run.ended is not None:
        return Decision()
    done = replace(run, ended=now, outcome=outcome)
    incident = ledger.put(replace(incident, mitigations=tuple(done if known is run else known for known in incident.mitigations)))
    said = f"{run.name} {outcome} after {format_duration(max(0.0, now - started))}"
    ledger.say(incident, KIND, f"{said}{OUTPUT_MARK}{output[:OUTPUT_CHARACTERS] or 'none'}", actor=run.by)
    tell(ledger, incident, NoticeKind.UPDATE, f"mitigation {said}; recovery is being verified")
    return ledger.decide()


def format_arguments(arguments: Sequence[str]) -> str:
    """An argument list as one line, each argument that is not plain in quotes; nothing ever reads it back."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else repr(word) for word in arguments)


def _is_running(run: MitigationRun, service: Service, now: float) -> bool:
    timeout = next((way.timeout_seconds for way in service.mitigations if way.name == run.name), 0.0)
    return run.ended is None and now < run.started + timeout + LOST_AFTER_SECONDS
