"""The open incidents as the last commit left them, so that a commit costs what it changes and not what is open.

Every commit decides on the open incidents. Where the database is this process's alone they are those of the last commit; where
others write too their rows are read, and only documents that are new are decoded. What is kept is what was written, decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.adapters.store import codec
from detector.adapters.store.ledger import read_book
from detector.domain.incident import FIXED_IDS, Book, Incident, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from detector.adapters.store.ledger import Unreadable


class BookMemory:
    """Used in one transaction at a time that holds the book's lock: `take` in it, `keep` once it is committed."""

    def __init__(self) -> None:
        self._book: Book | None = None
        self._opened = 0
        self._decoded: dict[str, Incident] = {}

    async def take(self, connection: AsyncConnection, unreadable: Unreadable, opened: int | None) -> Book:
        """The open incidents. `opened`: how often the database was, None where others write too.

        Nothing is known after it until `keep`: the transaction may end either way.
        """
        book, self._book = self._book, None
        if opened is None:
            return await self._read_shared(connection, unreadable)
        if book is None or opened != self._opened:
            book = await read_book(connection, unreadable)
        return book

    def keep(self, book: Book, opened: int | None, written: Iterable[tuple[Incident, str]]) -> None:
        """It is committed: these incidents of the book that `take` gave were written, as these documents."""
        if opened is None:
            return
        incidents = dict(book.incidents)
        count = len(incidents)
        for incident, document in written:
            if incident.status is Status.CLOSED and incident.id not in FIXED_IDS:
                incidents.pop(incident.id, None)
                continue
            try:
                incidents[incident.id] = codec.decode_incident(document)
            except codec.UnreadableError:
                return  # the next one reads, and says so
        if len(incidents) > count:
            incidents = dict(sorted(incidents.items()))  # as they are read
        self._book, self._opened = Book(incidents), opened

    async def _read_shared(self, connection: AsyncConnection, unreadable: Unreadable) -> Book:
        before, now = self._decoded, dict[str, Incident]()

        def decode(document: str) -> Incident:
            found = before.get(document)
            now[document] = found = codec.decode_incident(document) if found is None else found
            return found

        book = await read_book(connection, unreadable, decode)
        self._decoded = now
        return book
