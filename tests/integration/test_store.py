"""One contract for every store: the fake, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from detector.adapters.store import SqlStore, create_store
from detector.domain.alert import RuleProgress
from detector.domain.incident import BLIND_ID, Book, Decision, Incident, NoticeKind, Status
from detector.domain.mute import Mute, MuteKind, parse_matchers
from detector.domain.postmortem import Lesson
from detector.domain.severity import Severity
from detector.domain.silence import KeptMute
from detector.ports.error import CursorError, PermanentError
from detector.ports.store import AlertRecord, Backlog, Committed, Delivery, DeliveryState, IncidentFilter, Memory, Store
from tests.kit.memorystore import Disk, MemoryStore
from tests.kit.replica import open_alone
from tests.kit.sample import NASTY, decide, make_event, make_incident, make_notice, make_record

if TYPE_CHECKING:
    from pathlib import Path

MakeStore: TypeAlias = Callable[[], Store]
NOW = 2000.0
ACCEPTED, CLAIMED, QUEUED, REJECTED = DeliveryState.ACCEPTED, DeliveryState.CLAIMED, DeliveryState.QUEUED, DeliveryState.REJECTED


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes stores, one after the other, on the same data."""
    match request.param:
        case "memory":
            disk = Disk()
            return lambda: MemoryStore(disk)
        case "sqlite":
            return lambda: create_store(tmp_path / "state")
        case _:
            url = request.getfixturevalue("postgres_url")
            return lambda: create_store(tmp_path, url)


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[Store]:
    """An open store without data that holds every shard."""
    store = make_store()
    await open_alone(store)
    yield store
    await _end(store)


async def _restart(store: Store, make_store: MakeStore) -> Store:
    await _end(store)
    again = make_store()
    await open_alone(again)
    return again


async def _end(store: Store) -> None:
    if isinstance(store, SqlStore):
        with suppress(PermanentError):  # closed already
            await store.registry.release()
    await store.close()


async def _claim(store: Store, now: float = NOW, limit: int = 100, channel: str = "pagerduty") -> list[Delivery]:
    return list(await store.claim(channel, now, limit))


async def _claim_ids(store: Store, now: float = NOW, limit: int = 100) -> list[str]:
    return [delivery.id for delivery in await _claim(store, now, limit)]


async def test_a_new_store_is_empty(store: Store) -> None:
    """Nothing is remembered where nothing was written."""
    assert await store.load() == Memory()
    assert await store.backlog() == {}
    assert await store.load_rules() is None
    assert (await store.list_incidents(IncidentFilter())).incidents == ()
    assert await _claim(store) == []


async def test_everything_survives_a_restart(store: Store, make_store: MakeStore) -> None:
    """Alerts, progress, open incidents and their timeline come back equal to what was written."""
    one, two = make_record(1), make_record(2, rule="latency", blocked=("high",), flaps=3)
    progress = RuleProgress("http-errors", 1000.0, 1005.0, seen_series=True, failure=NASTY)
    await store.commit([one, two], decide(make_incident(), make_event()), NOW)
    await store.checkpoint([progress], [make_record(3)])
    before = await store.load()
    store = await _restart(store, make_store)
    try:
        after = await store.load()
        assert after == before
        assert after.alerts["http-errors"] == {record.labels: record.state for record in (one, make_record(3))}
        assert after.alerts["latency"] == {two.labels: two.state}
        assert after.progress == {"http-errors": progress}
        assert after.incidents == {make_incident().id: make_incident()}
        assert await store.timeline(make_incident().id) == [make_event()]
    finally:
        await store.close()


async def test_the_last_write_of_an_alert_counts(store: Store) -> None:
    """A state replaces the one before, None deletes it, and within one commit the last record of an alert wins."""
    kept, gone = make_record(1), make_record(2)
    await store.commit([kept, gone], decide(), NOW)
    newer = make_record(1, flaps=7)
    await store.commit([kept, newer, AlertRecord(gone.rule, gone.labels, None)], decide(), NOW)
    assert (await store.load()).alerts == {kept.rule: {kept.labels: newer.state}}


async def test_decide_reads_the_incidents_that_are_not_closed(store: Store) -> None:
    """The book holds open and resolved incidents as last written, and none that is closed."""
    resolved = make_incident(2, status=Status.RESOLVED)
    closed = make_incident(3, status=Status.CLOSED, closed=1500.0)
    await store.commit([], decide(make_incident(1), resolved, closed), NOW)
    books: list[Book] = []

    def look(book: Book) -> Decision:
        books.append(book)
        return Decision((replace(book.incidents[resolved.id], status=Status.CLOSED),))

    await store.commit([], look, NOW)
    assert books[0].incidents == {make_incident(1).id: make_incident(1), resolved.id: resolved}
    assert set((await store.load()).incidents) == {make_incident(1).id}
    assert await store.find_incident(closed.id) == closed


async def test_a_failed_decision_writes_nothing(store: Store) -> None:
    """When `decide` raises, its error comes out and the alerts that came with it are not written."""

    def fail(_book: Book) -> Decision:
        raise ZeroDivisionError("sick rule")

    with pytest.raises(ZeroDivisionError, match="sick rule"):
        await store.commit([make_record()], fail, NOW)
    assert await store.load() == Memory()
    await store.commit([make_record()], decide(), NOW)
    assert (await store.load()).alerts != {}


async def test_a_book_in_memory_is_what_a_reader_finds(store: Store, make_store: MakeStore) -> None:
    """Opened, changed, closed and failed in turn: each decision sees what a restart would read, in its order."""
    books: list[dict[str, Incident]] = []

    async def commit(*values: Incident, sick: bool = False) -> None:
        def look(book: Book) -> Decision:
            books.append(dict(book.incidents))
            if sick:
                raise ZeroDivisionError("sick rule")
            return Decision(values)

        await store.commit([], look, NOW)

    await commit(make_incident(5), make_incident(7))
    await commit(make_incident(6, summary="lone \ud800 half"), make_incident(7, revision=4))
    await commit(make_incident(5, status=Status.CLOSED, closed=1500.0))
    with pytest.raises(ZeroDivisionError):
        await commit(make_incident(9), sick=True)
    await commit(replace(make_incident(8, status=Status.CLOSED, closed=1500.0), id=BLIND_ID))
    await commit()
    await commit()
    again = await _restart(store, make_store)
    kept = (await again.load()).incidents
    await _end(again)
    assert list(books[-1].items()) == list(kept.items())
    assert set(kept) == {make_incident(6).id, make_incident(7).id, BLIND_ID}
    assert books[4] == books[3] == {make_incident(number).id: kept[make_incident(number).id] for number in (6, 7)}
    assert kept[make_incident(7).id].revision == 4


async def test_what_did_not_change_is_not_read_anew(store: Store) -> None:
    """A commit costs what it changes: an incident that stays is the very same object in the next decision."""
    seen: list[Book] = []

    def look(book: Book) -> Decision:
        seen.append(book)
        return Decision((replace(make_incident(1), revision=len(seen)),))

    await store.commit([], decide(*(make_incident(number) for number in range(5))), NOW)
    for _ in range(3):
        await store.commit([], look, NOW)
    identity = make_incident(2).id
    assert seen[2].incidents[identity] is seen[1].incidents[identity]
    assert seen[2].incidents[make_incident(1).id].revision == 2


async def test_commits_see_each_other(store: Store) -> None:
    """Twenty commits at once that each add to the same incident lose no addition."""
    await store.commit([], decide(make_incident(revision=0)), NOW)

    def add(book: Book) -> Decision:
        incident = book.incidents[make_incident().id]
        return Decision((replace(incident, revision=incident.revision + 1),))

    await asyncio.gather(*(store.commit([], add, NOW) for _ in range(20)))
    found = await store.find_incident(make_incident().id)
    assert found is not None
    assert found.revision == 20


async def test_a_repeated_commit_changes_nothing(store: Store) -> None:
    """The same decision again neither repeats timeline lines nor revives a notice that was delivered."""
    again = decide(make_incident(), make_event(), make_notice())
    await store.commit([], again, NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, ACCEPTED, NOW)
    await store.commit([], again, NOW)
    assert await _claim(store) == []
    assert await store.timeline(make_incident().id) == [make_event()]


async def test_the_timeline_is_oldest_first(store: Store) -> None:
    """Events come back by time, those of one moment in the order they were written, and only their incident's."""
    late, first, second = make_event(at=30.0), make_event(at=20.0, kind="z"), make_event(at=20.0, kind="a")
    await store.commit([], decide(late, first, second, make_event(2)), NOW)
    assert list(await store.timeline(late.incident)) == [first, second, late]


async def test_a_delivery_carries_the_notice(store: Store) -> None:
    """A claimed row says everything that was queued, and how often it was tried before."""
    notice = make_notice()
    await store.commit([], decide(notice), NOW)
    (first,) = await _claim(store, NOW)
    assert first == Delivery(
        id=notice.id,
        incident=notice.incident,
        episode=1,
        kind=NoticeKind.TRIGGER,
        channel="pagerduty",
        route="default",
        key=notice.key,
        severity=Severity.HIGH,
        created=notice.at,
        values=notice.values,
    )
    await store.record(first, CLAIMED, NOW + 1, retry_at=NOW + 5)
    (second,) = await _claim(store, NOW + 5)
    assert second == replace(first, attempts=1, first_attempt=NOW)


async def test_claims_are_by_severity_then_by_age(store: Store) -> None:
    """The most severe goes first, of equals the oldest; no more than asked; each once."""
    ranks = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.MEDIUM, Severity.CRITICAL, Severity.HIGH)
    notices = [make_notice(number, severity=severity) for number, severity in enumerate(ranks, 1)]
    await store.commit([], decide(*reversed(notices)), NOW)
    expected = [notices[number].id for number in (4, 2, 5, 1, 3, 0)]
    assert await _claim_ids(store, limit=4) == expected[:4]
    assert await _claim_ids(store, limit=4) == expected[4:]
    assert await _claim_ids(store) == []


async def test_order_holds_per_incident_and_destination(store: Store) -> None:
    """A row waits for the one before it of the same incident, channel and route; other destinations do not wait."""
    trigger, update = make_notice(1), make_notice(1, NoticeKind.UPDATE, severity=Severity.CRITICAL)
    elsewhere = make_notice(1, route="payments", key="other")
    chat = make_notice(1, channel="slack", key="chat")
    await store.commit([], decide(trigger, update, elsewhere, chat), NOW)
    first = await _claim(store)
    assert {delivery.id for delivery in first} == {trigger.id, elsewhere.id}
    assert [delivery.id for delivery in await _claim(store, channel="slack")] == [chat.id]
    assert await _claim(store) == []
    await store.record(next(delivery for delivery in first if delivery.id == trigger.id), ACCEPTED, NOW)
    assert await _claim_ids(store) == [update.id]


async def test_a_retry_blocks_its_successors(store: Store) -> None:
    """While a trigger waits for its retry, the resolve behind it waits too; the trigger goes first."""
    trigger, resolve = make_notice(), make_notice(1, NoticeKind.RESOLVE)
    await store.commit([], decide(trigger), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, CLAIMED, NOW, retry_at=NOW + 60, error="503")
    assert (await store.commit([], decide(resolve), NOW)).collapsed == ()
    assert await _claim(store, NOW + 59) == []
    assert await _claim_ids(store, NOW + 60) == [trigger.id]


async def test_a_rejected_row_does_not_block(store: Store) -> None:
    """After a trigger was rejected for good, its resolve is tried all the same."""
    trigger, resolve = make_notice(), make_notice(1, NoticeKind.RESOLVE)
    await store.commit([], decide(trigger), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, REJECTED, NOW, error="400" * 1000)
    assert (await store.commit([], decide(resolve), NOW)).collapsed == ()
    assert await _claim_ids(store) == [resolve.id]


async def test_what_surely_never_left_is_tried_again(store: Store) -> None:
    """QUEUED with a time is due then, and keeps its count of attempts."""
    await store.commit([], decide(make_notice()), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, QUEUED, NOW, retry_at=NOW + 2)
    assert await _claim(store, NOW + 1) == []
    (again,) = await _claim(store, NOW + 2)
    assert again.attempts == 1


async def test_an_end_is_final(store: Store) -> None:
    """A late record of another attempt does not reopen what was accepted."""
    await store.commit([], decide(make_notice()), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, ACCEPTED, NOW)
    await store.record(delivery, CLAIMED, NOW, retry_at=NOW)
    assert await _claim(store, NOW + 1000) == []


async def test_claims_of_a_dead_process_return(store: Store, make_store: MakeStore) -> None:
    """What was claimed and never recorded is claimable at once after a restart."""
    await store.commit([], decide(make_notice()), NOW)
    assert len(await _claim(store)) == 1
    assert await _claim(store) == []
    store = await _restart(store, make_store)
    try:
        (delivery,) = await _claim(store)
        assert delivery.attempts == 1
        assert await _claim(store) == []
    finally:
        await store.close()


async def test_a_stuck_claim_returns(store: Store) -> None:
    """A claim that nobody recorded for two minutes is claimable again, though the process lives."""
    await store.commit([], decide(make_notice()), NOW)
    await _claim(store)
    assert await _claim(store, NOW + 119) == []
    assert len(await _claim(store, NOW + 121)) == 1


async def test_a_clock_set_back_delays_nothing(store: Store) -> None:
    """A retry planned before the clock went back an hour is due at once."""
    await store.commit([], decide(make_notice()), NOW)
    (delivery,) = await _claim(store, NOW)
    await store.record(delivery, CLAIMED, NOW, retry_at=NOW + 5)
    assert len(await _claim(store, NOW - 3600)) == 1


@pytest.mark.parametrize("opening", [NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.RELAPSE])
async def test_an_untouched_trigger_collapses_with_its_resolve(store: Store, opening: NoticeKind) -> None:
    """Never claimed: neither it, nor what followed it on its key, nor the resolve is ever sent; the commit says so."""
    trigger, update = make_notice(1, opening), make_notice(1, NoticeKind.UPDATE)
    resolve = make_notice(1, NoticeKind.RESOLVE)
    await store.commit([], decide(trigger, update), NOW)
    done = await store.commit([], decide(resolve), NOW)
    assert [delivery.id for delivery in done.collapsed] == [trigger.id, update.id, resolve.id]
    assert done.notices == (resolve,)
    assert await _claim(store) == []
    assert await store.backlog() == {}
    assert (await store.commit([], decide(resolve), NOW)).collapsed == ()


async def test_trigger_and_resolve_of_one_commit_collapse(store: Store) -> None:
    """A trigger that is resolved in the decision that queued it never leaves."""
    done = await store.commit([], decide(make_notice(), make_notice(1, NoticeKind.RESOLVE)), NOW)
    assert len(done.collapsed) == 2
    assert await _claim(store) == []


async def test_a_claimed_trigger_does_not_collapse(store: Store) -> None:
    """After one attempt, whatever came of it, the resolve is sent, after the trigger."""
    resolve = make_notice(1, NoticeKind.RESOLVE)
    await store.commit([], decide(make_notice()), NOW)
    (delivery,) = await _claim(store)
    assert (await store.commit([], decide(resolve), NOW)).collapsed == ()
    await store.record(delivery, QUEUED, NOW, retry_at=NOW)
    (delivery,) = await _claim(store)
    assert delivery.kind is NoticeKind.TRIGGER
    await store.record(delivery, ACCEPTED, NOW)
    assert await _claim_ids(store) == [resolve.id]


async def test_a_queued_rise_does_not_hide_a_sent_trigger(store: Store) -> None:
    """On one key, a rise that was never claimed does not collapse when the trigger before it was."""
    await store.commit([], decide(make_notice(), make_notice(1, NoticeKind.RISE)), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, ACCEPTED, NOW)
    assert (await store.commit([], decide(make_notice(1, NoticeKind.RESOLVE)), NOW)).collapsed == ()


async def test_only_the_resolved_key_collapses(store: Store) -> None:
    """A resolve touches neither another key of its incident nor the same key of another channel."""
    other = make_notice(2, incident=make_notice().incident, route="payments", key="another")
    chat = make_notice(1, channel="slack")
    await store.commit([], decide(make_notice(), other, chat), NOW)
    done = await store.commit([], decide(make_notice(1, NoticeKind.RESOLVE)), NOW)
    assert [delivery.kind for delivery in done.collapsed] == [NoticeKind.TRIGGER, NoticeKind.RESOLVE]
    assert await _claim_ids(store) == [other.id]
    assert [delivery.id for delivery in await _claim(store, channel="slack")] == [chat.id]


async def test_a_resolve_without_a_known_trigger_is_sent(store: Store) -> None:
    """Where no trigger of the key is known, e.g. after the database was lost, the resolve goes out."""
    resolve = make_notice(1, NoticeKind.RESOLVE)
    assert (await store.commit([], decide(resolve), NOW)).collapsed == ()
    assert await _claim_ids(store) == [resolve.id]


@pytest.mark.parametrize("seed", range(5))
async def test_collapse_and_claim_never_both_win(store: Store, seed: int) -> None:
    """Resolving and claiming at the same moment, a key either collapses or is claimed, for each of twenty keys."""
    numbers = range(seed * 100, seed * 100 + 20)
    await store.commit([], decide(*(make_notice(number) for number in numbers)), NOW)
    resolves = [make_notice(number, NoticeKind.RESOLVE) for number in numbers]
    work: list[Coroutine[Any, Any, Committed | Sequence[Delivery]]] = [
        store.commit([], decide(resolve), NOW) for resolve in resolves
    ]
    work[seed * 4 : seed * 4] = [store.claim("pagerduty", NOW, 3) for _ in range(5)]
    results = await asyncio.gather(*work)
    committed = [result for result in results if isinstance(result, Committed)]
    collapsed = {delivery.key for commit in committed for delivery in commit.collapsed}
    claimed = {delivery.key for result in results if not isinstance(result, Committed) for delivery in result}
    assert collapsed.isdisjoint(claimed)
    assert collapsed | claimed == {resolve.key for resolve in resolves}
    backlog = await store.backlog()
    assert backlog.get("pagerduty", Backlog()).depth == 2 * (20 - len(collapsed))


async def test_two_workers_never_claim_the_same_row(store: Store) -> None:
    """Ten claims at once get thirty rows without one of them twice."""
    await store.commit([], decide(*(make_notice(number) for number in range(30))), NOW)
    claims = await asyncio.gather(*(store.claim("pagerduty", NOW, 10) for _ in range(10)))
    ids = [delivery.id for claim in claims for delivery in claim]
    ids += await _claim_ids(store)
    assert len(ids) == 30
    assert len(set(ids)) == 30


async def test_a_resolve_gets_the_credential_of_its_trigger(store: Store, make_store: MakeStore) -> None:
    """After a restart the resolve still carries the secret that the trigger was accepted with."""
    await store.commit([], decide(make_notice()), NOW)
    (trigger,) = await _claim(store)
    assert trigger.credential is None
    await store.record(trigger, ACCEPTED, NOW, credential="old-secret")
    await store.commit([], decide(make_notice(1, NoticeKind.UPDATE)), NOW)
    (update,) = await _claim(store)
    await store.record(update, ACCEPTED, NOW)
    await store.commit([], decide(make_notice(1, NoticeKind.RESOLVE), make_notice(2)), NOW)
    store = await _restart(store, make_store)
    try:
        deliveries = {delivery.incident: delivery for delivery in await _claim(store)}
        assert deliveries[make_notice(1).incident].credential == "old-secret"
        assert deliveries[make_notice(2).incident].credential is None
        assert "secret" not in repr(deliveries)
    finally:
        await store.close()


async def test_an_accepted_notice_replaces_the_credential_of_its_key(store: Store) -> None:
    """Whatever its kind: a handle made anew by an update is the one the resolve gets; one that only may have arrived is not."""
    await store.commit([], decide(make_notice()), NOW)
    (trigger,) = await _claim(store)
    await store.record(trigger, ACCEPTED, NOW, credential="first message")
    await store.commit([], decide(make_notice(1, NoticeKind.UPDATE)), NOW)
    (update,) = await _claim(store)
    await store.record(update, CLAIMED, NOW, retry_at=NOW, credential="perhaps a message")
    (update,) = await _claim(store)
    assert update.credential == "first message"
    await store.record(update, ACCEPTED, NOW, credential="second message")
    await store.commit([], decide(make_notice(1, NoticeKind.RESOLVE)), NOW)
    assert [delivery.credential for delivery in await _claim(store)] == ["second message"]


async def test_the_credential_of_an_unknown_result_is_kept(store: Store) -> None:
    """A trigger that may have arrived is tried again with the secret of its first attempt."""
    await store.commit([], decide(make_notice()), NOW)
    (delivery,) = await _claim(store)
    await store.record(delivery, CLAIMED, NOW, retry_at=NOW, credential="first")
    (again,) = await _claim(store)
    assert again.credential == "first"


async def test_the_backlog_counts_what_is_undelivered(store: Store) -> None:
    """Queued and claimed rows count by channel, with the oldest; delivered and rejected ones do not."""
    await store.commit([], decide(*(make_notice(number) for number in range(1, 5)), make_notice(9, channel="slack")), NOW)
    first, second = await _claim(store, limit=2)
    await store.record(first, ACCEPTED, NOW)
    await store.record(second, REJECTED, NOW)
    await _claim(store, limit=1)
    assert await store.backlog() == {"pagerduty": Backlog(2, 1003.0), "slack": Backlog(1, 1009.0)}


async def test_incidents_are_listed_newest_first_in_pages(store: Store) -> None:
    """Pages follow each other without gap or repeat, though a newer incident comes between them."""
    same_moment = [make_incident(number, opened=5000.0) for number in (8, 9)]
    await store.commit([], decide(*(make_incident(number) for number in range(1, 6)), *same_moment), NOW)
    seen: list[str] = []
    cursor: str | None = None
    for extra in range(100, 110):
        page = await store.list_incidents(IncidentFilter(limit=3, cursor=cursor))
        seen += [incident.id for incident in page.incidents]
        await store.commit([], decide(make_incident(extra, opened=9000.0)), NOW)
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [make_incident(number).id for number in (9, 8, 5, 4, 3, 2, 1)]


async def test_incidents_are_listed_by_filter(store: Store) -> None:
    """Status, severity and service narrow the list, alone and together; an odd service name is found as written."""
    odd = make_incident(1, service=NASTY)
    closed = make_incident(2, status=Status.CLOSED)
    critical = make_incident(3, severity=Severity.CRITICAL)
    await store.commit([], decide(odd, closed, critical), NOW)

    async def find(wanted: IncidentFilter) -> list[str]:
        return [incident.id for incident in (await store.list_incidents(wanted)).incidents]

    assert await find(IncidentFilter()) == [critical.id, closed.id, odd.id]
    assert await find(IncidentFilter(status=("open", "acknowledged"))) == [critical.id, odd.id]
    assert await find(IncidentFilter(severity=("critical",))) == [critical.id]
    assert await find(IncidentFilter(service=NASTY)) == [odd.id]
    assert await find(IncidentFilter(service="checkout", status=("closed",))) == [closed.id]
    assert await find(IncidentFilter(service="nobody")) == []


@pytest.mark.parametrize("cursor", ["", "x", "!!", "ñ", "eA"])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    """A cursor that no page gave is a fault of the caller, said so in one line."""
    with pytest.raises(CursorError, match=r"^cursor: "):
        await store.list_incidents(IncidentFilter(cursor=cursor))


async def test_an_unknown_incident_is_none(store: Store) -> None:
    """An id that nobody has gives no incident and an empty timeline."""
    assert await store.find_incident("nobody\0") is None
    assert list(await store.timeline("nobody")) == []


async def test_the_last_rules_are_kept(store: Store, make_store: MakeStore) -> None:
    """The set saved last is loaded after a restart, though the clock had been set back before it was saved."""
    await store.save_rules("a", {"http.yaml": "rules: [1]"}, NOW)
    await store.save_rules("b", {"a/b.yaml": NASTY, "c.yaml": ""}, NOW - 3600)
    store = await _restart(store, make_store)
    try:
        assert await store.load_rules() == {"a/b.yaml": NASTY, "c.yaml": ""}
    finally:
        await store.close()


async def test_text_that_is_no_unicode_is_stored(store: Store) -> None:
    """A lone surrogate in a summary loses its one character, not the incident."""
    await store.commit([], decide(make_incident(service="a\ud800b", summary="c\ud800d"), make_event(message="e\ud800f")), NOW)
    found = await store.find_incident(make_incident().id)
    assert found is not None
    assert len(found.summary) == 3


async def test_close_twice_and_ask_afterwards(store: Store) -> None:
    """Closing is idempotent; a closed store says so."""
    await store.close()
    await store.close()
    with pytest.raises(PermanentError, match="not open"):
        await store.load()


async def test_a_closed_incident_of_a_fixed_id_stays_in_the_book(store: Store) -> None:
    """The blind incident comes back as its next episode; a fresh one would repeat notice ids that are taken."""
    blind = replace(make_incident(7, status=Status.CLOSED, closed=1500.0), id=BLIND_ID)
    await store.commit([], decide(blind, make_incident(8, status=Status.CLOSED, closed=1500.0)), NOW)
    assert set((await store.load()).incidents) == {BLIND_ID}


def _make_mute(number: int = 1, **changes: Any) -> KeptMute:
    matchers = parse_matchers(['service="checkout"', 'severity=~"low|medium"'])
    fields = {"id": f"m{number}", "kind": MuteKind.SILENCE, "matchers": matchers, "starts": NOW, "ends": NOW + 100}
    held = Mute(**(fields | {"author": NASTY, "reason": "a deploy"} | changes))  # type: ignore[arg-type]  # fields of the test's choice
    return KeptMute(held, created=NOW + number)


async def test_a_silence_survives_and_is_replaced_by_its_id(store: Store, make_store: MakeStore) -> None:
    """What was kept comes back after a restart, matchers and all; the same id again is the same silence, changed."""
    await store.save_mute(_make_mute(1))
    await store.save_mute(_make_mute(2, kind=MuteKind.LEASE))
    await store.save_mute(_make_mute(1, ends=NOW + 500, reason="a longer deploy"))
    store = await _restart(store, make_store)
    try:
        lease, silence = await store.list_mutes(NOW, ended=False, limit=10)
        assert (lease.mute.id, lease.mute.kind) == ("m2", MuteKind.LEASE)
        assert (silence.mute.ends, silence.mute.reason) == (NOW + 500, "a longer deploy")
        assert silence.mute.matchers == _make_mute().mute.matchers
        assert silence == await store.find_mute("m1")
        assert await store.find_mute("m3") is None
    finally:
        await store.close()


async def test_silences_are_listed_by_whether_they_have_ended(store: Store) -> None:
    """Newest first and no more than the limit; the moment of the end belongs to those that have ended."""
    for number in range(1, 4):
        await store.save_mute(_make_mute(number, ends=NOW + number * 10))

    async def names(now: float, *, ended: bool, limit: int = 10) -> list[str]:
        return [kept.mute.id for kept in await store.list_mutes(now, ended=ended, limit=limit)]

    assert await names(NOW, ended=False) == ["m3", "m2", "m1"]
    assert await names(NOW, ended=False, limit=2) == ["m3", "m2"]
    assert (await names(NOW + 10, ended=False), await names(NOW + 10, ended=True)) == (["m3", "m2"], ["m1"])
    assert (await names(NOW + 99, ended=False), await names(NOW + 99, ended=True)) == ([], ["m3", "m2", "m1"])


async def test_a_silence_is_ended_early_once(store: Store) -> None:
    """Who ended it first, and when, stays; one that ran out is not ended again; one that is not there is None."""
    await store.save_mute(_make_mute())
    for now, by in ((NOW + 5, "kim"), (NOW + 6, "lee")):
        kept = await store.expire_mute("m1", by, now)
        assert kept is not None
        assert (kept.expired, kept.expired_by, kept.held.ends, kept.mute.ends) == (NOW + 5, "kim", NOW + 5, NOW + 100)
    assert [kept.mute.id for kept in await store.list_mutes(NOW + 6, ended=True, limit=10)] == ["m1"]
    await store.save_mute(_make_mute(2))
    late = await store.expire_mute("m2", "kim", NOW + 100)
    assert late is not None
    assert (late.expired, late.expired_by) == (None, "")
    assert await store.expire_mute("m3", "kim", NOW) is None


async def test_where_post_mortems_stand_is_kept(store: Store, make_store: MakeStore) -> None:
    """One for each incident, replaced by a later one; those not finished are listed by when they are due."""
    for incident, due in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
        await store.save_lesson(Lesson(incident, due))
    await store.save_lesson(Lesson("c", 200.0, 150.0, "ann\0", 120.0))
    store = await _restart(store, make_store)
    assert [lesson.incident for lesson in await store.list_lessons(10)] == ["b", "a"]
    assert [lesson.incident for lesson in await store.list_lessons(1)] == ["b"]
    found = await store.find_lesson("c")
    assert found is not None
    assert (found.finished, found.reminded, found.finished_by.startswith("ann")) == (150.0, 120.0, True)
    assert await store.find_lesson("d") is None
    await store.close()


async def test_how_notices_fared_is_told_in_order(store: Store) -> None:
    """Queued, accepted and rejected ones of one incident, with attempts and errors; never a credential."""
    notices = [make_notice(number, incident="i", key=f"k{number}", route=f"r{number}") for number in (1, 2, 3)]
    await store.commit((), decide(*notices), NOW)
    accepted, rejected, *_ = await _claim(store)
    await store.record(accepted, ACCEPTED, NOW + 1, credential="hidden-secret")
    await store.record(rejected, REJECTED, NOW + 2, error="no")
    hops = {hop.key: hop for hop in await store.list_hops(notices[0].incident)}
    assert [hops[f"k{number}"].kind for number in (1, 2, 3)] == [NoticeKind.TRIGGER] * 3
    assert (hops[accepted.key].state, hops[accepted.key].delivered, hops[accepted.key].attempts) == ("accepted", NOW + 1, 1)
    assert (hops[rejected.key].state, hops[rejected.key].delivered, hops[rejected.key].error) == ("rejected", None, "no")
    assert "hidden-secret" not in str(hops)
    assert await store.list_hops("nothing") == []
