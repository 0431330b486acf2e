"""Actions on incidents that have left the book: a closed incident is fetched from the store and laid beside the open ones.

Notes, causes and words that come late from PagerDuty still belong to it. Before it: `desk` and `readback`. After it: the committer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.incident import Book, Status
from detector.domain.response import ResponseError

if TYPE_CHECKING:
    from detector.app.committer import Committer
    from detector.domain.incident import Decision, Incident
    from detector.ports.store import Committed, Decide, Store


async def submit_on(committer: Committer, store: Store, incident: str, decide: Decide) -> Committed:
    """Commit what a human decides about the incident, closed or not. Raises what `Committer.submit_action` raises."""
    shelved = None if incident in committer.book.incidents else await store.find_incident(incident)

    def beside(book: Book) -> Decision:
        return decide(_lay_beside(book, incident, shelved))

    return await committer.submit_action(beside)


def _lay_beside(book: Book, incident: str, shelved: Incident | None) -> Book:
    if incident in book.incidents or shelved is None:
        return book
    if shelved.status is not Status.CLOSED:  # it was closed between our look and the transaction
        raise ResponseError(f"incident {incident} changed at this very moment; try again")
    return Book({**book.incidents, incident: shelved})
