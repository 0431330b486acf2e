"""Everything that follows an incident from its opening to its close beside the path itself, wired in one place for the daemon.

`readback` hears PagerDuty, `callout` names and summons people, `examiner` diagnoses, `annotator` writes what was found into
PagerDuty, `verifier` runs probes, `watch` compares signals after the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.app.aid import FirstAid
from detector.app.annotator import Annotator
from detector.app.callout import Callout
from detector.app.darkroom import Darkroom
from detector.app.drill import Drill
from detector.app.examiner import Examiner
from detector.app.historian import Historian
from detector.app.mitigator import Mitigator
from detector.app.plotter import LivePlotter
from detector.app.readback import Readback
from detector.app.verifier import Verifier
from detector.app.watch import SignalWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from detector.app.cache import QueryCache
    from detector.app.committer import Committer
    from detector.app.diagnosis import Diagnostician
    from detector.app.roster import Roster
    from detector.domain.ledger import Paging
    from detector.ports.channel import Channel
    from detector.ports.clock import Clock
    from detector.ports.command import CommandRunner
    from detector.ports.observer import Observer
    from detector.ports.pagerduty import PagerDutyAccount
    from detector.ports.postmortem import Archive
    from detector.ports.probe import Probe
    from detector.ports.source import SampleSource
    from detector.ports.store import Store


class Followup:
    """`account` None: no PagerDuty API token. `ear` is where its webhooks go. `asking`: for pictures, which no rule waits for."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        roster: Roster,
        paging: Paging,
        clock: Clock,
        observer: Observer,
        *,
        source: SampleSource,
        asking: SampleSource,
        cache: QueryCache,
        probe: Probe,
        diagnostician: Diagnostician,
        runner: CommandRunner,
        archive: Archive,
        channels: Sequence[Channel],
        on_drill: Callable[[float], None],
        drill_every_seconds: float | None = None,
        account: PagerDutyAccount | None = None,
        requester: str = "",
    ) -> None:
        self.ear = Readback(committer, store, roster, paging, clock, observer, account)
        self._callout = Callout(committer, roster, paging, clock, observer, account, requester=requester)
        self._verifier = Verifier(committer, roster, paging, clock, observer, probe)
        self._watch = SignalWatch(committer, store, roster, paging, clock, observer, source, cache)
        self._annotator = Annotator(committer, clock, observer, None if paging.tells_pages else account, requester=requester)
        self._examiner = Examiner(committer, roster, paging, clock, observer, diagnostician, self._annotator)
        self._mitigator = Mitigator(committer, store, roster, paging, clock, observer, runner)
        darkroom = Darkroom(asking)
        self._historian = Historian(committer, store, roster, paging, clock, observer, darkroom, archive)
        self.plotter = LivePlotter(darkroom, store, archive, roster, clock)
        self._drill = Drill(
            committer, store, roster, paging, clock, observer, channels, tell=on_drill, every_seconds=drill_every_seconds
        )
        self.aid = FirstAid(self._mitigator, self._historian, self._drill, store, diagnostician, roster, clock)
        self._asks = account is not None

    def duties(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Eternal tasks by name; guard each."""
        duties: dict[str, Callable[[], Awaitable[None]]] = {
            "callout": self._callout.run,
            "verifier": self._verifier.run,
            "signal watch": self._watch.run,
            "diagnosis": self._examiner.run,
            "pagerduty notes": self._annotator.run,
            "post-mortem": self._historian.run,
            "drill": self._drill.run,
        }
        return duties | ({"pagerduty read back": self.ear.run} if self._asks else {})

    async def stop(self) -> None:
        """End what runs in other processes."""
        await self._mitigator.stop()
        await self.plotter.stop()
        await self._drill.stop()
