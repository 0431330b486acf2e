"""What one of several replicas may send from memory, and what is left of it when the database is back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from detector.app.transaction import Job, Write, drop_told, end_strays, keep_memory, list_urgent
from detector.domain.alert import AlertState, Change, Phase, Transition
from detector.domain.catalogue import Catalogue
from detector.domain.incident import STORE_DOWN_ID, Book, Decision, NoticeKind, Page
from detector.domain.severity import Severity
from detector.ports.error import StaleLeaseError
from detector.ports.store import Fence
from tests.kit.sample import make_incident, make_notice, make_record


def _change(change: Change, rule: str = "errors", at: float = 1000.0) -> Transition:
    return Transition(change, rule, (), at, "checkout", AlertState((), Phase.FIRING))


def _job(shard: int, *changes: Change) -> Job:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    return Job([make_record()], [_change(each) for each in changes], keep_memory, done, Fence(shard, 1))


def test_only_grave_openings_leave_from_memory() -> None:
    """HIGH and CRITICAL through PagerDuty; no resolve, nothing low, no other channel, but that the store is down."""
    page = make_notice(1, severity=Severity.HIGH)
    down = make_notice(2, incident=STORE_DOWN_ID, severity=Severity.MEDIUM)
    others = [
        make_notice(3, NoticeKind.RESOLVE, severity=Severity.CRITICAL),
        make_notice(4, severity=Severity.MEDIUM),
        make_notice(5, severity=Severity.CRITICAL, channel="slack"),
        make_notice(6, NoticeKind.UPDATE, severity=Severity.CRITICAL),
    ]
    assert list_urgent([page, *others, down]) == [page, down]


def test_without_pagerduty_other_channels_are_told() -> None:
    """A page three times is better than none."""
    mail = make_notice(1, severity=Severity.HIGH, channel="email")
    assert list_urgent([mail, make_notice(2, NoticeKind.RESOLVE, severity=Severity.HIGH, channel="email")]) == [mail]


def test_a_page_under_another_name_than_stands_is_ended() -> None:
    """Cut off, one of them saw the breach begin later: the incident that stands keeps its page, the other one gets its resolve."""
    right, stray = make_notice(1), make_notice(2, incident="another")
    known = replace(make_incident(1), pages=(Page("default", right.key, 1, Severity.HIGH),))
    book = Book({known.id: known})
    assert end_strays(Decision(), book, [right]) == Decision()
    (resolve,) = end_strays(Decision(), book, [right, stray]).notices
    assert (resolve.kind, resolve.key, resolve.route) == (NoticeKind.RESOLVE, stray.key, stray.route)
    assert resolve.id not in {right.id, stray.id}
    begun = replace(known, id="another", pages=(Page("default", stray.key, 1, Severity.HIGH),))
    assert not end_strays(Decision((begun,)), book, [stray]).notices


@pytest.mark.parametrize(("at", "count"), [(1000.0, 0), (1059.0, 0), (1061.0, 1), (5000.0, 1)])
def test_one_outage_is_told_once(at: float, count: int) -> None:
    """A replica that writes later leaves out what another told within the minute; the next outage is another one."""
    told = replace(make_incident(1, detected=1000.0, relapses=()), id=STORE_DOWN_ID)
    transitions = [_change(Change.FIRED, STORE_DOWN_ID, at), _change(Change.FIRED, "errors", at)]
    assert len(drop_told(Book({told.id: told}), transitions)) == 1 + count
    assert drop_told(Book(), transitions) == transitions


async def test_a_part_whose_lease_was_lost_is_refused() -> None:
    """Whoever waits for it hears so; the other parts stay."""
    lost, kept = _job(1, Change.FIRED), _job(2, Change.ENDED)
    write = Write((lost, kept), Catalogue(), 0.0)
    write.drop(frozenset({1}))
    assert write.jobs == (kept,)
    assert write.fences == {Fence(2, 1)}
    with pytest.raises(StaleLeaseError):
        lost.done.result()


@pytest.mark.parametrize(("paged", "left"), [(True, [Change.FIRED]), (False, [])])
async def test_of_what_memory_went_by_only_what_was_paged_is_kept(paged: bool, left: list[Change]) -> None:  # noqa: FBT001  # given
    """Its beginning, without states and without a fence: the end is for whoever leads it now."""
    write = Write((_job(1, Change.FIRED, Change.ENDED),), Catalogue(), 0.0)
    write.release()
    write.sent = (make_notice(1),) if paged else ()
    write.drop(frozenset({1}))
    assert [each.change for each in write.transitions] == left
    assert not write.records
    assert not write.fences
