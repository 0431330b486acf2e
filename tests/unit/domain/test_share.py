"""Who takes and gives what: the pure rule, and a model of replicas that come, go and freeze."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.domain.shard import SHARDS, find_shard
from detector.domain.share import Lease, Roll, find_quota, plan_share

TTL = 15
ROUND = 5
NAMES = [f"host-{number}:1:ab" for number in range(6)]


def _roll(holders: list[str], *replicas: str, expired: bool = False) -> Roll:
    return Roll(tuple(Lease(shard, holder, 1, expired) for shard, holder in enumerate(holders)), frozenset(replicas))


@pytest.mark.parametrize("count", range(1, 71))
def test_quotas_sum_to_the_shards_and_differ_by_one(count: int) -> None:
    """However many replicas: nobody is left out while there are shards, and every shard has a place."""
    names = {f"r{number}" for number in range(count)}
    quotas = [find_quota(names, name) for name in names]
    assert sum(quotas) == SHARDS
    assert max(quotas) - min(quotas) <= 1


def test_the_first_takes_all_at_once() -> None:
    """A replica that is alone leads everything after one round."""
    share = plan_share(_roll([""] * SHARDS, "a"), "a")
    assert share.take == frozenset(range(SHARDS))
    assert not share.surplus


def test_a_second_one_takes_nothing_that_is_held() -> None:
    """It waits for what the first lets go of, which is half."""
    roll = _roll(["a"] * SHARDS, "a", "b")
    assert plan_share(roll, "b").take == frozenset()
    assert len(plan_share(roll, "a").surplus) == SHARDS // 2


def test_ones_own_expired_leases_are_not_taken_but_kept() -> None:
    """Nobody took them, so that no epoch has to change; they count against the quota."""
    share = plan_share(_roll(["a"] * SHARDS, "a", expired=True), "a")
    assert not share.take
    assert not share.surplus


@given(st.lists(st.sampled_from(["", *NAMES]), min_size=SHARDS, max_size=SHARDS), st.sets(st.sampled_from(NAMES)), st.booleans())
def test_nobody_takes_what_another_holds(holders: list[str], others: set[str], expired: bool) -> None:  # noqa: FBT001  # given
    """Only free and expired shards are taken, never beyond the quota, and never while giving."""
    me = NAMES[0]
    roll = _roll(holders, me, *others, expired=expired)
    share = plan_share(roll, me)
    mine = {lease.shard for lease in roll.leases if lease.holder == me}
    assert all(roll.leases[shard].free and roll.leases[shard].holder != me for shard in share.take)
    assert share.surplus <= mine
    assert len((mine - share.surplus) | share.take) <= find_quota(roll.replicas, me)
    assert not (share.take and share.surplus)


@dataclass
class World:
    """The database's rows, by its clock, and what each replica believes by its own."""

    now: int = 0
    holder: dict[int, str] = field(default_factory=lambda: dict.fromkeys(range(SHARDS), ""))
    epoch: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(SHARDS), 0))
    expires: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(SHARDS), 0))
    beats: dict[str, int] = field(default_factory=dict)
    leaving: dict[str, frozenset[int]] = field(default_factory=dict)
    deadline: dict[str, dict[int, int]] = field(default_factory=dict)

    def keep(self, me: str) -> None:
        """One round of a replica that lives, as `app.lease` and the statements do it."""
        self.beats[me] = self.now + TTL
        for shard in self.leaving.get(me, frozenset()):
            if self.holder[shard] == me:
                self.holder[shard], self.expires[shard] = "", 0
        for shard in self.holder:
            if self.holder[shard] == me:
                self.expires[shard] = self.now + TTL
        leases = tuple(Lease(each, self.holder[each], self.epoch[each], self.expires[each] <= self.now) for each in self.holder)
        share = plan_share(Roll(leases, frozenset(name for name, until in self.beats.items() if until > self.now)), me)
        for shard in share.take:
            self.holder[shard], self.expires[shard] = me, self.now + TTL
            self.epoch[shard] += 1
        self.leaving[me] = share.surplus
        held = {shard for shard, holder in self.holder.items() if holder == me}
        self.deadline[me] = dict.fromkeys(held - share.surplus, self.now + TTL)

    def list_leaders(self, shard: int) -> list[str]:
        """Who believes to lead it."""
        return [name for name, deadlines in self.deadline.items() if deadlines.get(shard, 0) > self.now]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=12))
def test_replicas_that_come_go_and_freeze_lead_every_shard_once(steps: list[set[str]]) -> None:
    """In each step some replicas live and the others are dead or frozen: no shard ever has two leaders, and soon each has one."""
    world = World()
    for alive in steps:
        for _ in range(7):  # one TTL for what the others left, and rounds to divide it
            for me in sorted(alive):
                world.keep(me)
                assert all(len(world.list_leaders(shard)) <= 1 for shard in range(SHARDS))
            world.now += ROUND
        if alive:
            led = [sum(world.list_leaders(shard) == [me] for shard in range(SHARDS)) for me in sorted(alive)]
            assert sum(led) == SHARDS
            assert max(led) - min(led) <= 1


def test_shards_are_the_same_everywhere() -> None:
    """Numbers that are in the databases of customers already."""
    assert (find_shard("blind"), find_shard("store-down")) == (17, 2)
    assert {find_shard(str(number)) for number in range(2000)} == set(range(SHARDS))
