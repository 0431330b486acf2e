"""Faults that no other story plays: a value that flaps, labels that mean harm, names that do not resolve."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.kit.badprometheus import vector
from tests.kit.rule import PLAIN_RULES
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

FLAPS = 4
NASTY = "a\r\nb <!channel> {{7*7}} #+/ \U0001f525 " + "x" * 1200


async def test_a_value_that_flaps_is_one_incident(enter_booth: EnterBooth) -> None:
    """Around the threshold again and again: one incident, one alert."""
    booth = await enter_booth()
    await booth.daemon.start()
    for _ in range(FLAPS):
        booth.show(checkout=0.1)
        await booth.daemon.wait_incident("checkout")
        await booth.wait_open(1)
        await booth.daemon.wait_evaluations("errors", 2)  # it is above again, each time
        booth.show(checkout=0.005)  # below the threshold, and not recovered: nothing ends
        await booth.daemon.wait_evaluations("errors", 2)
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    assert incident["episode"] == 1
    assert len(await booth.daemon.incidents()) == 1
    await booth.check_oracle()


async def test_labels_that_mean_harm_page_and_resolve(enter_booth: EnterBooth) -> None:
    """Line ends, markup, templates, emoji and 1,200 characters in a name: one valid alert, its cut counted, one key to its end."""
    booth = await enter_booth()

    def show(value: float) -> None:
        booth.note(NASTY, value)
        booth.source.answer = vector(({"service": NASTY}, repr(value)), at=time.time())

    show(0.1)
    await booth.daemon.start()
    await booth.wait_open(1)
    (alert,) = booth.pagerduty.alerts()
    assert "{{7*7}}" in alert.summary or "7*7" in alert.summary
    assert "49" not in alert.summary
    assert await booth.daemon.metric("detector_page_cuts_total", part="summary") == 1
    await booth.daemon.wait_line("page cut to PagerDuty's limits", "part=summary")
    show(0.0)
    await booth.wait_open(0)
    assert all(request.errors == () for request in booth.pagerduty.requests)
    await booth.check_oracle()


async def test_600_kb_of_labels_page_and_resolve(enter_booth: EnterBooth) -> None:
    """One label of 600 KB and forty of 300 characters, with NUL and CRLF: PagerDuty's rules are kept, and one key."""
    labels = {"service": "checkout", "junk": ("\0\r\n<!channel>{{7*7}}#+/" + "\U0001f525") * 25_000}
    labels |= {f"label_{number}_{'n' * 290}": f"{number}" * 300 for number in range(40)}
    booth = await enter_booth(rules={"errors": PLAIN_RULES.replace("    by: [service]\n", "")})

    def show(value: float) -> None:
        booth.note("checkout", value)
        booth.source.answer = vector((labels, repr(value)), at=time.time())

    show(0.1)
    await booth.daemon.start()
    await booth.wait_open(1)
    show(0.0)
    await booth.wait_open(0)
    assert all(request.errors == () and len(request.body) <= 512_000 for request in booth.pagerduty.requests)
    assert len({str((request.event or {})["dedup_key"]) for request in booth.pagerduty.requests}) == 1
    await booth.check_oracle()


async def test_names_that_do_not_resolve_stop_nothing(enter_booth: EnterBooth) -> None:
    """Neither Prometheus nor PagerDuty has an address: the daemon starts and keeps trying; with names that do it pages at once."""
    booth = await enter_booth()
    settings = booth.daemon.settings
    good = {name: settings[name] for name in ("DETECTOR_PROMETHEUS_URL", "DETECTOR_PAGERDUTY__EVENTS_URL")}
    settings["DETECTOR_PAGERDUTY__EVENTS_URL"] = "http://nowhere.invalid"
    booth.show(checkout=0.1)
    await booth.daemon.start()
    await booth.daemon.wait_line("notice retried", "kind=trigger")
    await booth.daemon.stop()
    settings["DETECTOR_PROMETHEUS_URL"] = "http://nowhere.invalid"
    await booth.daemon.start()
    await booth.daemon.wait_metric("detector_query_errors_total", 1, reason="dns")
    assert (await booth.daemon.fetch("/-/ready"))[0] == 200
    await booth.daemon.stop()
    settings |= good
    await booth.daemon.start()
    await wait_until(lambda: len(booth.pagerduty.open_alerts()) == 1, "the page")
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    await booth.check_oracle()
