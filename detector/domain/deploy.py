"""A deploy that somebody told us of. Made by the API; the diagnosis looks for one shortly before an incident.

One that comes while an incident of its service stands is a line of that incident's timeline: most often it is the repair.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.domain.catalogue import Catalogue
from detector.domain.incident import Book, Decision, Incident
from detector.domain.label import digest_parts
from detector.domain.ledger import DETECTOR, Ledger, Paging

LATELY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Deploy:
    """`service` runs `version` since `at` (unix seconds); who did it and where to read more, where that was told."""

    service: str
    version: str
    at: float
    by: str = ""
    url: str = ""

    @property
    def id(self) -> str:
        """Identity: telling the same deploy again changes nothing."""
        return digest_parts([self.service, self.version, repr(self.at)])


def list_concerned(book: Book, told: Deploy) -> list[Incident]:
    """Incidents of that service that stand; not where it was deployed long before."""
    standing = (incident for incident in book.incidents.values() if incident.status.active)
    return [each for each in standing if told.service in each.services and told.at >= each.opened - LATELY_SECONDS]


def note_deploy(book: Book, catalogue: Catalogue, paging: Paging, told: Deploy, now: float) -> Decision:
    """Say so in the timelines of the incidents that it concerns."""
    ledger = Ledger(book, catalogue, paging, now)
    for incident in list_concerned(book, told):
        ledger.say(incident, "deploy", f"{told.service} runs {told.version}", actor=told.by or DETECTOR, at=min(told.at, now))
    return ledger.decide()
