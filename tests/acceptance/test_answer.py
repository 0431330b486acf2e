"""Answers of Prometheus that are wrong, endless, late or empty, to the running daemon: state is kept and nothing else waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from tests.kit import badprometheus as bad
from tests.kit.faultproxy import Cut, FaultProxy, Pass, Refuse
from tests.kit.rule import PLAIN_RULES

if TYPE_CHECKING:
    from tests.kit.house import Booth, EnterBooth

QUICK_RULES = PLAIN_RULES.replace("every: 1s", "every: 500ms")
MEGABYTE = 1 << 20
GROWTH_BYTES = 96 * MEGABYTE  # two answers up to the cap of 16 MB each in several copies; 200 MB each would show

FORMS: dict[str, tuple[bad.Answer | Refuse | Cut, str]] = {
    "refused": (Refuse(), "connect"),
    "RST in the middle of the body": (Cut(after_bytes=150), "cut"),
    "body shorter than promised": (bad.cut_body(), "cut"),
    "cut JSON": (bad.cut_json(), "not_json"),
    "HTML with 200": (bad.html(), "not_json"),
    "status error with 200": (bad.error(200), "server_error"),
    "a matrix": (bad.wrong_type(), "result_type"),
    "422": (bad.error(422), "bad_query"),
    "503": (bad.unavailable(), "http_status"),
    "429 with Retry-After of two hours": (bad.throttled(7200), "rate_limited"),
    "a warning that names partial data": (bad.partial_warning(), "partial"),
    "isPartial": (bad.is_partial(), "partial"),
}


async def _page(booth: Booth) -> str:
    """One service is broken and paged; the key."""
    await booth.daemon.start()
    booth.show(checkout=0.1, search=0.0)
    await booth.wait_open(1)
    return booth.pagerduty.alerts()[0].dedup_key


async def _finish(booth: Booth, key: str) -> None:
    """The one page still stands, and ends when the service is well."""
    assert [alert.dedup_key for alert in booth.pagerduty.alerts()] == [key]
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()


async def test_every_wrong_answer_has_its_reason_and_keeps_the_state(enter_booth: EnterBooth) -> None:
    """Twelve forms while a page is open: each counted by its reason, at the rule's own interval, and nothing resolved or opened."""
    booth = await enter_booth(rules={"errors": QUICK_RULES})
    daemon = booth.daemon
    async with FaultProxy(booth.source.port) as proxy:
        daemon.settings["DETECTOR_PROMETHEUS_URL"] = proxy.url
        key = await _page(booth)
        for name, (form, reason) in FORMS.items():
            good = booth.source.answer
            failed = await daemon.metric("detector_query_errors_total", reason=reason)
            if isinstance(form, Refuse | Cut):
                await proxy.switch(form)
            else:
                booth.source.answer = form
            # two more: asked again at the next slots, whatever a Retry-After says
            await daemon.wait_metric("detector_query_errors_total", failed + 2, reason=reason)
            assert [alert.dedup_key for alert in booth.pagerduty.open_alerts()] == [key], name
            await proxy.switch(Pass())
            booth.source.answer = good
            await daemon.wait_evaluations("errors", 1)
        await _finish(booth, key)


SICK_RULE = """\
  - name: {name}
    by: [service]
    every: 5s
    signals: {{error_rate: {name}}}
    open: error_rate > 0.01
"""


async def test_answers_that_never_end_are_cut_and_hold_up_nobody(enter_booth: EnterBooth) -> None:
    """A byte a second, headers without end, 200 MB: cut at the deadline or the cap, memory flat, the other rule on time."""
    sick = {"drips": bad.drip(), "headers": bad.endless_headers(), "floods": bad.huge()}
    rules = QUICK_RULES + "".join(SICK_RULE.format(name=name) for name in sick)
    booth = await enter_booth(rules={"errors": rules})
    daemon = booth.daemon
    booth.source.by_query |= sick
    key = await _page(booth)
    began, before = time.monotonic(), await daemon.metric("detector_evaluations_total", rule="errors", outcome="ok")
    memory = psutil.Process(daemon.process.pid).memory_info().rss
    for name in sick:
        await daemon.wait_metric("detector_evaluations_total", 1, rule=name, outcome="error")
    for reason in ("timeout", "too_large"):
        assert await daemon.metric("detector_query_errors_total", reason=reason) >= 1
    grown = psutil.Process(daemon.process.pid).memory_info().rss - memory
    assert grown < GROWTH_BYTES, f"{grown / MEGABYTE:.0f} MB more"
    evaluated = await daemon.metric("detector_evaluations_total", rule="errors", outcome="ok") - before
    slots = (time.monotonic() - began) / 0.5
    assert evaluated >= slots / 2, f"{evaluated:.0f} of {slots:.0f} slots"
    await _finish(booth, key)


async def test_one_hung_rule_of_fifty(enter_booth: EnterBooth) -> None:
    """One query is never answered: its rule fails at the deadline; the other 49 go on at their slots, and page."""
    rules = "rules:\n" + "".join(SICK_RULE.format(name=f"rule{number}").replace("5s", "2s") for number in range(49))
    rules += PLAIN_RULES.removeprefix("rules:\n").replace("every: 1s", "every: 2s")
    booth = await enter_booth(rules={"many": rules})
    daemon = booth.daemon
    booth.source.by_query = {f"rule{number}": bad.vector(({"service": "quiet"}, "0"), at=time.time()) for number in range(49)}
    booth.source.by_query["rule7"] = bad.silence()
    key = await _page(booth)
    began = time.monotonic()
    names = ["errors", *(f"rule{number}" for number in range(49) if number != 7)]
    before = {name: await daemon.metric("detector_evaluations_total", rule=name, outcome="ok") for name in ("errors", "rule1")}
    await daemon.wait_metric("detector_evaluations_total", 1, rule="rule7", outcome="error")
    slots = (time.monotonic() - began) / 2
    after = {name: await daemon.metric("detector_evaluations_total", rule=name, outcome="ok") for name in names}
    assert min(after.values()) >= slots / 2, after
    assert all(after[name] > before[name] for name in before)
    assert await daemon.metric("detector_missed_evaluations_total", rule="rule7") >= 2
    assert await daemon.metric("detector_evaluations_total", rule="rule7", outcome="ok") == 0
    await _finish(booth, key)


async def test_an_evaluation_slower_than_its_interval(enter_booth: EnterBooth) -> None:
    """Answers take two and a half intervals: slots are skipped and counted, never asked twice at once, and stay on the grid."""
    booth = await enter_booth()
    daemon = booth.daemon
    key = await _page(booth)
    booth.source.most_at_once.clear()
    asked = len(booth.source.queries)
    booth.source.by_query["errors"] = bad.late(booth.source.answer, 2.5)
    missed = await daemon.metric("detector_missed_evaluations_total", rule="errors")
    await daemon.wait_metric("detector_missed_evaluations_total", missed + 6, rule="errors")
    assert booth.source.most_at_once["errors"] == 1
    times = [
        float(each.parameters["time"])
        for each in booth.source.queries[asked:]
        if "time" in each.parameters and each.parameters["query"] == "errors"
    ]
    assert len(times) >= 3
    assert max(abs(at - times[0] - round(at - times[0])) for at in times) < 0.002
    assert booth.pagerduty.open_alerts()
    del booth.source.by_query["errors"]
    await _finish(booth, key)


async def test_values_that_are_no_numbers_and_series_that_vanish(enter_booth: EnterBooth) -> None:
    """NaN, +Inf, -Inf, gone: the firing alert stays, the healthy one does not page, and none of it is health or breach."""
    booth = await enter_booth(rules={"errors": QUICK_RULES})
    daemon = booth.daemon
    key = await _page(booth)

    async def evaluate() -> None:
        await daemon.wait_evaluations("errors", 4)
        assert [alert.dedup_key for alert in booth.pagerduty.open_alerts()] == [key]

    for text in ("nan", "inf", "-inf"):
        booth.show(checkout=float(text), well=0.0)
        await evaluate()
        booth.show(checkout=0.1, search=float(text))
        await evaluate()
    booth.show(checkout=float("nan"), search=float("nan"), well=float("inf"))
    await evaluate()  # asked and answered: there are series, and none has a value
    await daemon.wait_line("transition", "service=checkout", "change=unknown", "no data")
    booth.show(search=0.0, well=0.0)
    booth.hide("checkout")
    await evaluate()
    await _finish(booth, key)
