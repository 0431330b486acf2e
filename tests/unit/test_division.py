"""A merged query that fails: asked in parts, whoever is well is judged, whoever is not stays as it was, and nobody else waits."""

import asyncio
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest

from detector.adapters.family import plan_merging
from detector.app.division import ABREAST, REST_SECONDS
from detector.domain.alert import Change, Phase
from detector.domain.label import make_labels
from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, Samples
from tests.kit.clock import VirtualClock
from tests.kit.stage import HUNG, ScriptedSource, Stage, make_rule, series

COUNT = 400
EVERY = 30.0
NAMES = [f"s{number:03}" for number in range(COUNT)]
TOO_MANY = QueryFailed(FailureReason.BAD_QUERY, "execution: query processing would load too many samples into memory")


def write(name: str) -> str:
    """A rule's query."""
    return f'sum by (service) (rate(x{{service="{name}"}}[5m]))'


class FleetSource(ScriptedSource):
    """Knows what each service has; queries of more than `most` services, and of one that is `sick`, bring `answers` of those names.

    At most `permits` are under way at once, as in the real source.
    """

    def __init__(self, clock: VirtualClock, permits: int = ABREAST + 1) -> None:
        super().__init__(clock)
        self.shares = dict.fromkeys(NAMES, 0.0)
        self.most = COUNT
        self.too_many: Outcome | str = TOO_MANY
        self.sick: dict[str, Outcome | str] = {}
        self._permits = asyncio.Semaphore(permits)

    async def query(self, expr: str, at: float, *, deadline_seconds: float) -> Outcome:
        """As Prometheus would."""
        found = re.search(r'service(=~?|!=)"([^"]*)"', expr)
        if found is not None:
            names = NAMES if found[1] == "!=" else found[2].split("|")
            self.answers[expr] = self._answer(names)
        async with self._permits:
            return await super().query(expr, at, deadline_seconds=deadline_seconds)

    def _answer(self, names: Iterable[str]) -> Outcome | str:
        asked = [*names]
        if len(asked) > self.most:
            return self.too_many
        for name in asked:
            if name in self.sick:
                return self.sick[name]
        shares = {make_labels({"service": name}): self.shares[name] for name in asked if name in self.shares}
        return Samples(shares) if shares else NoData()

    def count(self, slot: float) -> int:
        """How many queries of services were asked for at a slot."""
        return sum(at == slot and expr != "other" for expr, at in self.asked)


async def make_stage() -> tuple[Stage, FleetSource]:
    """A rule a service every 30 s, two of them firing, and a rule beside them on a query of its own every 5 s; a few slots old."""
    rules = [make_rule(f"rule-{name}", write(name), every_seconds=EVERY) for name in NAMES]
    stage = Stage([*rules, make_rule("other", "other", every_seconds=5.0)], plan=plan_merging, make_source=FleetSource)
    source = stage.source
    assert isinstance(source, FleetSource)
    source.answers["other"] = series(shop=0.0)
    source.shares |= {"s007": 0.5, "s300": 0.5}
    await stage.start()
    await stage.clock.run(2 * EVERY)
    assert len(stage.ear.transitions) == 2
    assert source.asked.count(("other", stage.ear.times("other")[-1])) == 1
    return stage, source


def outcomes(stage: Stage, slot: float) -> dict[str, str]:
    """What became of the services' rules at a slot."""
    return {rule: outcome for rule, outcome, at in stage.ear.evaluated if at == slot and rule != "other"}


async def run_slots(stage: Stage, count: int) -> list[float]:
    """Let so many slots of the services pass; which."""
    begin = {at for _, at in stage.source.asked}
    await stage.clock.run(count * EVERY)
    return sorted({at for expr, at in stage.source.asked if expr != "other"} - begin)


@pytest.mark.parametrize("failure", [TOO_MANY, HUNG])
async def test_a_query_that_is_too_much_is_asked_in_parts(failure: Outcome | str) -> None:
    """Whatever way it fails: all rules are judged at that very slot by fewer queries than rules, and by the same parts after it."""
    stage, source = await make_stage()
    async with stage:
        source.most, source.too_many = 100, failure
        source.shares |= {"s007": 0.0, "s008": 0.5}
        first, second = (await run_slots(stage, 2))[:2]
        assert set(outcomes(stage, first).values()) == {"ok"}
        assert len(outcomes(stage, first)) == COUNT
        assert source.count(first) < COUNT / 20
        assert source.count(second) == 4
        assert [told.service for told in stage.ear.transitions[2:] if told.change is Change.FIRED] == ["s008"]


@pytest.mark.parametrize("failure", [QueryFailed(FailureReason.BAD_QUERY, "execution: many-to-many matching not allowed"), HUNG])
async def test_one_sick_service_is_found_and_the_others_are_judged(failure: Outcome | str) -> None:
    """It alone is unknown, and its alert goes on firing; the others are asked for in some twenty queries, then in ten a slot."""
    stage, source = await make_stage()
    async with stage:
        source.sick["s300"] = failure
        source.shares |= {"s300": 0.0, "s299": 0.5}
        slots = await run_slots(stage, 5)
        last = outcomes(stage, slots[3])
        assert {rule for rule, outcome in last.items() if outcome == "error"} == {"rule-s300"}
        assert source.count(slots[0]) < 40
        assert source.count(slots[1]) < 15
        state = stage.state("rule-s300", "s300")
        assert state is not None
        assert state.phase is Phase.FIRING
        assert [told.service for told in stage.ear.transitions[2:] if told.change is Change.FIRED] == ["s299"]
        assert all(at - earlier == 5.0 for earlier, at in pairwise(stage.ear.times("other")))
        assert "other" not in stage.ear.missed


async def test_a_source_that_hangs_is_not_asked_for_each_rule() -> None:
    """While it hangs: the whole and two single ones at the first slot, two after it; nothing opens or ends; then all goes on."""
    stage, source = await make_stage()
    async with stage:
        source.sick = dict.fromkeys(NAMES, HUNG)
        source.shares |= {"s007": 0.0, "s009": 0.5}
        slots = await run_slots(stage, 4)
        assert [source.count(slot) for slot in slots[:2]] == [3, 2]
        assert max(source.count(slot) for slot in slots) <= 3
        assert set(outcomes(stage, slots[0]).values()) == {"error"}
        assert {told.change for told in stage.ear.transitions[2:]} == {Change.UNKNOWN}
        assert all(at - earlier == 5.0 for earlier, at in pairwise(stage.ear.times("other")))
        source.sick.clear()
        await stage.clock.run(3 * REST_SECONDS)
        last = stage.ear.times("rule-s000")[-1]
        assert set(outcomes(stage, last).values()) == {"ok"}
        assert source.count(last) == 1
        assert [told.service for told in stage.ear.transitions[2:] if told.change is Change.FIRED] == ["s009"]


async def test_the_whole_is_tried_again_less_and_less_often() -> None:
    """After one minute, two, four; its parts answer at the same slot when it fails again."""
    stage, source = await make_stage()
    async with stage:
        source.most = 100
        begun = stage.clock.now()
        await stage.clock.run(1000)
        whole = [at - begun for expr, at in source.asked if 'service!=""' in expr and at > begun]
        gaps = [later - earlier for earlier, later in pairwise(whole)]
        assert gaps == [60.0, 120.0, 240.0, 480.0]
        assert {outcome for _, outcome, at in stage.ear.evaluated if at > begun} == {"ok"}


@pytest.mark.parametrize(("failure", "sick"), [(QueryFailed(FailureReason.SERVER_ERROR, "execution"), 20), (HUNG, 4)])
async def test_many_sick_services_leave_the_others_judged_after_some_slots(failure: Outcome | str, sick: int) -> None:
    """More than one slot can find, and what hangs is asked last: in the end every healthy one is judged, at every slot."""
    stage, source = await make_stage()
    async with stage:
        source.sick = dict.fromkeys(NAMES[:: COUNT // sick], failure)
        slots = await run_slots(stage, 8)
        late = [outcomes(stage, slot) for slot in slots[5:7]]
        healthy = {f"rule-{name}" for name in NAMES if name not in source.sick}
        assert all({outcome for rule, outcome in found.items() if rule in healthy} == {"ok"} for found in late)
        assert all(healthy <= found.keys() for found in late)


@pytest.mark.parametrize("sick", [NAMES[::2], NAMES])
async def test_a_fault_that_the_server_finds_shows_that_it_is_there(sick: list[str]) -> None:
    """Every second one, or all: a query that is refused is an answer of the server; more are asked for, but not all at once."""
    stage, source = await make_stage()
    async with stage:
        source.sick = dict.fromkeys(sick, TOO_MANY)
        slots = await run_slots(stage, 20)
        assert max(source.count(slot) for slot in slots[:2]) < COUNT / 2
        healthy = {f"rule-{name}" for name in NAMES if name not in sick}
        found = outcomes(stage, slots[18])
        assert {rule for rule, outcome in found.items() if outcome == "ok"} == healthy
