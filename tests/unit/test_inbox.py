"""Alerts of other Prometheis on virtual time: opened, refreshed, ended, and kept when their sender falls silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import pytest

from detector.app import inbox as inbox_module
from detector.app.exhibit import LiveExhibit
from detector.app.inbox import Inbox
from detector.domain import response
from detector.domain.incident import Incident, Status
from detector.domain.label import make_labels
from detector.domain.reception import RECEIVED, SILENT, ReceivedAlert
from detector.domain.severity import Severity, read_severity
from detector.ports.error import TemporaryError
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    from detector.ports.wire import ShownAlert

LABELS = {"alertname": "DiskFull", "service": "db", "severity": "critical"}
RULE = "received/DiskFull"


class Post:
    """A stage with an inbox that is open."""

    def __init__(self) -> None:
        self.stage = Stage([make_rule("errors")])

    async def __aenter__(self) -> Self:
        await self.stage.start()
        self.stage.source.default = series(shop=0.0)
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        await self.stage.kill()

    async def restart(self) -> None:
        """Kill -9 and start."""
        await self._close()
        await self.stage.restart()
        await self._open()

    async def say(self, *, ends: float | None = 240.0, starts: float | None = None, **labels: str) -> None:
        """Receive one alert; `ends` and `starts` are seconds from now."""
        now = self.stage.clock.now()
        alert = ReceivedAlert(
            make_labels(LABELS | labels),
            {"summary": "the disk is full", "runbook_url": "https://wiki.example/disk"},
            None if starts is None else now + starts,
            None if ends is None else now + ends,
            "http://prometheus.example/graph",
        )
        waiting = asyncio.create_task(self.inbox.receive([alert]))
        await self.stage.clock.run(0.5)
        assert waiting.done()
        waiting.result()

    @property
    def incident(self) -> Incident:
        """The only one."""
        (incident,) = self.stage.store.disk.incidents.values()
        return incident

    @property
    def alerts(self) -> list[ShownAlert]:
        """What is shown of received alerts."""
        exhibit = LiveExhibit(self.stage.roster, self.stage.committer, self.stage.clock)
        return [alert for alert in exhibit.alerts() if alert.rule == RULE]

    async def _open(self) -> None:
        ear: Any = self.stage.ear
        self.inbox = Inbox(self.stage.roster, self.stage.committer, self.stage.clock, ear)
        self._task = asyncio.create_task(self.inbox.run())
        await self.stage.clock.run(0.1)

    async def _close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_an_alert_opens_an_incident_and_its_end_resolves_it() -> None:
    """Service, severity, summary and runbook come from labels and annotations; an end in the past is a recovery."""
    async with Post() as post:
        await post.say(starts=-60.0)
        incident = post.incident
        assert (incident.service, incident.severity, incident.summary) == ("db", Severity.CRITICAL, "the disk is full")
        assert (incident.rules, incident.links) == ((RULE,), {"runbook": "https://wiki.example/disk"})
        assert incident.opened == pytest.approx(incident.detected - 60.0, abs=1.0)
        assert post.stage.ear.counts[RECEIVED] == {"firing": 1}
        (shown,) = post.alerts
        assert (shown.labels, shown.generator, shown.firing) == (LABELS, "http://prometheus.example/graph", True)
        await post.say(ends=-1.0, starts=-60.5)
        assert (post.incident.status, post.incident.end_reason) == (Status.RESOLVED, "recovered")
        assert post.alerts == []
        assert post.stage.kinds == ["trigger", "resolve"]
        assert post.stage.ear.counts[RECEIVED] == {"firing": 0}


async def test_a_sender_that_vanishes_leaves_the_alert_unknown_for_as_long_as_it_takes() -> None:
    """Promise 1: no timeout resolves; the incident stays open, over a restart too, and says once that nobody knows."""
    async with Post() as post:
        await post.say(ends=240.0)
        await post.stage.clock.run(320)
        assert [alert.unknown for alert in post.alerts] == [SILENT]
        await post.stage.clock.run(7200)
        await post.restart()
        await post.stage.clock.run(7200)
        (joined,) = post.incident.alerts.values()
        assert (post.incident.status, post.incident.stale, joined.unknown) == (Status.OPEN, True, SILENT)
        assert "resolve" not in post.stage.kinds
        assert [event.kind for event in post.stage.store.disk.events].count("unknown") == 1


async def test_word_from_the_sender_makes_an_unknown_alert_known_again() -> None:
    """The same alert goes on: no second incident, no second page, and its end counts."""
    async with Post() as post:
        await post.say(ends=240.0)
        await post.stage.clock.run(400)
        await post.say(ends=240.0)
        assert [alert.unknown for alert in post.alerts] == [""]
        assert post.stage.kinds == ["trigger"]
        await post.say(ends=0.0)
        assert post.incident.status is Status.RESOLVED


async def test_refreshed_alerts_stay_known() -> None:
    """A sender that repeats itself every minute is believed, whatever time passes, also without an end in its words."""
    async with Post() as post:
        for _ in range(20):
            await post.say(ends=None)
            await post.stage.clock.run(60)
        assert [alert.unknown for alert in post.alerts] == [""]
        assert post.stage.kinds == ["trigger"]


async def test_silence_while_we_were_down_is_not_the_senders() -> None:
    """After a restart the sender has five minutes to be heard again before its alerts are in doubt."""
    async with Post() as post:
        await post.say(ends=60.0)
        await post.stage.clock.run(20)
        await post.restart()
        await post.stage.clock.run(200)
        assert [alert.unknown for alert in post.alerts] == [""]
        await post.stage.clock.run(120)
        assert [alert.unknown for alert in post.alerts] == [SILENT]


async def test_a_human_ends_what_nobody_knows_of() -> None:
    """Resolved by hand while unknown: it is over and does not page again after 15 minutes."""
    async with Post() as post:
        await post.say(ends=240.0)
        await post.stage.clock.run(400)
        incident, stage = post.incident.id, post.stage
        now, catalogue = stage.clock.now(), stage.roster.catalogue
        acting = asyncio.create_task(
            stage.committer.submit_action(lambda book: response.resolve(book, catalogue, stage.paging, incident, "kim", now))
        )
        await stage.clock.run(3600)
        await acting
        assert post.incident.status is Status.CLOSED
        assert post.alerts == []
        assert stage.kinds.count("trigger") == 1


async def test_late_word_of_an_earlier_firing_ends_nothing() -> None:
    """A resolve whose start lies before that of the alert that fires now is passed over; so is one of an unknown alert."""
    async with Post() as post:
        await post.say(ends=-5.0, starts=-100.0)
        assert post.stage.store.disk.incidents == {}
        await post.say(starts=-1.0)
        await post.say(ends=-5.0, starts=-100.0)
        assert post.incident.status is Status.OPEN


async def test_a_reload_and_the_grace_end_no_received_alert() -> None:
    """Received alerts belong to no rule file."""
    async with Post() as post:
        await post.say(ends=7200.0)
        await post.stage.reloader.reload()
        await post.stage.clock.run(900)
        assert post.incident.status is Status.OPEN


async def test_an_alert_of_the_same_name_as_a_rule_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule `errors` is evaluated, and takes no notice of a received alert `errors`; beyond the cap the sender is told."""
    monkeypatch.setattr(inbox_module, "MOST_ALERTS", 1)
    async with Post() as post:
        await post.say(alertname="errors")
        await post.stage.clock.run(30)
        assert post.incident.status.value == "open"
        with pytest.raises(TemporaryError, match="1 received alerts are held already"):
            await post.say(alertname="other")
        await post.say(alertname="errors", ends=0.0)
        assert post.incident.status is Status.RESOLVED


async def test_nothing_is_received_before_memory_is_restored() -> None:
    """An inbox that is not open asks the sender to come again."""
    stage = Stage([make_rule("errors")])
    ear: Any = stage.ear
    with pytest.raises(TemporaryError, match="starting"):
        await Inbox(stage.roster, stage.committer, stage.clock, ear).receive([])


@pytest.mark.parametrize(("word", "severity"), [("page", "high"), ("Warning", "medium"), ("", "medium"), ("info", "low")])
def test_severity_labels_mean_what_they_mean_in_rule_files(word: str, severity: str) -> None:
    """One mapping for both."""
    assert read_severity(word).value == severity
