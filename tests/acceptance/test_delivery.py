"""From the commit to PagerDuty and back, by the real daemon: slow, broken and lying receivers, restarts and kills in between."""

import time

import pytest

from tests.kit.badprometheus import silence
from tests.kit.house import KEY, Booth, EnterBooth
from tests.kit.oracle import Truth
from tests.kit.rule import PLAIN_RULES
from tests.kit.secret import assert_no_secret
from tests.kit.standin import Reply, Step, fail
from tests.kit.wait import wait_until

OTHER_KEY = "o" * 32
QUEUED = 100
STOP_SECONDS = 15.0  # TimeoutStopSec of the unit is above it


def _hang(**changes: object) -> Step:
    """Accept the request and never answer, until the script is cleared."""
    return Step(reply=Reply(end="hang"), requests=None, **changes)  # type: ignore[arg-type]  # fields of Step


async def _page(booth: Booth) -> None:
    await booth.daemon.start()
    booth.show(checkout=0.1)


async def _heal(booth: Booth) -> None:
    """The service is well again, and its one alert ends."""
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    (alert,) = booth.pagerduty.alerts()
    assert alert.log[-1].action == "resolve"
    await booth.check_oracle()


async def test_stop_with_queued_notices_and_a_hanging_pagerduty(enter_booth: EnterBooth) -> None:
    """SIGTERM with a hundred pages queued and no answer: exit 0 in time, every page delivered once after the restart."""
    booth = await enter_booth(storm_threshold="1000")
    booth.pagerduty.play(_hang())
    services = {f"service-{number}": 0.1 for number in range(QUEUED)}
    await booth.daemon.start()
    booth.show(**services)
    await booth.daemon.wait_line("incident", "kind=opened", count=QUEUED)
    assert await booth.daemon.stop(seconds=STOP_SECONDS) == 0
    assert not booth.pagerduty.alerts()
    booth.pagerduty.script.clear()
    await booth.daemon.start()
    await booth.wait_open(QUEUED, seconds=180)
    await booth.check_oracle()


async def test_killed_between_the_202_and_the_commit(enter_booth: EnterBooth) -> None:
    """The page took effect and nobody noted it: sent again under the same key, so one alert, and one resolve that ends it."""
    booth = await enter_booth()
    booth.pagerduty.play(Step(reply=Reply(end="hang", applied=True)))
    await _page(booth)
    await booth.wait_open(1)
    await booth.daemon.kill()
    await booth.daemon.start()
    await wait_until(lambda: booth.count_sent("trigger") == 2, "the trigger sent again")
    (alert,) = booth.pagerduty.alerts()
    assert len(alert.log) == 2
    await booth.daemon.wait_metric("detector_notifications_total", 1, channel="pagerduty", outcome="accepted")
    await _heal(booth)


async def test_killed_between_the_commit_and_the_send(enter_booth: EnterBooth) -> None:
    """A page that was decided and never sent leaves within seconds of the restart, though nothing can be evaluated by then."""
    booth = await enter_booth()
    booth.pagerduty.play(fail(503))
    await _page(booth)
    await booth.daemon.wait_line("notice queued", "kind=trigger")
    await booth.daemon.kill()
    booth.pagerduty.script.clear()
    booth.source.by_query["errors"] = silence()
    await booth.daemon.start()
    began = time.monotonic()
    await booth.wait_open(1)
    assert time.monotonic() - began < 5.0
    assert await booth.daemon.metric("detector_evaluations_total", rule="errors", outcome="ok") == 0
    del booth.source.by_query["errors"]
    await _heal(booth)


async def test_resolve_survives_kill(enter_booth: EnterBooth) -> None:
    """The service recovers while PagerDuty fails, and the daemon is killed: the resolve is delivered all the same."""
    booth = await enter_booth()
    await _page(booth)
    await booth.wait_open(1)
    booth.pagerduty.play(fail(500))
    booth.show(checkout=0.0)
    await booth.daemon.wait_line("notice queued", "kind=resolve")
    await booth.daemon.kill()
    booth.pagerduty.script.clear()
    await booth.daemon.start()
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_pagerduty_fails_for_a_while(enter_booth: EnterBooth) -> None:
    """500, 502, 503, 504 and a lost connection: retried until accepted, one alert; metrics and log count the attempts."""
    booth = await enter_booth()
    booth.pagerduty.play(*(fail(status, requests=1) for status in (500, 502, 503, 504)))
    booth.pagerduty.play(Step(reply=Reply(end="reset")))
    await _page(booth)
    await booth.wait_open(1)
    daemon = booth.daemon
    assert await daemon.metric("detector_notifications_total", channel="pagerduty", outcome="retried") in {
        4,
        5,
    }  # a lost connection is tried once more at once
    await daemon.wait_metric("detector_notifications_total", 1, channel="pagerduty", outcome="accepted")
    assert daemon.lines("notice retried", "kind=trigger")
    await _heal(booth)


async def test_what_ends_after_an_attempt_of_unknown_result_is_resolved(enter_booth: EnterBooth) -> None:
    """Nobody knows whether the trigger arrived, and the service is well again: the resolve is sent, and no trigger after it."""
    booth = await enter_booth()
    booth.pagerduty.play(Step(reply=Reply(end="hang", applied=True), action="trigger"))
    await _page(booth)
    await booth.wait_open(1)
    booth.show(checkout=0.0)
    await booth.daemon.wait_incident("checkout", "resolved")
    await booth.wait_open(0)
    await wait_until(lambda: booth.count_sent("resolve") >= 1, "the resolve")
    assert await booth.daemon.metric("detector_notifications_total", channel="pagerduty", outcome="collapsed") == 0
    await booth.check_oracle()


async def test_many_at_once_fold_into_a_storm_and_critical_ones_do_not(enter_booth: EnterBooth) -> None:
    """Twenty services break together: five pages, one storm for the rest, critical ones on their own; all ends well."""
    ladder = 'severity: {critical: error_rate > 0.9, high: "true"}\n'
    booth = await enter_booth(rules={"errors": PLAIN_RULES + f"    {ladder}"}, storm_threshold="5")
    booth.show(**{f"small-{number:02}": 0.0 for number in range(16)})
    await booth.daemon.start()
    await booth.daemon.wait_metric("detector_evaluations_total", 1, rule="errors")
    small, grave = [f"small-{number:02}" for number in range(16)], [f"grave-{number}" for number in range(4)]
    booth.show(**dict.fromkeys(small, 0.1), **dict.fromkeys(grave, 1.0))
    await wait_until(lambda: {each.source for each in booth.pagerduty.alerts()} >= set(grave), "the critical pages")

    async def is_written() -> bool:
        return len(await booth.daemon.incidents()) == len(small) + len(grave) + 1

    await wait_until(is_written, "each has its incident, and the storm")  # a page does not wait for a disk that is slow
    incidents = await booth.daemon.incidents()
    (storm,) = [each for each in incidents if each["rules"] == ["storm"]]
    await wait_until(lambda: any(each.dedup_key.startswith(storm["id"]) for each in booth.pagerduty.alerts()), "the storm's page")
    folded = [each["service"] for each in incidents if each["service"] in small and each["service"] not in booth.paged_services()]
    assert set(small) == set(folded) | (booth.paged_services() & set(small)), "delivered, or folded"
    assert len(folded) >= 16 - 5 - 1
    for each in incidents:
        if each["service"] in folded:
            assert "folded" in {event["kind"] for event in await booth.daemon.timeline(each["id"])}
    booth.show(**dict.fromkeys([*small, *grave], 0.0))
    await booth.wait_open(0, seconds=120)
    now = time.time()
    booth.truths = [truth for truth in booth.truths if truth.service not in folded]
    await booth.check_oracle(also=(Truth(storm["service"], booth.truths[0].broken, min(now, booth.truths[0].healed)),))


@pytest.mark.parametrize("restarts", [1, 2])
async def test_routing_key_rotated_while_open(enter_booth: EnterBooth, restarts: int) -> None:
    """An incident that was paged through the old key resolves through it; the next one pages through the new key."""
    booth = await enter_booth(routing_keys={"default": KEY, "new": OTHER_KEY})
    booth.use_key("default", KEY)
    await _page(booth)
    await booth.wait_open(1)
    await booth.daemon.wait_metric("detector_notifications_total", 1, channel="pagerduty", outcome="accepted")
    for _ in range(restarts):
        await booth.daemon.stop()
        booth.use_key("default", OTHER_KEY)
        await booth.daemon.start()
    await _heal(booth)
    assert not booth.pagerduty.drops()
    booth.show(search=0.1)
    await booth.wait_open(1)
    assert [alert.routing_key for alert in booth.pagerduty.alerts()] == [KEY, OTHER_KEY]
    await booth.check_oracle()


async def test_no_secret_leaves_the_process(enter_booth: EnterBooth) -> None:
    """The routing key is in the requests to PagerDuty and in no log line, metric or API answer, also when PagerDuty quotes it."""
    booth = await enter_booth()
    booth.pagerduty.play(fail(500, requests=1, body=f"bad key {KEY}"))
    await _page(booth)
    await booth.wait_open(1)
    incident = await booth.daemon.wait_incident("checkout")
    detail = await booth.daemon.get(f"/api/v1/incidents/{incident['id']}")
    status, metrics = await booth.daemon.fetch("/metrics")
    assert status == 200
    await booth.daemon.stop()
    assert_no_secret((KEY,), booth.daemon.read(), repr(detail), metrics)
