"""Services that break in every way, at once, on a real Prometheus: each gets what it should, from the page to the verified end.

Windows are seconds and `recover_for` is 3 s (shipped: 5 m), so that recovery can be awaited. A core service that vanishes is
told of after three minutes whatever the rule says, which is how long the story takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kit.house import Household
from tests.kit.rule import LADDER_RULES
from tests.kit.standin import Alert, Fault, Service
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS

ABSENT_AFTER_SECONDS = 180.0
WINDOW_SECONDS = 30.0  # of LADDER_RULES: so long its last samples are seen after it went down
CATALOGUE = "services: {core-down: {core: true}, core-well: {core: true}}\n"
NAMES = ("ten", "two", "virgin", "never-failed", "restarted", "down", "broken-down", "core-down", "core-well", "quiet", "night")
SERVICES = tuple(Service(name, rate=0.3 if name == "night" else 100.0) for name in NAMES)
PAGED_AT_ONCE = ("ten", "two", "virgin", "restarted", "broken-down", "quiet")


@dataclass
class Story:
    """What was seen. Times are unix seconds, by service; alerts as they were at the end."""

    first_keys: dict[str, str] = field(default_factory=dict)
    flipped: dict[str, float] = field(default_factory=dict)
    healed: dict[str, float] = field(default_factory=dict)
    alerts: dict[str, tuple[Alert, ...]] = field(default_factory=dict)
    incidents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    timelines: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    log: str = ""

    def alert(self, service: str) -> Alert:
        """The only alert of a service."""
        (alert,) = self.alerts[service]
        return alert

    def kinds(self, service: str) -> list[str]:
        """The kinds of event in its timeline."""
        return [event["kind"] for event in self.timelines[service]]


async def _play(folder: Path) -> Story:
    story = Story()
    house = Household(folder, {"errors": LADDER_RULES, "catalogue": CATALOGUE}, SERVICES, past_seconds=60.0)
    for name in ("ten", "two"):  # initialised counters; that of `virgin` is born with its first error
        house.shop.set_fault(Fault(service=name, never_failed=False))
    async with house:
        _break(house, story)
        for name in PAGED_AT_ONCE:
            story.first_keys[name] = (await house.wait_alert(name)).dedup_key
        house.shop.reset_counters("restarted")  # new pods: no 5xx series among theirs
        house.shop.set_fault(Fault(service="broken-down", down=True))
        house.shop.set_fault(Fault(service="quiet", error_ratio=0.0, rate=0.3))
        for name in ("ten", "two", "virgin", "restarted"):
            story.healed[name] = house.heal(name)
        for name in ("ten", "two", "virgin", "restarted"):
            await house.wait_alert(name, is_open=False)
        await house.daemon.wait_line("transition", "broken-down", "change=unknown")
        await house.wait_alert("core-down", seconds=ABSENT_AFTER_SECONDS + PATIENCE_SECONDS)
        for name in ("core-down", "broken-down"):
            story.healed[name] = house.heal(name)
        for name in ("core-down", "broken-down"):
            await house.wait_alert(name, is_open=False)
        await house.check_oracle()
        await _gather(house, story)
    return story


def _break(house: Household, story: Story) -> None:
    faults = {"ten": 0.1, "two": 0.02, "virgin": 0.1, "restarted": 0.1, "broken-down": 0.1, "quiet": 0.1}
    for name, ratio in faults.items():
        story.flipped[name] = house.flip(name, error_ratio=ratio)
    story.flipped["core-down"] = house.flip("core-down", down=True)
    house.shop.set_fault(Fault(service="down", down=True))
    house.shop.set_fault(Fault(service="night", error_ratio=1.0))


async def _gather(house: Household, story: Story) -> None:
    for name in NAMES:
        story.alerts[name] = house.alerts_of(name)
    for incident in await house.daemon.incidents():
        story.incidents[incident["service"]] = incident
        story.timelines[incident["service"]] = await house.daemon.timeline(incident["id"])
    story.log = house.daemon.read()


def check_ten_percent_pages_high_and_the_same_alert_resolves(story: Story) -> None:
    """One alert, `error`, whose key never changes, which resolves after the repair and carries the value at recovery."""
    alert = story.alert("ten")
    assert alert.severity_at_open == "error"
    assert alert.dedup_key == story.first_keys["ten"]
    assert alert.resolved_at is not None
    assert alert.resolved_at >= story.healed["ten"] + 3.0
    last = alert.log[-1].event
    details = last["payload"]["custom_details"]  # type: ignore[index]  # JSON as it was sent
    assert last["event_action"] == "resolve"
    assert details["value_at_recovery"] == pytest.approx(0.0, abs=0.001)
    assert 0.05 < details["peak_value"] < 0.13  # HIGH from 5%; mended before the window had nothing but the fault's 10% in it
    assert details["threshold"] == pytest.approx(0.01)
    assert story.incidents["ten"]["value_at_recovery"] == details["value_at_recovery"]


def check_two_percent_is_a_warning(story: Story) -> None:
    """MEDIUM, from the first to the last event."""
    alert = story.alert("two")
    assert {entry.severity for entry in alert.log} == {"warning"}
    assert story.incidents["two"]["peak_severity"] == "medium"


def check_service_without_error_series_is_healthy_and_can_break(story: Story) -> None:
    """No 5xx series is 0 errors, not "no data"; the first errors, which create it, page."""
    assert story.alerts["never-failed"] == ()
    assert story.alert("virgin").severity == "error"


def check_numerator_that_vanishes_with_its_pods_is_a_recovery(story: Story) -> None:
    """After the restart only healthy requests are counted: resolved after `recover_for`, not at once."""
    alert = story.alert("restarted")
    assert alert.resolved_at is not None
    assert alert.resolved_at >= story.healed["restarted"] + 3.0
    assert story.incidents["restarted"]["end_reason"] == "recovered"
    assert story.incidents["restarted"]["value_at_recovery"] == pytest.approx(0.0, abs=0.001)


def check_core_service_that_goes_hard_down_is_told_after_three_minutes(story: Story) -> None:
    """Nothing of it is in the window any more: "no data", HIGH, three minutes later; resolved when it is back."""
    alert = story.alert("core-down")
    assert alert.severity == "error"
    assert "no data" in alert.summary
    waited = alert.opened_at - story.flipped["core-down"]
    assert ABSENT_AFTER_SECONDS <= waited <= WINDOW_SECONDS + ABSENT_AFTER_SECONDS + HELD_UP_SECONDS
    assert story.incidents["core-down"]["status"] in {"resolved", "closed"}


def check_other_service_that_goes_hard_down_keeps_its_state(story: Story) -> None:
    """Healthy before: nobody is paged. Firing before: still firing, for minutes, until it is back and well."""
    assert story.alerts["down"] == ()
    alert = story.alert("broken-down")
    assert alert.resolved_at is not None
    assert alert.resolved_at >= story.healed["broken-down"]
    assert "unknown" in story.kinds("broken-down")


def check_night_traffic_opens_and_resolves_nothing(story: Story) -> None:
    """Three requests that all fail page nobody; three that succeed end nothing."""
    assert story.alerts["night"] == ()
    assert "night" not in story.incidents
    assert story.alert("quiet").is_open
    assert story.incidents["quiet"]["status"] == "open"


def check_every_transition_is_a_line_to_grep(story: Story) -> None:
    """The log tells what fired, what ended, and what was sent, by service and by key."""
    for name in ("ten", "two"):
        lines = [line for line in story.log.splitlines() if f"service={name}" in line]
        assert any("change=fired" in line for line in lines)
        assert any("change=ended" in line for line in lines)
        assert any(story.first_keys[name] in line and "notice accepted" in line for line in story.log.splitlines())


@pytest.mark.timeout(330)
async def test_case_story(prometheus_bin: Path, tmp_path: Path) -> None:
    """Every service of the story got what it should."""
    del prometheus_bin  # asked for its skip
    story = await _play(tmp_path)
    check_ten_percent_pages_high_and_the_same_alert_resolves(story)
    check_two_percent_is_a_warning(story)
    check_service_without_error_series_is_healthy_and_can_break(story)
    check_numerator_that_vanishes_with_its_pods_is_a_recovery(story)
    check_core_service_that_goes_hard_down_is_told_after_three_minutes(story)
    check_other_service_that_goes_hard_down_keeps_its_state(story)
    check_night_traffic_opens_and_resolves_nothing(story)
    check_every_transition_is_a_line_to_grep(story)
