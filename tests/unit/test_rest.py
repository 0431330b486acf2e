"""Rules at rest take a short cut, thousands of them at every slot: what comes of it is what the long way brings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.domain.advance import FORGET_AFTER_SECONDS
from detector.domain.alert import AlertState
from detector.domain.label import make_labels
from detector.domain.outcome import NoData, Outcome
from tests.kit.stage import FAILED, HUNG, Stage, compare, make_rule, series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.app.evaluation import Round

SILENT = NoData()
UNDEFINED = NoData(1, frozenset({make_labels({"service": "shop"})}))
ANSWERS = (SILENT, SILENT, SILENT, series(shop=0.3), series(shop=0.3, cart=0.02), UNDEFINED, FAILED, HUNG)
EVERY = 5.0


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.sampled_from(ANSWERS)] * 2), min_size=2, max_size=30))
def test_the_short_cut_ends_where_the_long_way_does(answers: list[tuple[Outcome | str, ...]]) -> None:
    """States, health, progress, incidents and what observers hear, over any sequence of answers to two rules."""
    assert asyncio.run(_play(answers, short=True)) == asyncio.run(_play(answers, short=False))


async def test_a_rule_at_rest_is_not_judged_and_wakes_up_at_its_first_series() -> None:
    """After its first evaluation it rests, until its query holds something; it rests again once that is forgotten."""
    async with Stage([_make_rule("a", "q")]) as stage:
        rested = _count_rests(stage)
        stage.source.default = SILENT
        await stage.clock.run(10 * EVERY)
        assert len(rested) == 9
        stage.source.default = series(shop=0.3)
        await stage.clock.run(4 * EVERY)
        assert len(rested) == 9
        assert stage.kinds[:1] == ["trigger"]


async def test_what_others_left_to_a_rule_at_rest_is_judged() -> None:
    """A state that came from elsewhere, or a rule that was loaded anew, takes the long way once more."""
    async with Stage([_make_rule("a", "q")]) as stage:
        rested = _count_rests(stage)
        stage.source.default = SILENT
        await stage.clock.run(3 * EVERY)
        labels = make_labels({"service": "shop"})
        stage.roster.track("a").states[labels] = AlertState(labels, ended=stage.clock.now() - FORGET_AFTER_SECONDS)
        await stage.clock.run(2 * EVERY)
        assert len(rested) == 2
        assert stage.state("a", "shop") is not None
        stage.roster.track("a").states.clear()
        await stage.clock.run(2 * EVERY)
        assert len(rested) == 3
        stage.poller.set_rules([_make_rule("a", "q")])
        await stage.clock.run(2 * EVERY)
        assert len(rested) == 4


async def _play(answers: Sequence[tuple[Outcome | str, ...]], *, short: bool) -> dict[str, Any]:
    rules = [_make_rule(name, query) for name, query in (("a", "q"), ("b", "q"), ("c", "r"))]
    async with Stage(rules) as stage:
        if not short:
            stage.evaluator.rest = _keep_all  # type: ignore[method-assign]  # what it is compared with
        for pair in answers:
            stage.source.answers = dict(zip("qr", pair, strict=True))
            await stage.clock.run(EVERY)
        tracks = [stage.roster.track(rule.name) for rule in rules]
        return {
            "evaluated": stage.ear.evaluated,
            "missed": stage.ear.missed,
            "transitions": [(each.rule, each.change, each.labels, each.at) for each in stage.ear.transitions],
            "notices": sorted(stage.kinds),
            "counts": stage.ear.counts,
            "tracks": [(track.states, track.progress, track.outcome, track.seconds, track.health) for track in tracks],
            "trails": [track.trail.show(stage.clock.now()) for track in tracks],
            "blind": stage.sentinel.blind,
            "asked": stage.source.asked,
        }


def _make_rule(name: str, query: str) -> Any:
    return make_rule(name, query, vector=True, policy_for_seconds=10.0, policy_open=compare("error_rate", ">=", 0.0))


async def _keep_all(rounds: Sequence[Round]) -> Sequence[Round]:
    return rounds


def _count_rests(stage: Stage) -> list[float]:
    rested: list[float] = []
    heard = stage.ear.rules_rested

    def hear(rules: Sequence[str], seconds: float, at: float) -> None:
        rested.append(at)
        heard(rules, seconds, at)

    stage.ear.rules_rested = hear  # type: ignore[method-assign]  # an ear behind the ear
    return rested
