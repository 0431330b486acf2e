"""Silences, leases and windows through the real committer on virtual time: what is withheld, when it goes out, what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from detector.domain.catalogue import Catalogue, Service
from detector.domain.incident import BLIND_ID, STORE_DOWN_ID, Incident, Status
from detector.domain.maintenance import MaintenanceWindow
from detector.domain.mute import Mute, MuteKind, parse_matchers
from detector.domain.response import ResponseError
from detector.domain.silence import KeptMute, MuteRequest, MuteStatus, UnknownMuteError, list_muted
from tests.kit.stage import FAILED, Stage, compare, make_rule, series, store_fault

if TYPE_CHECKING:
    from detector.domain.outcome import Outcome

OK = series(shop=0.0)
BAD = series(shop=0.2)
WISH = MuteRequest(("service=shop",), "kim", "a deploy", duration="5m")


def _enter() -> Stage:
    return Stage([make_rule("errors")])


def _incident(stage: Stage) -> Incident:
    (incident,) = stage.store.disk.incidents.values()
    return incident


def _list_muters(stage: Stage) -> list[tuple[str, str]]:
    """Who muted while it stood, and who ended that early; `detector` where nobody did at that moment."""
    return [(event.kind, event.actor) for event in stage.store.disk.events if event.kind in {"muted", "unmuted"}]


def _told(stage: Stage) -> list[str]:
    return [event.kind for event in stage.store.disk.events if event.kind in {"muted", "unmuted", "resolved"}]


async def _show(stage: Stage, answer: Outcome, seconds: float = 6.0) -> None:
    stage.source.default = answer
    await stage.clock.run(seconds)


async def test_a_silence_while_firing_stops_everything_but_the_resolve() -> None:
    """Paged already: a rise and a second alert say nothing more, and the recovery resolves what was sent."""
    async with Stage([make_rule("errors"), make_rule("latency", "latency")]) as stage:
        stage.source.answers["latency"] = OK
        await _show(stage, series(shop=0.02))
        assert stage.kinds == ["trigger"]
        kept = await stage.board.add(WISH)
        await stage.clock.run(2)
        assert _incident(stage).muted == f"silence {kept.mute.id} by kim: a deploy"
        stage.source.answers["latency"] = BAD
        await _show(stage, BAD, 30)
        assert stage.kinds == ["trigger"]
        stage.source.answers["latency"] = OK
        await _show(stage, OK, 30)
        assert stage.kinds == ["trigger", "resolve"]
        assert (_incident(stage).status, _incident(stage).muted) == (Status.RESOLVED, "")
        assert _list_muters(stage) == [("muted", "kim"), ("unmuted", "detector")]


@pytest.mark.parametrize("how", ["by itself", "by hand"])
async def test_a_withheld_page_goes_out_when_the_silence_ends(how: str) -> None:
    """Silenced before the breach: nothing is sent while it holds; it still fires at the end, so it pages then, at once."""
    async with _enter() as stage:
        kept = await stage.board.add(WISH)
        began = stage.clock.now()
        await _show(stage, BAD, 120)
        assert (stage.kinds, _told(stage)) == ([], ["muted"])
        assert _incident(stage).muted.startswith("silence")
        if how == "by hand":
            await stage.board.expire(kept.mute.id, "lee")
            end = stage.clock.now()
        else:
            await stage.clock.run(300 - (stage.clock.now() - began) - 1)
            assert stage.kinds == []
            end = began + 300
        await stage.clock.run(2.5)
        assert (stage.kinds, _told(stage)) == (["trigger"], ["muted", "unmuted"])
        assert _list_muters(stage) == [("muted", "detector"), ("unmuted", "lee" if how == "by hand" else "detector")]
        (notice,) = stage.store.notices.values()
        assert end <= notice.at <= end + 1.5
        assert _incident(stage).muted == ""


async def test_what_recovers_while_muted_was_never_sent() -> None:
    """Breach and recovery inside the silence: no page, and none when it ends."""
    async with _enter() as stage:
        await stage.board.add(WISH)
        await _show(stage, BAD, 60)
        await _show(stage, OK, 400)
        assert stage.kinds == []
        assert _incident(stage).status is Status.RESOLVED
        assert _told(stage) == ["muted", "unmuted", "resolved"]


async def test_a_rise_that_was_withheld_pages_at_the_end() -> None:
    """Paged as medium, then silenced, then high: the end of the silence tells of the rise under a new key."""
    async with _enter() as stage:
        await _show(stage, series(shop=0.02))
        await stage.board.add(WISH)
        await _show(stage, BAD, 290)
        assert stage.kinds == ["trigger"]
        await stage.clock.run(20)
        assert stage.kinds == ["trigger", "rise"]
        assert len({notice.key for notice in stage.store.notices.values()}) == 2
        await _show(stage, OK, 30)
        assert stage.kinds == ["trigger", "rise", "resolve", "resolve"]


async def test_the_end_of_a_silence_tells_nothing_twice() -> None:
    """Paged, then silenced, nothing new: when the silence ends the standing page stays the only one."""
    async with _enter() as stage:
        await _show(stage, BAD)
        await stage.board.add(WISH)
        await stage.clock.run(400)
        assert (stage.kinds, _told(stage)) == (["trigger"], ["muted", "unmuted"])


async def test_a_relapse_that_was_withheld_pages_at_the_end() -> None:
    """Recovered, silenced, fires again: the next episode pages as a relapse when the silence ends."""
    async with _enter() as stage:
        await _show(stage, BAD)
        await _show(stage, OK, 30)
        await stage.board.add(WISH)
        await _show(stage, BAD, 200)
        assert stage.kinds == ["trigger", "resolve"]
        await stage.clock.run(110)
        assert stage.kinds == ["trigger", "resolve", "relapse"]


async def test_a_window_of_the_rule_files_mutes_from_its_start_to_its_end() -> None:
    """A window begins while an alert fires that paged, and holds over the breach of another service until it ends."""
    async with Stage([make_rule("errors")]) as stage:
        now = stage.clock.now()
        stage.files.maintenance = (MaintenanceWindow({"service": ("shop", "cart")}, start=now + 60, end=now + 600),)
        await stage.reloader.reload()
        await _show(stage, BAD, 50)
        assert (stage.kinds, _incident(stage).muted) == (["trigger"], "")
        await stage.clock.run(12)
        assert _incident(stage).muted.startswith("window ")
        await _show(stage, series(shop=0.2, cart=0.2), now + 599 - stage.clock.now())
        assert stage.kinds == ["trigger"]
        await stage.clock.run(3)
        assert stage.kinds == ["trigger", "trigger"]
        assert await stage.board.list_mutes(set(MuteStatus), 10) == []


async def test_a_window_that_a_reload_takes_away_mutes_no_longer() -> None:
    """The window leaves the rule files before its end: what it withheld pages within seconds."""
    async with _enter() as stage:
        now = stage.clock.now()
        stage.files.maintenance = (MaintenanceWindow({"service": ("shop",)}, start=now, end=now + 6000),)
        await stage.reloader.reload()
        await _show(stage, BAD, 60)
        assert stage.kinds == []
        stage.files.maintenance = ()
        await stage.reloader.reload()
        await stage.clock.run(8)
        assert stage.kinds == ["trigger"]


async def test_a_lease_lapses_by_itself_and_is_renewed_by_its_id() -> None:
    """A job that renews keeps it quiet; a minute after the last renewal it is loud."""
    wish = replace(WISH, lease=True, id="deploy-7", duration="1m")
    async with _enter() as stage:
        await stage.board.add(wish)
        stage.source.default = BAD
        for _ in range(5):
            await stage.clock.run(45)
            await stage.board.add(wish)
        assert (stage.kinds, _told(stage), len(stage.store.disk.mutes)) == ([], ["muted"], 1)
        await stage.clock.run(58)
        assert stage.kinds == []
        await stage.clock.run(4)
        assert stage.kinds == ["trigger"]


async def test_matchers_on_severity_let_a_rise_through() -> None:
    """Low and medium are silenced; what rises to high is heard."""
    async with _enter() as stage:
        await stage.board.add(replace(WISH, matchers=('severity=~"low|medium"',)))
        await _show(stage, series(shop=0.02), 30)
        assert stage.kinds == []
        await _show(stage, BAD)
        assert stage.kinds == ["trigger"]


async def test_an_incident_is_muted_only_when_all_its_firing_alerts_are() -> None:
    """Of two alerts one is silenced: the page goes out; the silence of one rule alone withholds that rule's own."""
    async with Stage([make_rule("errors"), make_rule("latency", "latency")]) as stage:
        stage.source.answers["latency"] = OK
        await stage.board.add(replace(WISH, matchers=("rule=errors",)))
        await _show(stage, BAD, 30)
        assert stage.kinds == []
        stage.source.answers["latency"] = BAD
        await stage.clock.run(6)
        assert (stage.kinds, _incident(stage).rules) == (["trigger"], ("errors", "latency"))


async def test_blindness_cannot_be_muted() -> None:
    """Matchers that name the daemon's own incidents withhold nothing of them."""
    async with _enter() as stage:
        await _show(stage, OK)
        for matchers in (("service=detector",), ('severity="high"',), (f'rule="{BLIND_ID}"',), ('alertname=~"blind.*"',)):
            await stage.board.add(replace(WISH, matchers=matchers, duration="1h"))
        await _show(stage, FAILED, 200)
        assert stage.kinds == ["trigger"]
        assert (_incident(stage).id, _incident(stage).muted) == (BLIND_ID, "")


async def test_planned_work_on_many_services_makes_no_storm() -> None:
    """Thirty muted services at once fold into nothing and page nobody."""
    async with _enter() as stage:
        await stage.board.add(replace(WISH, matchers=('service=~"s.*"',)))
        await _show(stage, series(**{f"s{number}": 0.02 for number in range(30)}), 30)
        assert stage.kinds == []
        assert {incident.folded for incident in stage.store.disk.incidents.values()} == {""}
        assert len(stage.store.disk.incidents) == 30


async def test_a_muted_service_is_no_part_of_a_storm() -> None:
    """While others storm, it keeps out of their incident and pages for itself when its silence ends."""
    async with _enter() as stage:
        await stage.board.add(WISH)
        await _show(stage, series(**{f"s{number}": 0.02 for number in range(30)}))
        await _show(stage, series(shop=0.02, **{f"s{number}": 0.02 for number in range(30)}), 30)
        incidents = {incident.service: incident for incident in stage.store.disk.incidents.values()}
        assert incidents["s29"].folded
        assert not incidents["shop"].folded
        sent = len(stage.kinds)
        await stage.clock.run(300)
        assert [notice.incident for notice in stage.store.notices.values()][sent:] == [incidents["shop"].id]


async def test_a_store_that_fails_loses_no_silence_and_prolongs_none() -> None:
    """While pages go out from memory the silence goes on withholding, and ends at its end; a new one is refused."""
    async with _enter() as stage:
        await stage.board.add(WISH)
        stage.store.fault = store_fault()
        await _show(stage, BAD, 250)
        assert ({notice.incident for notice in stage.offered}, stage.kinds) == ({STORE_DOWN_ID}, [])
        with pytest.raises(type(store_fault())):
            await stage.board.add(replace(WISH, reason="more"))
        await stage.clock.run(55)
        assert [notice.kind.value for notice in stage.offered if notice.incident != STORE_DOWN_ID] == ["trigger"]
        stage.store.fault = None
        await stage.clock.run(5)
        stored = [notice for notice in stage.store.notices.values() if notice.incident != STORE_DOWN_ID]
        assert [notice.kind.value for notice in stored] == ["trigger"]
        assert {notice.id for notice in stage.offered} <= set(stage.store.notices)


async def test_a_silence_survives_a_kill() -> None:
    """After a restart it still withholds, and what it withheld goes out at its end, once."""
    async with _enter() as stage:
        await stage.board.add(WISH)
        await _show(stage, BAD, 100)
        await stage.restart()
        await stage.clock.run(190)
        assert stage.kinds == []
        await stage.restart()
        await stage.clock.run(15)
        assert stage.kinds == ["trigger"]


async def test_a_silence_that_ended_while_the_daemon_was_down_withholds_nothing() -> None:
    """Killed inside the silence, started after it: the page goes out with the start."""
    async with _enter() as stage:
        await stage.board.add(WISH)
        await _show(stage, BAD, 100)
        await stage.kill()
        await stage.clock.run(300)
        await stage.restart()
        await stage.clock.run(8)
        assert stage.kinds == ["trigger"]


async def test_what_another_process_changes_is_seen_within_seconds() -> None:
    """A silence written to the database by another replica mutes here; its early end there unmutes here."""
    async with _enter() as stage:
        now = stage.clock.now()
        held = Mute("other", MuteKind.SILENCE, parse_matchers(["service=shop"]), now, now + 3600, "kim", "a deploy")
        stage.store.disk.mutes["other"] = KeptMute(held, now)
        await stage.clock.run(6)
        await _show(stage, BAD, 60)
        assert stage.kinds == []
        stage.store.disk.mutes["other"] = KeptMute(held, now, stage.clock.now(), "lee")
        await stage.clock.run(8)
        assert stage.kinds == ["trigger"]


async def test_no_commit_is_made_for_a_mute_while_nothing_is_open() -> None:
    """Silences that come, begin and end with no incident cost nothing; a pending one wakes the committer when it begins."""
    async with _enter() as stage:
        await _show(stage, OK)
        await stage.board.add(WISH)
        await stage.clock.run(400)
        assert stage.store.commits == 0
        await _show(stage, BAD)
        before = stage.store.commits
        await stage.board.add(replace(WISH, starts=stage.clock.now() + 57.3))
        await stage.clock.run(3)
        after_adding = stage.store.commits
        await stage.clock.run(53)
        assert (_incident(stage).muted, stage.store.commits) == ("", after_adding)
        await stage.clock.run(2.5)
        assert _incident(stage).muted
        assert after_adding - before <= 1


async def test_what_is_listed_and_what_is_refused() -> None:
    """By status, with what each mutes; ending twice, an unknown id and a window's id are refused in words."""
    async with _enter() as stage:
        now = stage.clock.now()
        stage.files.maintenance = (MaintenanceWindow({"service": ("reports",)}, start=now + 60, end=now + 600),)
        await stage.reloader.reload()
        first, second = await stage.board.add(WISH), await stage.board.add(replace(WISH, matchers=("service=cart",)))
        await _show(stage, BAD)
        await stage.board.expire(second.mute.id, "lee")

        async def ids(*statuses: MuteStatus, limit: int = 10) -> list[str]:
            return [kept.mute.id for kept in await stage.board.list_mutes(set(statuses), limit)]

        (window,) = await ids(MuteStatus.PENDING)
        assert await ids(MuteStatus.ACTIVE) == [first.mute.id]
        assert await ids(MuteStatus.ENDED) == [second.mute.id]
        assert await ids(*MuteStatus) == [first.mute.id, window, second.mute.id]
        assert await ids(*MuteStatus, limit=2) == [first.mute.id, window]
        assert list_muted(first.mute, [_incident(stage)], stage.clock.now()) == (_incident(stage).id,)
        assert list_muted(second.mute, [_incident(stage)], stage.clock.now()) == ()
        with pytest.raises(ResponseError, match="was ended by lee; nothing to do"):
            await stage.board.expire(second.mute.id, "kim")
        with pytest.raises(ResponseError, match="maintenance window of the rule files"):
            await stage.board.expire(window, "kim")
        with pytest.raises(UnknownMuteError, match="no silence nope"):
            await stage.board.expire("nope", "kim")
        stage.store.fault = store_fault()
        assert await ids(MuteStatus.ACTIVE) == [first.mute.id]


async def test_joined_services_page_their_owners_at_the_end() -> None:
    """A dependent with another routing key joins while muted: at the end both keys page, once each."""
    catalogue = Catalogue({"shop": Service("shop", pagerduty="a"), "cart": Service("cart", pagerduty="b", depends_on=("shop",))})
    rule = make_rule("errors", policy_open=compare("error_rate", ">", 0.01))
    async with Stage([rule], catalogue) as stage:
        await stage.board.add(replace(WISH, matchers=('service=~"shop|cart"',)))
        await _show(stage, series(shop=0.2, cart=0.0))
        await _show(stage, series(shop=0.2, cart=0.2), 60)
        assert stage.kinds == []
        assert _incident(stage).services == ("shop", "cart")
        await stage.clock.run(300)
        assert sorted(notice.route for notice in stage.store.notices.values()) == ["a", "b"]
