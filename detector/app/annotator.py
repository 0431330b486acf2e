"""Writes what a diagnosis found as notes on PagerDuty's incident, where a token and a requester allow it.

Before it: `examiner` recorded results. After it: the engineer opens the page and sees what is likely broken. A note pages nobody
and opens nothing. It works beside everything else: what cannot be written in two minutes is left out, for it stands in the ticket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detector.app.callout import find_requester
from detector.app.guard import describe_fault
from detector.app.readback import NOTE_PREFIX
from detector.domain.check import describe_result
from detector.ports.error import OutsideError, PermanentError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.committer import Committer
    from detector.domain.check import Result
    from detector.domain.suspect import Suspect
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.pagerduty import PagerDutyAccount, Person

RETRY_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
QUEUED = 50
MOST_CHARACTERS = 4000


class Annotator:
    """One note at a time. `requester`: the address of the user in whose name notes are written."""

    def __init__(
        self,
        committer: Committer,
        clock: Clock,
        observer: Observer,
        account: PagerDutyAccount | None = None,
        *,
        requester: str = "",
    ) -> None:
        self._committer = committer
        self._clock = clock
        self._observer = observer
        self._account = account
        self._requester = requester
        self._author: Person | None = None
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(QUEUED)

    @property
    def able(self) -> bool:
        """Whether there is an account to write to, and a name to write in."""
        return self._account is not None and bool(self._requester)

    def note(self, incident: str, results: Sequence[Result], suspects: Sequence[Suspect] = ()) -> None:
        """Queue one note with these results. In a storm the newest wait in the ticket only."""
        lines = [describe_result(result) for result in results]
        lines += [f"likely cause: {suspect.service}: {suspect.why}" for suspect in suspects[:1]]
        if self.able and lines and not self._queue.full():
            self._queue.put_nowait((incident, "\n".join([NOTE_PREFIX, *lines])[:MOST_CHARACTERS]))

    async def run(self) -> None:
        """Write until cancelled. Guard this."""
        while True:
            incident, text = await self._queue.get()
            until = self._clock.monotonic() + PATIENCE_SECONDS
            while not await self._try(incident, text) and self._clock.monotonic() < until:
                await self._clock.sleep(RETRY_SECONDS)

    async def _try(self, incident: str, text: str) -> bool:
        """Whether that note is done with."""
        try:
            return await self._write(incident, text)
        except (PermanentError, SettingsError) as fault:
            self._observer.trouble("pagerduty note", f"{incident}: {describe_fault(fault)}")
            return True
        except OutsideError as fault:
            self._observer.trouble("pagerduty note", f"{incident}: {describe_fault(fault)}")
            return False

    async def _write(self, incident: str, text: str) -> bool:
        known = self._committer.book.incidents.get(incident)
        keys = [page.key for page in known.pages if not page.closed] if known is not None else []
        if self._account is None or not keys:
            return True
        self._author = self._author or await find_requester(self._account, self._requester)
        remote = await self._account.find_by_key(keys[-1])
        if remote is None:  # not delivered yet, or PagerDuty has not made its incident of it
            return False
        await self._account.add_note(remote.id, self._author, text)
        return True
