"""Brings what people do in PagerDuty back into the incidents: by webhook (`hear`), and by asking every 60 s (`run`).

An acknowledgement or a resolve is judged by what the incident already knows of the key, so that our own come back, heard twice or
late, change nothing. With alert grouping PagerDuty's incident_key is not our key; then the alert keys of its incident are read.
The other way round, a key that PagerDuty shows as open long after our resolve of it went out is resolved once more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.guard import describe_fault
from detector.app.shelf import submit_on
from detector.domain import response
from detector.domain.incident import PAGERDUTY, Decision
from detector.ports.error import OutsideError, TemporaryError
from detector.ports.pagerduty import RemoteIncident, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from detector.app.committer import Committer
    from detector.app.roster import Roster
    from detector.domain.incident import Book, Incident
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.pagerduty import PagerDutyAccount, PagerDutyWord
    from detector.ports.store import Store

NOTE_PREFIX = "detector diagnosis:"  # notes of our own begin so
EVERY_SECONDS = 60.0
PAUSE_SECONDS = 0.1  # between requests: 600 a minute at most, of the 960 that an account is allowed
REPAIR_AFTER_SECONDS = 60.0
MOST_REPAIRS = 5
MOST_GROUPS = 50  # grouped incidents whose alerts one pass reads
LOOKUP_SECONDS = 1.0  # a webhook is answered within 5 s; what a slow lookup would have told, the next pass finds
REMEMBERED = 2048


@dataclass(slots=True)
class _Repair:
    """A key that should be resolved there: since when our resolve has been out (monotonic), and how often it went out again."""

    since: float
    sent: int = 0


class Readback:
    """`account` None: no API token, so webhooks only, and no grouping. Implements ports.pagerduty.PagerDutyEar."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        account: PagerDutyAccount | None = None,
    ) -> None:
        self._committer = committer
        self._store = store
        self._roster = roster
        self._paging = paging
        self._clock = clock
        self._observer = observer
        self._account = account
        self._keys: OrderedDict[str, tuple[str, ...]] = OrderedDict()  # PagerDuty's id -> our keys
        self._repairs: dict[str, _Repair] = {}
        self._settled: set[str] = set()  # keys of ours that PagerDuty showed as resolved: they stay so
        self._failing = ""

    async def hear(self, word: PagerDutyWord) -> None:
        """Act on a word of PagerDuty's. Raises TemporaryError when the store or the lookup of its keys fails."""
        if word.standing is None and word.text.startswith(NOTE_PREFIX):
            return  # what we wrote there ourselves
        keys = await self._find_keys(word.incident, word.key)
        if not keys:
            self._observer.note("pagerduty: not ours", incident=word.incident, key=word.key)
        for identity in dict.fromkeys(map(_incident_of, keys)):
            try:
                await self._apply(identity, keys, word.standing, word.actor, word.text, word.at)
            except response.ResponseError as fault:
                raise TemporaryError(str(fault)) from None

    async def run(self) -> None:
        """Ask until cancelled. Guard this."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            await self.poll()

    async def poll(self) -> None:
        """One pass over the open keys; what fails is tried again with the next."""
        if self._account is None:
            return
        try:
            await self._poll(self._account)
        except (OutsideError, response.ResponseError) as fault:
            if describe_fault(fault) != self._failing:
                self._observer.trouble("pagerduty read back", describe_fault(fault))
            self._failing = describe_fault(fault)
        else:
            self._failing = ""

    async def _poll(self, account: PagerDutyAccount) -> None:
        open_keys = [page.key for incident in self._committer.own_incidents for page in incident.pages if not page.closed]
        ended = await self._list_ended()
        wanted = [*open_keys, *ended]
        found = await self._look(account, wanted)
        for key in open_keys:
            if (seen := found.get(key)) is not None and seen.standing is not Standing.TRIGGERED:
                await self._apply(_incident_of(key), (key,), seen.standing, _name(seen.by))
        for key in ended:
            await self._repair(key, found.get(key))

    async def _look(self, account: PagerDutyAccount, keys: Iterable[str]) -> Mapping[str, RemoteIncident]:
        """Where the keys stand in PagerDuty, each as the incident that holds it with the standing of its own alert."""
        known = {key: identity for identity, held in self._keys.items() for key in held}
        found: dict[str, RemoteIncident] = {}
        missing = []
        for key in keys:
            if key in found:
                continue
            identity = known.get(key)
            remote = await (account.find_by_key(key) if identity is None else account.find_by_id(identity))
            await self._clock.sleep(PAUSE_SECONDS)
            if remote is None or remote.merged:  # what was merged lives on among the alerts of another
                missing.append(key)
            elif remote.alert_count > 1 or remote.key != key:
                await self._read_group(account, remote, found)
            else:
                found[key] = remote
        if missing:
            await self._look_in_groups(account, set(missing), found)
        return found

    async def _look_in_groups(self, account: PagerDutyAccount, missing: set[str], found: dict[str, RemoteIncident]) -> None:
        groups = [remote for remote in await account.list_open() if remote.key not in found]
        for remote in groups[:MOST_GROUPS]:
            if missing <= found.keys():
                return
            await self._read_group(account, remote, found)
            await self._clock.sleep(PAUSE_SECONDS)

    async def _read_group(self, account: PagerDutyAccount, remote: RemoteIncident, found: dict[str, RemoteIncident]) -> None:
        alerts = await account.read_alerts(remote.id)
        self._remember(remote.id, tuple(alerts))
        for key, standing in alerts.items():
            own = remote.standing if standing is Standing.TRIGGERED else standing  # an alert itself is never acknowledged
            found[key] = RemoteIncident(remote.id, key, own, remote.by, remote.merged)

    async def _find_keys(self, remote: str, key: str) -> tuple[str, ...]:
        """Our keys in PagerDuty's incident: its own, and those grouped into it, which only the account can tell."""
        direct = (key,) if key and self._is_ours(key) else ()
        if self._account is None:
            if direct:
                self._remember(remote, direct)
            return direct or self._keys.get(remote, ())
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                alerts = await self._account.read_alerts(remote)
        except (OutsideError, TimeoutError) as fault:
            if direct or remote in self._keys:
                self._observer.note("pagerduty: grouped alerts unknown", incident=remote, detail=describe_fault(fault))
                return direct or self._keys[remote]
            raise TemporaryError(f"alert keys of {remote} cannot be read: {describe_fault(fault)}") from None
        keys = tuple(dict.fromkeys([*direct, *alerts]))
        self._remember(remote, keys)
        return keys

    async def _apply(
        self, identity: str, keys: Iterable[str], standing: Standing | None, actor: str, text: str = "", at: float | None = None
    ) -> None:
        now, catalogue, paging = self._clock.now(), self._roster.catalogue, self._paging
        keys = tuple(keys)

        def decide(book: Book) -> Decision:
            if identity not in book.incidents:
                return Decision()  # another sender's key, or an incident of long ago
            match standing:
                case Standing.ACKNOWLEDGED:
                    return response.acknowledge(book, catalogue, paging, identity, actor, now, from_pagerduty=keys)
                case Standing.RESOLVED:
                    return response.resolve(book, catalogue, paging, identity, actor, now, from_pagerduty=keys)
                case _:
                    return response.add_note(book, catalogue, paging, identity, actor, text, now, at=at)

        await submit_on(self._committer, self._store, identity, decide)

    async def _list_ended(self) -> list[str]:
        """Keys of incidents still watched whose resolve is no longer under way, and has not been for a minute."""
        oldest = (await self._store.backlog()).get(PAGERDUTY)
        waiting_since = float("inf") if oldest is None or oldest.oldest is None else oldest.oldest
        ended = [
            page.key
            for incident in self._committer.own_incidents
            if _ended(incident) < waiting_since
            for page in incident.pages
            if page.closed
        ]
        self._settled &= set(ended)
        now = self._clock.monotonic()
        self._repairs = {key: self._repairs.get(key) or _Repair(now) for key in ended if key not in self._settled}
        return [key for key, repair in self._repairs.items() if now - repair.since >= REPAIR_AFTER_SECONDS]

    async def _repair(self, key: str, seen: RemoteIncident | None) -> None:
        """Send the resolve of a key again that is open there; what PagerDuty does not know or shows as resolved is settled."""
        repair = self._repairs[key]
        if seen is None or seen.standing is Standing.RESOLVED:
            self._settled.add(key)
            return
        if repair.sent >= MOST_REPAIRS:
            return
        repair.sent += 1
        repair.since = self._clock.monotonic()
        catalogue, paging, now = self._roster.catalogue, self._paging, self._clock.now()
        await self._committer.submit_action(
            lambda book: response.repeat_resolve(book, catalogue, paging, _incident_of(key), key, now)
        )
        if repair.sent == MOST_REPAIRS:
            self._observer.trouble(
                "pagerduty read back", f"{key} is still open there after {MOST_REPAIRS} resolves; resolve it by hand"
            )

    def _is_ours(self, key: str) -> bool:
        incident = self._committer.book.incidents.get(_incident_of(key))
        return incident is None or any(page.key == key for page in incident.pages)

    def _remember(self, remote: str, keys: tuple[str, ...]) -> None:
        self._keys[remote] = keys
        self._keys.move_to_end(remote)
        while len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)


def _ended(incident: Incident) -> float:
    """When the keys that are closed were closed at the latest."""
    if not incident.status.active and incident.resolved is not None:
        return incident.resolved
    return incident.relapses[-1] if incident.relapses else float("inf")


def _incident_of(key: str) -> str:
    """The incident that a key of ours belongs to: `<incident>:<episode>:<route>[:<n>]`."""
    return key.partition(":")[0]


def _name(by: str) -> str:
    return f"{by} (PagerDuty)" if by else "PagerDuty"
