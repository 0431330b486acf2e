"""What a process leaves in the outbox is delivered by the next one when it is due, not when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.incident import PAGERDUTY
from tests.kit.clock import VirtualClock
from tests.kit.destination import Pager, Trouble
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    import pytest

STEP_SECONDS = 0.1
MOST_SECONDS = 2.2  # the longest delay after a first failure is 1 s, and the outbox is looked into every second


async def test_a_retry_of_the_process_before_is_not_left_to_the_idle_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after a failed attempt, whatever delay was drawn: the page leaves within a second of its moment."""
    for share in (0.05, 0.5, 1.0):
        monkeypatch.setattr("detector.app.attempt.compute_backoff", lambda _, share=share: share)
        clock = VirtualClock()
        pager = Pager(PAGERDUTY, clock, Trouble.FAILED)
        async with Stage([make_rule("errors", "errors")], clock=clock, channels=(pager,)) as stage:
            stage.source.answers["errors"] = series(shop=0.9)
            while not pager.attempts:
                await clock.run(STEP_SECONDS)
            pager.trouble = Trouble.NONE
            await stage.restart()
            began = clock.monotonic()
            while not pager.open:
                await clock.run(STEP_SECONDS)
                assert clock.monotonic() - began < MOST_SECONDS, f"still not delivered, delay {share:g} s"
