"""What the daemon does while it cannot know: a firing rule whose query fails, a Prometheus that stands still or lost everything.

Prometheus with Alertmanager sends a false "resolved" in each of these. Here nothing resolves and nothing more is paged about the
service; instead there is one incident that says the daemon is blind, and its metrics and log say why.
"""

import asyncio
import time

from detector.app.evaluation import QUERY_TIMEOUT_SECONDS
from tests.acceptance.conftest import EnterHouse
from tests.kit.faultproxy import BlackHole, Cut, Pass, Refuse, Reset
from tests.kit.house import JOB, Household
from tests.kit.oracle import Truth
from tests.kit.prometheus import static_job
from tests.kit.rule import SHORT_RULES
from tests.kit.standin import Alert, Fault, Service
from tests.kit.wait import HELD_UP_SECONDS, wait_until

BLIND_AFTER_SECONDS = 6.0
EVERY_SECONDS = 1.0
# an evaluation begins at its slot and ends at the deadline of its query at the latest; blindness is judged at its end
LONGEST_SECONDS = EVERY_SECONDS + QUERY_TIMEOUT_SECONDS
SERVICE = Service("checkout", rate=50.0)
WELL = Service("search", rate=50.0)
BLIND = "detector"


async def _begin(enter_house: EnterHouse, **settings: str) -> tuple[Household, Alert]:
    """A household in which one service is broken and paged."""
    house = await enter_house(SERVICE, WELL, blind_after=f"{BLIND_AFTER_SECONDS:g}s", **settings)
    house.flip("checkout", error_ratio=0.2)
    return house, await house.wait_alert("checkout")


async def _finish(house: Household, page: Alert, *blind: tuple[float, float], is_blind: bool = True) -> None:
    """Nothing happened to the page while it was unknown; it resolves once the service is well."""
    assert house.alert_of("checkout").dedup_key == page.dedup_key
    assert house.alert_of("checkout").is_open
    assert await house.daemon.incident("checkout") is not None
    house.heal("checkout", *blind)
    await house.wait_alert("checkout", is_open=False)
    truths = tuple(Truth(BLIND, start, end) for start, end in blind if is_blind)
    await house.check_oracle(also=truths)


async def test_firing_rule_whose_query_begins_to_fail(enter_house: EnterHouse) -> None:
    """Refused, reset, cut, unanswered: metrics and log say which, the alert stays, one blind incident comes and goes."""
    house, page = await _begin(enter_house)
    daemon, began = house.daemon, time.time()
    for mode in (Refuse(), Reset(), Cut(after_bytes=150)):
        await house.proxy.switch(mode)
        await asyncio.sleep(2.5)
    await house.proxy.switch(BlackHole())
    blind = await house.wait_alert(BLIND)
    # the first that fails is refused at its slot; the one that makes it long enough may be the one that is not answered
    assert blind.opened_at - began < EVERY_SECONDS + BLIND_AFTER_SECONDS + LONGEST_SECONDS + HELD_UP_SECONDS
    assert blind.severity == "error"
    await daemon.wait_metric("detector_query_errors_total", 1, reason="timeout")
    await house.proxy.switch(Refuse())  # what is still unanswered ends here, not at its deadline
    ended = time.time()
    await house.proxy.switch(Pass())
    resolved = await house.wait_alert(BLIND, is_open=False)
    assert resolved.resolved_at is not None
    assert resolved.resolved_at - ended < 6.0
    for reason in ("connect", "cut", "timeout"):
        assert await daemon.metric("detector_query_errors_total", reason=reason) >= 1, reason
    assert await daemon.metric("detector_evaluations_total", rule="errors", outcome="error") >= 4
    assert daemon.lines("evaluation failed", "rule=errors")
    assert daemon.lines("transition", "service=checkout", "change=unknown")
    await daemon.wait_line("evaluation works again", "rule=errors")
    await _finish(house, page, (began, ended))


# joins on a label that a deploy changes: while both versions are within the range, Prometheus refuses the query (422)
FRAGILE_RULE = """\
rules:
  - name: fragile
    by: [service]
    every: 1s
    window: 8s
    signals:
      failures: >
        sum by (service) (rate(http_requests_total{code=~"5.."}[$window]))
        * on (service) group_left (version) last_over_time(build_info[$window])
    open: failures > 1
    recover: failures < 0.1
    recover_for: 2s
    severity: {high: "true"}
"""


async def test_one_firing_rule_whose_query_begins_to_fail(enter_house: EnterHouse) -> None:
    """A deploy makes Prometheus refuse one query: that alert stays, nobody is paged, nothing is blind."""
    rules = {"fragile": FRAGILE_RULE, "errors": SHORT_RULES.replace('code=~"5.."', 'code="418"')}
    house = await enter_house(SERVICE, WELL, rules=rules, blind_after="2s")
    house.flip("checkout", error_ratio=0.2)
    page = await house.wait_alert("checkout")
    began = time.time()
    house.shop.reset_counters("checkout", version="2.0.0")
    daemon = house.daemon
    await daemon.wait_metric("detector_query_errors_total", 3, reason="bad_query")
    assert await daemon.metric("detector_evaluations_total", rule="fragile", outcome="error") >= 3
    assert await daemon.metric("detector_evaluations_total", rule="errors", outcome="error") == 0
    assert daemon.lines("evaluation failed", "rule=fragile", "duplicate series")
    assert daemon.lines("transition", "rule=fragile", "change=unknown", "query failed")
    await daemon.wait_line("transition", "rule=fragile", "change=known")
    await _finish(house, page, (began, time.time()), is_blind=False)


async def test_prometheus_that_stands_still_for_a_minute(enter_house: EnterHouse) -> None:
    """State kept, also over kill -9; errors counted; one blind incident, which ends within an interval; no burst of late slots."""
    house, page = await _begin(enter_house)
    daemon = house.daemon
    await asyncio.to_thread(house.prometheus.freeze)
    began = time.time()
    blind = await house.wait_alert(BLIND)
    assert blind.opened_at - began < 2 * LONGEST_SECONDS + HELD_UP_SECONDS  # the first that fails and the next
    await daemon.kill()
    await daemon.start()
    await asyncio.sleep(began + 60 - time.time())
    assert (await daemon.metric("detector_evaluations_total", rule="errors", outcome="error")) >= 3
    assert (await daemon.metric("detector_alerts", rule="errors", state="firing")) == 1
    before = await daemon.metric("detector_evaluations_total", rule="errors", outcome="ok")
    house.prometheus.thaw()
    ended = time.time()
    resolved = await house.wait_alert(BLIND, is_open=False)
    assert resolved.dedup_key == blind.dedup_key
    assert resolved.resolved_at is not None
    assert resolved.resolved_at - ended < 6.0
    await asyncio.sleep(3.0)
    evaluated = await daemon.metric("detector_evaluations_total", rule="errors", outcome="ok") - before
    assert evaluated <= time.time() - ended + 2
    await _finish(house, page, (began, ended))


async def test_prometheus_restarted_without_its_data(enter_house: EnterHouse) -> None:
    """Empty answers are no data, not health: nothing resolves, the loss is told once, and recovery is verified on new samples."""
    house, page = await _begin(enter_house)
    daemon = house.daemon
    house.prometheus.configure(scrape_configs=[])
    began = time.time()
    await asyncio.to_thread(house.prometheus.restart, empty=True)
    blind = await house.wait_alert(BLIND)
    assert "every series seen before is gone" in blind.summary
    assert await daemon.metric("detector_evaluations_total", rule="errors", outcome="no_data") >= 1
    assert daemon.lines("transition", "service=checkout", "change=unknown", "no data")
    assert house.alert_of("checkout").is_open
    house.prometheus.configure(scrape_configs=[static_job(JOB, house.shop.target)])
    ended = time.time()
    house.prometheus.reload()
    await house.wait_alert(BLIND, is_open=False)
    await daemon.wait_line("transition", "service=checkout", "change=known")
    await _finish(house, page, (began, ended))


async def test_traffic_that_stops_and_series_that_go_stale(enter_house: EnterHouse) -> None:
    """0/0 requests, then no series at all: the page stays open while nobody knows, a healthy service is never paged for it."""
    house, page = await _begin(enter_house)
    daemon, began = house.daemon, time.time()
    house.shop.set_fault(Fault(service="search", rate=0.0))
    house.shop.set_fault(Fault(service="checkout", down=True))
    await daemon.wait_line("transition", "service=checkout", "change=unknown")
    evaluated = await daemon.metric("detector_evaluations_total", rule="errors")
    await daemon.wait_metric("detector_evaluations_total", evaluated + 5, rule="errors")
    house.shop.set_fault(Fault(service="checkout", down=False, rate=0.0))
    await daemon.wait_metric("detector_evaluations_total", evaluated + 12, rule="errors")
    assert not house.alerts_of("search")
    house.shop.set_fault(Fault(service="checkout", rate=50.0))
    house.shop.set_fault(Fault(service="search", rate=50.0))
    await _finish(house, page, (began, time.time()), is_blind=bool(house.alerts_of(BLIND)))


async def test_prometheus_that_is_not_there_at_start(enter_house: EnterHouse) -> None:
    """A name that does not resolve, then nobody listening: the daemon starts, is ready, says why, and works once there is one."""
    house = await enter_house(SERVICE, WELL, blind_after=f"{BLIND_AFTER_SECONDS:g}s")
    daemon = house.daemon
    await daemon.stop()
    daemon.settings["DETECTOR_PROMETHEUS_URL"] = "http://prometheus.invalid:9090"
    await daemon.start()
    await daemon.wait_metric("detector_query_errors_total", 1, reason="dns")
    await daemon.wait_line("evaluation failed", "rule=errors", "dns: ")
    await daemon.stop()
    daemon.settings["DETECTOR_PROMETHEUS_URL"] = house.proxy.url
    await house.proxy.switch(Refuse())
    await daemon.start()
    await daemon.wait_metric("detector_query_errors_total", 1, reason="connect")
    await house.proxy.switch(Pass())
    await daemon.wait_metric("detector_evaluations_total", 1, rule="errors", outcome="ok")
    house.flip("checkout", error_ratio=0.2)
    await house.wait_alert("checkout")
    house.heal("checkout")
    await house.wait_alert("checkout", is_open=False)
    blind = house.alerts_of(BLIND)
    assert len(blind) <= 1
    assert not [alert for alert in blind if alert.is_open]
    await wait_until(lambda: not house.pagerduty.open_alerts(), "nothing open")
    await house.check_oracle(also=tuple(Truth(BLIND, alert.opened_at - 1.0, alert.opened_at) for alert in blind))
