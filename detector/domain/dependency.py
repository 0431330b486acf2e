"""Who depends on whom, over any number of steps, and which incidents belong together because of it."""

from __future__ import annotations

from dataclasses import replace

from detector.domain.catalogue import Catalogue
from detector.domain.incident import Incident
from detector.domain.label import Labels
from detector.domain.ledger import Ledger

JOIN_WITHIN_SECONDS = 600.0
_SHARED_ACROSS = frozenset({"namespace"})  # what is depended on often has one of its own: worth a link, too little to join


def list_dependencies(catalogue: Catalogue, service: str) -> tuple[str, ...]:
    """Everything the service depends on, nearest first; cycles are walked once."""
    found: dict[str, None] = {}
    ahead = [service]
    while ahead:
        for name in catalogue.find(ahead.pop(0)).depends_on:
            if name not in found and name != service:
                found[name] = None
                ahead.append(name)
    return tuple(found)


def stand_together(one: Labels, other: Labels, *, apart: frozenset[str] = frozenset()) -> bool:
    """Whether no label that both carry differs, those in `apart` aside: a database seldom carries every label of its users."""
    named = dict(other)
    return all(named.get(name, value) == value for name, value in one if name not in apart)


def find_related(ledger: Ledger, incident: Incident) -> tuple[str, ...]:
    """Ids of other active incidents that belong to it: of dependencies however old, of dependents that began within ten minutes."""
    if not ledger.catalogue.services:
        return ()
    below = set(list_dependencies(ledger.catalogue, incident.service))
    above = {name for name in ledger.catalogue.services if incident.service in list_dependencies(ledger.catalogue, name)}
    related = {
        other.id
        for service in sorted(below | above)
        for other in ledger.find_by_service(service)
        if other.id != incident.id
        and other.status.active
        and not other.route
        and stand_together(incident.join, other.join, apart=_SHARED_ACROSS)
        and (service in below or abs(other.detected - incident.detected) <= JOIN_WITHIN_SECONDS)
    }
    return tuple(sorted(related))


def link_back(ledger: Ledger, incident: Incident) -> None:
    """Let the incidents that a new one names name it too: whoever looks at the older one is led to the newer."""
    for name in incident.see_also:
        other = ledger.find(name)
        if other is not None and incident.id not in other.see_also:
            ledger.put(replace(other, see_also=tuple(sorted((*other.see_also, incident.id)))))
            ledger.say(other, "see also", f"{incident.service} broke as well: {incident.id}")
