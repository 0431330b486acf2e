"""The dispatcher between a store and PagerDuty: real HTTP to the stand-in, virtual time, faults on both sides."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from detector.adapters.pagerduty import PagerDutyEvents
from detector.app.dispatcher import Dispatcher
from detector.domain.incident import Decision, Notice, NoticeKind
from detector.domain.severity import Severity
from detector.ports.channel import Receipt
from detector.ports.error import TemporaryError
from detector.ports.store import Delivery, DeliveryState
from detector.standin.pagerduty import PagerDuty
from detector.standin.script import Reply, Step, fail, redirect_302
from detector.transport.exchange import Exchange
from tests.kit.clock import VirtualClock, settle
from tests.kit.delivery import OPENED, make_notice
from tests.kit.memorystore import Disk, MemoryStore
from tests.kit.observer import RecordingObserver
from tests.kit.secret import assert_no_secret
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = "0123456789abcdef0123456789abcdef"
DOWN = TemporaryError("the disk is full")
HANG_SECONDS = 0.3  # only where something hangs: a crowded machine answers later than that


@dataclass
class House:
    """One account, one disk, and the process in between that a test can kill and start again."""

    pagerduty: PagerDuty
    clock: VirtualClock
    deadline_seconds: float = PATIENCE_SECONDS
    disk: Disk = field(default_factory=Disk)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    failing: list[tuple[Delivery, str]] = field(default_factory=list)
    backlog: list[list[Notice]] = field(default_factory=list)

    async def start(self) -> None:
        """A new process on the same disk."""
        self.store = MemoryStore(self.disk)
        await self.store.open()
        self.exchange = Exchange()
        secrets = {"default": SecretStr(KEY)}
        self.channel = PagerDutyEvents(
            self.exchange, secrets, events_url=self.pagerduty.url, deadline_seconds=self.deadline_seconds
        )
        self.dispatcher = Dispatcher(self.channel, self.store, self.observer, self.clock, on_failing=self._take_failing)
        self.task = asyncio.create_task(self.dispatcher.run())

    async def kill(self) -> None:
        """Everything in memory is gone, wherever it was."""
        flying = [flight.task for flight in self.dispatcher._flights.values() if flight.task]
        tasks = [task for task in (self.task, self.dispatcher._claim, self.dispatcher._record, *flying) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.exchange.close()

    async def submit(self, *notices: Notice) -> None:
        """As the committer does: written and told, or offered from memory and written later."""
        if self.disk.failure or self.backlog:
            self.backlog.append(list(notices))
            self.dispatcher.offer(notices)
        else:
            await self._commit(list(notices))

    async def mend(self) -> None:
        """The store answers again, and takes what waited."""
        self.disk.failure = None
        while self.backlog:
            await self._commit(self.backlog.pop(0))

    async def pass_time(self, until: Callable[[], bool], *, seconds: float = 600.0, step: float = 0.25) -> None:
        """Let virtual time go on, waiting for real sockets at each step, until the condition holds."""
        end = self.clock.monotonic() + seconds
        while not until():
            assert self.clock.monotonic() < end, f"not within {seconds:g} s"
            self.clock.advance(step)
            await self.rest()

    async def rest(self) -> None:
        """Nothing is on its way."""
        await settle()
        await wait_until(lambda: not (self.dispatcher._flights or self.dispatcher._claim), "nothing on its way")
        await settle()

    def state(self, notice: Notice) -> DeliveryState:
        """State of the row."""
        return self.disk.outbox[notice.id].state

    def all_done(self) -> bool:
        """Whether no row waits."""
        return not any(row.is_pending for row in self.disk.outbox.values())

    def sent(self) -> list[tuple[str, str]]:
        """What PagerDuty answered 202, in order: (action, key)."""
        events: list[Any] = [request.event for request in self.pagerduty.requests if request.status == 202]
        return [(event["event_action"], event["dedup_key"]) for event in events]

    async def _commit(self, notices: list[Notice]) -> None:
        done = await self.store.commit([], lambda _: Decision(notices=tuple(notices)), self.clock.now())
        self.dispatcher.committed(done.notices, done.collapsed)

    def _take_failing(self, delivery: Delivery, why: str) -> None:
        self.failing.append((delivery, why))


@asynccontextmanager
async def open_house(deadline_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[House]:
    """A house with its process running; `deadline_seconds` is that of a request to PagerDuty."""
    clock = VirtualClock(OPENED)
    async with PagerDuty({"default": KEY}, now=clock.now) as pagerduty:
        house = House(pagerduty, clock, deadline_seconds)
        await house.start()
        try:
            yield house
        finally:
            await house.kill()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house with its process running."""
    async with open_house() as opened:
        yield opened


@pytest.fixture
async def impatient() -> AsyncIterator[House]:
    """As above, for a PagerDuty that hangs."""
    async with open_house(2 * HANG_SECONDS) as opened:
        yield opened


async def test_a_committed_notice_leaves_at_once(house: House) -> None:
    """No time has to pass between the commit and the page; the row is accepted with the credential, the observer told once."""
    notice = make_notice()
    await house.submit(notice)
    await house.rest()
    assert house.clock.monotonic() == 0.0
    assert (house.state(notice), house.disk.outbox[notice.id].credential) == (DeliveryState.ACCEPTED, KEY)
    ((delivery, outcome, at, _),) = house.observer.ended
    assert (delivery.id, outcome, at - delivery.created) == (notice.id, "accepted", 0.0)
    assert house.dispatcher.idle


async def test_retries_keep_the_order(house: House) -> None:
    """Ten minutes of 500, 502, 503, 504 and resets: then trigger, update and resolve arrive in this order, as one alert."""
    for status in (500, 502, 503, 504):
        house.pagerduty.play(fail(status, requests=3))
    house.pagerduty.play(Step(reply=Reply(end="reset"), requests=2), fail(500, seconds=600))
    trigger, update, resolve = (
        make_notice(kind=kind, sequence=number)
        for number, kind in enumerate((NoticeKind.TRIGGER, NoticeKind.UPDATE, NoticeKind.RESOLVE))
    )
    await house.submit(trigger)
    await house.pass_time(lambda: house.observer.outcomes["retried"] >= 2)
    await house.submit(update)
    await house.submit(resolve)
    await house.pass_time(house.all_done, seconds=800, step=1.0)
    assert [action for action, _ in house.sent()] == ["trigger", "trigger", "resolve"]
    (alert,) = house.pagerduty.alerts()
    assert not alert.is_open
    attempts = [request.at for request in house.pagerduty.requests]
    assert len(attempts) < 60, "backs off to a minute, so ten minutes are few requests"
    assert [delivery.kind for delivery, _ in house.failing] == [NoticeKind.TRIGGER], "told once that paging fails"
    assert house.failing[0][1].startswith("PagerDuty")


async def test_answers_lost_after_accepting_make_one_alert(impatient: House) -> None:
    """PagerDuty takes the event and hangs, three times: one alert, and the resolve finds it."""
    house = impatient
    house.pagerduty.play(Step(reply=Reply(end="hang", applied=True), requests=3))
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    await house.submit(trigger)
    await house.rest()
    await house.submit(resolve)
    await house.pass_time(house.all_done)
    (alert,) = house.pagerduty.alerts()
    assert ([entry.action for entry in alert.log], alert.is_open) == (["trigger"] * 4 + ["resolve"], False)
    assert house.pagerduty.duplicates() == ()


async def test_a_trigger_never_claimed_collapses_with_its_resolve(house: House) -> None:
    """Opened and ended before anything was claimed: nothing is sent, the collapse is counted and told by another road."""
    house.disk.failure = DOWN
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    low = [make_notice("low", kind, sequence=n, severity=Severity.LOW) for n, kind in enumerate((trigger.kind, resolve.kind))]
    house.disk.failure = None
    await house.submit(trigger, resolve, *low)
    await house.rest()
    assert (house.sent(), house.state(trigger), house.state(resolve)) == ([], DeliveryState.COLLAPSED, DeliveryState.COLLAPSED)
    assert house.observer.outcomes == {"collapsed": 4}
    assert [(delivery.id, why) for delivery, why in house.failing] == [(trigger.id, "opened and ended undelivered")]


async def test_storm_goes_out_critical_first_and_within_the_rate(house: House) -> None:
    """200 incidents at once while PagerDuty throttles for 20 s; each arrives once, critical before the rest, at 120 a minute."""
    house.pagerduty.play(fail(429, seconds=20))
    rest = [make_notice(f"m{number}", severity=Severity.MEDIUM) for number in range(180)]
    critical = [make_notice(f"c{number}", severity=Severity.CRITICAL, at=OPENED + 1) for number in range(20)]
    await house.submit(*rest)
    await house.submit(*critical)
    await house.pass_time(house.all_done, seconds=900, step=0.5)
    alerts = house.pagerduty.alerts()
    assert len(alerts) == 200
    assert house.pagerduty.duplicates() == ()
    opened = sorted(alert.opened_at for alert in alerts)
    assert all(later - earlier > 60 for earlier, later in zip(opened, opened[121:], strict=False))
    last_critical = max(alert.opened_at for alert in alerts if alert.severity == "critical")
    before = sum(alert.opened_at < last_critical for alert in alerts if alert.severity != "critical")
    assert before <= 60, f"{before} others were paged before the last critical one"
    refused = [request for request in house.pagerduty.requests if request.status == 429 and request.at > OPENED + 20]
    assert refused == [], "our own rate keeps us below theirs"


async def test_a_high_page_overtakes_the_milder_ones_that_wait(house: House) -> None:
    """Sixty MEDIUM pages wait for the rate when one is HIGH: a minute's wait is theirs, not its."""
    await house.submit(*(make_notice(f"m{number}", severity=Severity.MEDIUM) for number in range(60)))
    await house.pass_time(lambda: len(house.pagerduty.alerts()) >= 20, step=0.5)
    await house.submit(make_notice("high", severity=Severity.HIGH, at=house.clock.now()))
    sent = house.clock.now()
    await house.pass_time(house.all_done, seconds=300, step=0.25)
    alerts = sorted(house.pagerduty.alerts(), key=lambda alert: alert.opened_at)
    (high,) = [alert for alert in alerts if alert.severity == "error"]
    assert high.opened_at - sent <= 3.0
    assert len(alerts) == 61
    assert alerts[-1].opened_at - sent > 15.0


async def test_retry_after_is_honoured_and_capped(house: House) -> None:
    """A 429 asking for 30 s is not asked again before; one asking for a day is asked again after five minutes."""
    for asked, waited in (("30", 30.0), ("86400", 300.0)):
        house.pagerduty.play(Step(reply=Reply(status=429, headers={"Retry-After": asked})))
        before = house.clock.now()
        await house.submit(make_notice(f"asked-{asked}"))
        await house.pass_time(house.all_done, seconds=400, step=1.0)
        assert waited <= house.clock.now() - before <= waited + 62


async def test_a_settings_fault_is_told_at_once_and_retried_slowly(house: House) -> None:
    """A redirect is reported in the same moment, tried again each minute, and never dropped."""
    house.pagerduty.play(Step(reply=redirect_302("http://127.0.0.1/"), requests=3))
    notice = make_notice()
    await house.submit(notice)
    await house.rest()
    ((delivery, why),) = house.failing
    assert delivery.id == notice.id
    assert "a redirect, never followed" in why
    await house.pass_time(house.all_done, step=1.0)
    gaps = [later.at - earlier.at for earlier, later in zip(house.pagerduty.requests, house.pagerduty.requests[1:], strict=False)]
    assert len(gaps) == 3
    assert all(60 <= gap <= 62 for gap in gaps)
    assert len(house.failing) == 1


async def test_a_rejected_notice_blocks_nobody(house: House) -> None:
    """Refused twice, the trigger is rejected and told; its resolve still goes."""
    house.pagerduty.play(fail(400, requests=2))
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    await house.submit(trigger)
    await house.rest()
    await house.submit(resolve)
    await house.rest()
    assert (house.state(trigger), house.state(resolve)) == (DeliveryState.REJECTED, DeliveryState.ACCEPTED)
    assert house.observer.outcomes == {"rejected": 1, "accepted": 1}
    assert [delivery.id for delivery, _ in house.failing] == [trigger.id]


async def test_stop_with_100_queued_is_bounded_and_nothing_is_lost(impatient: House) -> None:
    """A PagerDuty that hangs, 100 notices queued: stop returns in time, and the next process delivers each, once."""
    house = impatient
    house.pagerduty.play(Step(reply=Reply(end="hang", applied=True), requests=10))
    await house.submit(*[make_notice(f"i{number}") for number in range(100)])
    await wait_until(lambda: len(house.pagerduty.requests) >= 5, "some are under way")
    started = time.monotonic()
    await house.dispatcher.stop(0.5)
    assert time.monotonic() - started < 0.5 + HELD_UP_SECONDS
    await house.task
    await house.kill()
    await house.start()
    await house.pass_time(house.all_done, step=0.5)
    assert len(house.pagerduty.alerts()) == 100
    assert house.pagerduty.duplicates() == ()


async def test_pages_leave_from_memory_and_are_merged(house: House) -> None:
    """While the store fails a trigger and its resolve go out once each; their rows are accepted without being sent again."""
    house.disk.failure = DOWN
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    await house.submit(trigger)
    await house.submit(trigger)
    await house.rest()
    assert [action for action, _ in house.sent()] == ["trigger"]
    await house.submit(resolve)
    await house.rest()
    await house.mend()
    await house.pass_time(house.all_done)
    assert [action for action, _ in house.sent()] == ["trigger", "resolve"]
    await house.pass_time(lambda: house.dispatcher.idle)
    assert (house.observer.outcomes, house.failing) == ({"accepted": 2}, []), "what was sent is not told as collapsed"


async def test_a_page_from_memory_is_accepted_when_its_row_appears(house: House) -> None:
    """The row of a page that left from memory is accepted with its credential, so that the resolve finds the way."""
    house.disk.failure = DOWN
    trigger = make_notice()
    await house.submit(trigger)
    await house.rest()
    await house.mend()
    await house.pass_time(lambda: house.all_done() and house.dispatcher.idle)
    assert (house.state(trigger), house.disk.outbox[trigger.id].credential) == (DeliveryState.ACCEPTED, KEY)
    assert house.sent() == [("trigger", trigger.key)]


async def test_a_page_from_memory_is_resolved_although_the_store_collapsed_both(house: House) -> None:
    """The store returns and gets trigger and resolve in one transaction, never claimed: PagerDuty still gets the resolve."""
    house.disk.failure = DOWN
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    house.dispatcher.offer([trigger])
    await house.rest()
    house.disk.failure = None
    await house._commit([trigger, resolve])
    assert house.state(trigger) is DeliveryState.COLLAPSED
    await house.rest()
    (alert,) = house.pagerduty.alerts()
    assert not alert.is_open
    assert house.observer.outcomes == {"accepted": 2}, "what was sent did not collapse"


async def test_a_retry_goes_on_while_the_store_fails(house: House) -> None:
    """PagerDuty fails, then the store too, then PagerDuty recovers: the page leaves, and is written when the store returns."""
    house.pagerduty.play(fail(503, requests=2))
    notice = make_notice()
    await house.submit(notice)
    await house.rest()
    house.disk.failure = DOWN
    await house.pass_time(lambda: bool(house.sent()))
    assert house.state(notice) is DeliveryState.CLAIMED
    await house.mend()
    await house.pass_time(house.all_done)
    assert (house.state(notice), house.sent()) == (DeliveryState.ACCEPTED, [("trigger", notice.key)])


async def test_a_resolve_from_memory_waits_for_the_trigger_that_is_being_retried(house: House) -> None:
    """Never a trigger after its resolve, also when the resolve could not be committed."""
    house.pagerduty.play(fail(503, requests=3))
    trigger, resolve = make_notice(), make_notice(kind=NoticeKind.RESOLVE, sequence=2)
    await house.submit(trigger)
    await house.rest()
    house.disk.failure = DOWN
    await house.submit(resolve)
    await house.pass_time(lambda: len(house.sent()) == 2)
    await house.mend()
    await house.pass_time(house.all_done)
    assert [action for action, _ in house.sent()] == ["trigger", "resolve"]
    assert house.pagerduty.open_alerts() == ()


async def test_the_memory_queue_is_bounded_and_keeps_the_critical_ones(house: House) -> None:
    """1,200 offered while nothing gets through: 1,000 stay, the critical and the resolves among them, each loss is told."""
    house.disk.failure = DOWN
    house.pagerduty.play(fail(503))
    grave = [make_notice(f"c{n}", severity=Severity.CRITICAL) for n in range(100)]
    ends = [make_notice(f"r{n}", NoticeKind.RESOLVE) for n in range(100)]
    house.dispatcher.offer([make_notice(f"m{n}", severity=Severity.LOW) for n in range(1000)] + grave + ends)
    kept = house.dispatcher._spare
    assert len(kept) == 1000
    assert all(kept.find(notice.id) for notice in grave + ends)
    assert len(house.observer.troubles) == 200


async def test_a_fault_in_the_channel_hurts_one_notice_only() -> None:
    """A notice that makes the channel crash is retried and told, without its message; the others leave."""

    class Sick:
        name = "pagerduty"

        async def send(self, delivery: Delivery, *, now: float) -> Receipt:
            del now
            if delivery.incident == "sick":
                raise KeyError(KEY)
            return Receipt()

        async def close(self) -> None:
            return

    clock, observer, disk = VirtualClock(OPENED), RecordingObserver(), Disk()
    store = MemoryStore(disk)
    await store.open()
    failing: list[str] = []
    dispatcher = Dispatcher(Sick(), store, observer, clock, on_failing=lambda _, why: failing.append(why))
    task = asyncio.create_task(dispatcher.run())
    notices = (make_notice("sick"), make_notice("well"))
    await store.commit([], lambda _: Decision(notices=notices), OPENED)
    dispatcher.committed(notices)
    await settle()
    assert [disk.outbox[notice.id].state for notice in notices] == [DeliveryState.CLAIMED, DeliveryState.ACCEPTED]
    (why,) = failing
    assert why.startswith("a fault in the channel: KeyError at tests.integration.test_dispatcher:")
    assert_no_secret([KEY], why, repr(observer.ended))
    await dispatcher.stop(1.0)
    await task


REPLIES = [
    Reply(status=500),
    Reply(status=429),
    Reply(status=503, applied=True),
    Reply(end="reset"),
    Reply(end="close", applied=True),
    Reply(end="hang", applied=True),
    redirect_302("http://127.0.0.1/"),
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.sampled_from(REPLIES), st.integers(1, 3)),
        st.tuples(st.just("open"), st.integers(0, 3)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["break store", "mend store", "kill", "wait"])),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_whatever_fails_each_key_is_one_alert_and_ends_resolved(steps: list[tuple[Any, ...]]) -> None:
    """Faults of PagerDuty, of the store and of the process in any order: one alert a key, none dropped, none left open."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[Any, ...]]) -> None:
    hangs = any(step[0] == "answer" and step[1].end == "hang" for step in steps)
    async with open_house(HANG_SECONDS if hangs else PATIENCE_SECONDS) as house:
        opened: list[int] = []
        ended: set[int] = set()
        for step in steps:
            match step:
                case ("answer", reply, count):
                    house.pagerduty.play(Step(reply=reply, requests=count))
                case ("open", number) if number not in opened:
                    opened.append(number)
                    await house.submit(make_notice(f"i{number}", at=house.clock.now()))
                case ("end", number) if number in opened and number not in ended:
                    ended.add(number)
                    await house.submit(make_notice(f"i{number}", NoticeKind.RESOLVE, sequence=2, at=house.clock.now()))
                case ("break store",):
                    house.disk.failure = DOWN
                case ("mend store",):
                    await house.mend()
                case ("kill",) if not (house.disk.failure or house.backlog):
                    await house.kill()
                    await house.start()
                    await house.rest()  # no evaluation can end an incident before the outbox was looked into
                case ("wait",):
                    house.clock.advance(1.5)
                    await house.rest()
        await house.mend()
        for number in set(opened) - ended:
            await house.submit(make_notice(f"i{number}", NoticeKind.RESOLVE, sequence=2, at=house.clock.now()))
        await house.pass_time(lambda: house.all_done() and house.dispatcher.idle, seconds=3600, step=1.0)
        _check_oracle(house, opened)


def _check_oracle(house: House, opened: list[int]) -> None:
    """Each was paged once, unless it collapsed unsent; nothing is open, nothing was dropped."""
    assert (house.pagerduty.open_alerts(), house.pagerduty.duplicates()) == ((), ())
    for number in opened:
        notices = [make_notice(f"i{number}"), make_notice(f"i{number}", NoticeKind.RESOLVE, sequence=2)]
        states = {house.state(notice) for notice in notices}
        alerts = house.pagerduty.alerts_for(f"i{number}:")
        assert len(alerts) == 1 or (not alerts and states == {DeliveryState.COLLAPSED})
        accepted = [action for action, key in house.sent() if key == notices[0].key]
        assert accepted == sorted(accepted, reverse=True), "never a trigger after a resolve"
