"""The shipped rules as they are, on a real Prometheus whose five-minute window is full of healthy traffic before anything breaks.

One story, played once, for all checks: two services break in the same moment, and two stay well.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detector.standin.rulebook import find_shipped_rules
from tests.kit.house import Household
from tests.kit.standin import Alert, Fault, Service
from tests.kit.wait import wait_until

PAST_SECONDS = 420.0
SERVICES = tuple(Service(name, rate=20.0) for name in ("ten", "core", "well", "core-well"))
CATALOGUE = """\
services:
  core: {core: true, runbook: "https://wiki.example/core"}
  core-well: {core: true}
"""


@dataclass(frozen=True)
class Story:
    """What was seen. Times are unix seconds; `ten` is the alert as it was at first, and at the end."""

    flipped: float
    ten_first: Alert
    ten: Alert
    core: tuple[Alert, ...]
    critical_at: float
    services: frozenset[str]
    incidents: tuple[Mapping[str, Any], ...]


async def _play(folder: Path) -> Story:
    house = Household(folder, {"catalogue": CATALOGUE}, SERVICES, past_seconds=PAST_SECONDS)
    for name in ("http.yaml", "host.yaml"):
        shutil.copy(find_shipped_rules() / name, house.daemon.rules / name)
    for service in SERVICES:
        house.shop.set_fault(Fault(service=service.name, never_failed=False))  # their 5xx series is part of the past, at zero
    async with house:
        house.flip("ten", error_ratio=0.1)
        flipped = house.flip("core", error_ratio=1.0)
        ten_first = await house.wait_alert("ten")
        await house.wait_alert("core", severity="critical", seconds=150)
        critical_at = time.time()
        await house.check_oracle()

        async def is_written() -> bool:
            found = await house.daemon.incident("core")
            return found is not None and found["severity"] == "critical"

        await wait_until(is_written, "the incident says what was paged")
        incidents = await house.daemon.incidents()
        return Story(
            flipped,
            ten_first,
            house.alert_of("ten"),
            house.alerts_of("core"),
            critical_at,
            frozenset(alert.source for alert in house.pagerduty.alerts()),
            tuple(incidents),
        )


def check_ten_percent_is_one_alert_of_severity_error(story: Story) -> None:
    """A service that fails 10% pages once, as `error`, and stays that one alert under the same key."""
    assert (story.ten.severity_at_open, story.ten.severity) == ("error", "error")
    assert story.ten.dedup_key == story.ten_first.dedup_key
    assert story.ten.opened_at - story.flipped < 60


def check_core_outage_is_critical_within_two_minutes(story: Story) -> None:
    """A core service that fails every request is CRITICAL in time, on the one alert that was there from the first seconds."""
    (alert,) = story.core
    assert alert.severity == "critical"
    assert alert.opened_at - story.flipped < 30
    assert story.critical_at - story.flipped <= 120


def check_healthy_services_page_nobody(story: Story) -> None:
    """Only the broken ones were paged."""
    assert story.services == {"ten", "core"}


def check_api_agrees_with_what_was_paged(story: Story) -> None:
    """The incidents show severity, value and threshold under the names of the contract."""
    shown = {incident["service"]: incident for incident in story.incidents}
    assert (shown["ten"]["severity"], shown["core"]["severity"]) == ("high", "critical")
    assert shown["ten"]["threshold"] == pytest.approx(0.01)
    assert 0.01 < shown["ten"]["value"] <= 0.1
    assert story.flipped - 1 <= shown["ten"]["opened"] <= story.ten.opened_at


async def test_shipped_story(prometheus_bin: Path, tmp_path: Path) -> None:
    """10% is one `error`, a core outage is `critical` within two minutes, and nobody else is paged."""
    del prometheus_bin  # asked for its skip
    story = await _play(tmp_path)
    check_ten_percent_is_one_alert_of_severity_error(story)
    check_core_outage_is_critical_within_two_minutes(story)
    check_healthy_services_page_nobody(story)
    check_api_agrees_with_what_was_paged(story)
