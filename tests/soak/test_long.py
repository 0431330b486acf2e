"""Faults that take their time, on the real process: ten minutes of a dead PagerDuty, 200 incidents at once, ten thousand alerts."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.kit.badprometheus import Answer, vector
from tests.kit.oracle import Truth
from tests.kit.rule import PLAIN_RULES
from tests.kit.standin import Reply, Step, fail
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.house import Booth, EnterBooth

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

DEAD_SECONDS = 600.0
FOR_SECONDS, KILLED_AFTER_SECONDS, BEHIND_SECONDS = 60.0, 45.0, 15.0
WINDOW_SECONDS, CALLS = 60.0, 120
CYCLES, SERVICES = 50, 200
SOCKETS = 32  # sixteen deliveries at once, what asks it and what it asks: a leak of ten thousand cycles is far more
FLAPPING, FLAPS = 20, 60
MEGABYTE = 1 << 20
GROWTH_BYTES = 48 * MEGABYTE
GRACE_SECONDS = 300.0


def _choose_seed() -> int:
    return int(os.environ.get("DETECTOR_TEST_SEED", "0")) or secrets.randbits(32)


async def test_the_progress_of_for_outlives_kill_9(enter_booth: EnterBooth, record_property: Record) -> None:
    """A minute of `for`, killed after three quarters of it: the page comes after the rest, not after another minute."""
    booth = await enter_booth(rules={"errors": PLAIN_RULES + f"    for: {FOR_SECONDS:g}s\n"})
    booth.show(checkout=0.0)
    await booth.daemon.start()
    booth.show(checkout=0.1)
    began = time.time()
    await asyncio.sleep(KILLED_AFTER_SECONDS)
    assert not booth.pagerduty.alerts()
    await booth.daemon.kill()
    await booth.daemon.start()
    await booth.wait_open(1, seconds=2 * FOR_SECONDS)
    taken = booth.pagerduty.alerts()[0].opened_at - began
    assert FOR_SECONDS - 2.0 <= taken < KILLED_AFTER_SECONDS + FOR_SECONDS - BEHIND_SECONDS
    record_property("figures", f"for: {FOR_SECONDS:g} s, killed after {KILLED_AFTER_SECONDS:g} s: paged after {taken:.0f} s")
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_ten_minutes_of_a_pagerduty_that_fails_then_hangs(enter_booth: EnterBooth, record_property: Record) -> None:
    """500, 502, 503, 504 in turn for ten minutes, then answers that never come: three pages, one alert each."""
    booth = await enter_booth()
    statuses = (500, 502, 503, 504)
    ends = time.monotonic() + DEAD_SECONDS
    for number in range(len(statuses)):
        booth.pagerduty.play(fail(statuses[number], seconds=DEAD_SECONDS * (number + 1) / len(statuses)))
    booth.pagerduty.play(Step(reply=Reply(end="hang", applied=True), requests=3))
    booth.show(checkout=0.1, search=0.1)
    await booth.daemon.start()
    await asyncio.sleep(DEAD_SECONDS / 2)
    booth.show(basket=0.1)
    while (left := ends - time.monotonic()) > 0:
        assert not booth.pagerduty.alerts()
        await asyncio.sleep(min(left, 30.0))
    await booth.wait_open(3, seconds=180)
    attempts = sum(request.status in statuses for request in booth.pagerduty.requests)
    gaps = [b.at - a.at for a, b in zip(booth.pagerduty.requests, booth.pagerduty.requests[1:], strict=False)]
    assert len({round(gap, 2) for gap in gaps}) > len(gaps) / 2, f"no jitter: {gaps}"
    booth.show(checkout=0.0, search=0.0, basket=0.0)
    await booth.wait_open(0, seconds=180)
    record_property("figures", f"{DEAD_SECONDS / 60:g} minutes: {attempts} attempts for 3 pages, each one alert in the end")
    await booth.check_oracle()


async def test_200_incidents_at_once(enter_booth: EnterBooth, record_property: Record) -> None:
    """20 CRITICAL among 180 HIGH: the critical ones first, never over 120 calls in a minute, every one paged and resolved."""
    ladder = '    severity: {critical: error_rate > 0.9, high: "true"}\n'
    booth = await enter_booth(rules={"errors": PLAIN_RULES + ladder}, storm_threshold="1000")
    grave = {f"grave-{number:03}": 1.0 for number in range(20)}
    small = {f"small-{number:03}": 0.1 for number in range(180)}
    booth.show(**dict.fromkeys([*grave, *small], 0.0))
    await booth.daemon.start()
    await booth.daemon.wait_metric("detector_evaluations_total", 1, rule="errors")
    booth.show(**small, **grave)
    began = time.time()
    await booth.wait_open(200, seconds=400)
    seconds = time.time() - began
    order = [alert.source for alert in booth.pagerduty.alerts()]
    last = max(order.index(name) for name in grave) + 1
    assert last <= 40, f"the last critical page was number {last}"
    times = [request.at for request in booth.pagerduty.requests]
    most = max(sum(at <= each < at + WINDOW_SECONDS for each in times) for at in times)
    assert most <= CALLS, f"{most} calls in a minute"
    assert not [request for request in booth.pagerduty.requests if request.status == 429]
    text = f"200 pages in {seconds:.0f} s, at most {most} calls in a minute, the last of 20 critical ones was page {last}"
    record_property("figures", text)
    booth.show(**dict.fromkeys([*grave, *small], 0.0))
    await booth.wait_open(0, seconds=400)
    await booth.check_oracle()


async def test_a_deleted_rule_resolves_after_its_grace(enter_booth: EnterBooth) -> None:
    """Its file is gone while it fires, and another rule stays: after the grace the page is resolved, with the reason."""
    other = PLAIN_RULES.replace("name: errors", "name: other").replace("error_rate: errors", "error_rate: others")
    booth = await enter_booth(rules={"errors": PLAIN_RULES, "other": other})
    booth.show(checkout=0.1)
    booth.source.by_query["others"] = booth.source.answer
    await booth.daemon.start()
    await booth.wait_open(1)
    booth.source.by_query.clear()
    booth.source.by_query["others"] = _calm()
    (booth.daemon.rules / "errors.yaml").unlink()
    await booth.daemon.wait_line("rules loaded", "rules=1")
    booth.note("checkout", 0.0)  # nobody looks any more: from here on a resolve is right
    await booth.wait_open(0, seconds=GRACE_SECONDS + 60)
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    assert incident["end_reason"] == "rule removed"
    await booth.check_oracle()


async def test_a_storm_of_flaps_is_one_incident_each(enter_booth: EnterBooth, record_property: Record) -> None:
    """Twenty services, a minute around the threshold, at random: one incident and one alert each."""
    seed = _choose_seed()
    record_property("seed", seed)
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    rules = PLAIN_RULES.replace("every: 1s", "every: 500ms").replace("recover_for: 1s", "recover_for: 3s")
    rules += '    severity: {high: "true"}\n    recover: "!open && error_rate < 0.001"\n'  # by no baseline
    booth = await enter_booth(rules={"errors": rules}, storm_threshold="1000")
    names = [f"flapping-{number:02}" for number in range(FLAPPING)]
    booth.show(**dict.fromkeys(names, 0.1))
    await booth.daemon.start()
    await booth.wait_open(FLAPPING, seconds=60)
    for _ in range(FLAPS):
        booth.show(**{name: dice.choice((0.1, 0.5, 0.005)) for name in names})
        await asyncio.sleep(1.0)
    assert len(booth.pagerduty.alerts()) == FLAPPING
    booth.show(**dict.fromkeys(names, 0.0))
    await booth.wait_open(0, seconds=120)
    record_property("figures", f"{FLAPPING} services, {FLAPS} s of flaps: {len(booth.pagerduty.alerts())} alerts")
    await booth.check_oracle()


async def test_10000_alerts_with_a_receiver_that_fails_leave_the_process_flat(
    enter_booth: EnterBooth, record_property: Record
) -> None:
    """Two hundred services break and recover fifty times while the webhook is dead: memory, descriptors and threads stay flat."""
    rules = PLAIN_RULES.replace("every: 1s", "every: 250ms").replace("recover_for: 1s", "recover_for: 250ms\n    watch: 1s")
    booth = await enter_booth(rules={"errors": rules + '    severity: {low: "true"}\n'}, webhook__url="http://127.0.0.1:9/dead")
    names = [f"service-{number:03}" for number in range(SERVICES)]
    booth.show(**dict.fromkeys(names, 0.0))
    await booth.daemon.start()
    process = psutil.Process(booth.daemon.process.pid)
    seen: list[tuple[int, int, int]] = []
    for _ in range(CYCLES):
        for value, state, count in ((0.1, "firing", SERVICES), (0.0, "inactive", SERVICES)):
            booth.show(**dict.fromkeys(names, value))
            await _wait_state(booth, state, count)
        await _wait_closed(booth)  # what breaks sooner is a relapse, and each doubles `recover_for`
        seen.append((process.memory_info().rss, process.num_fds(), process.num_threads()))
    quarter, last = seen[CYCLES // 4], seen[-1]
    text = (
        f"{CYCLES * SERVICES} alert cycles: memory {quarter[0] / MEGABYTE:.0f} MB after a quarter, {last[0] / MEGABYTE:.0f} MB at "
        f"the end; descriptors {quarter[1]} and {last[1]}; threads {quarter[2]} and {last[2]}"
    )
    record_property("figures", text)
    assert last[0] - quarter[0] < GROWTH_BYTES, text
    assert max(fds for _, fds, _ in seen) - quarter[1] <= SOCKETS, text
    assert max(threads for *_, threads in seen) - quarter[2] <= 8, text
    booth.truths.clear()  # LOW pages nobody; one that does shows that the process is well
    booth.daemon.write_rules(errors=PLAIN_RULES + '    severity: {high: "true"}\n')
    await booth.daemon.wait_line("rules loaded", count=2)
    booth.show(checkout=0.1)
    await wait_until(lambda: "checkout" in booth.paged_services(), "the page", seconds=60)
    booth.show(checkout=0.0)
    await booth.wait_open(0, seconds=180)
    own = [alert for alert in booth.pagerduty.alerts() if alert.source == "detector"]
    assert not own or booth.daemon.lines("what=commit"), "it said that its store fails, and none did"  # a busy machine's may
    await booth.check_oracle(also=tuple(Truth(alert.source, alert.opened_at - 1.0, alert.opened_at) for alert in own))


async def _wait_state(booth: Booth, state: str, count: int) -> None:
    async def stands() -> bool:
        return await booth.daemon.metric("detector_alerts", rule="errors", state=state) >= count

    await wait_until(stands, f"{count} alerts {state}", seconds=120)


async def _wait_closed(booth: Booth) -> None:
    async def are_closed() -> bool:
        return await booth.daemon.metric("detector_incidents") == 0

    await wait_until(are_closed, "every incident closed", seconds=120)


def _calm() -> Answer:
    return vector(({"service": "checkout"}, "0.0"), at=time.time())
