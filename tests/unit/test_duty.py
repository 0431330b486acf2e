"""What is due once a day or a week, on virtual time: the reminder of a post-mortem until it is done, and the scheduled drill."""

import asyncio
from typing import Any

from detector.app.drill import SCHEDULER, Drill
from detector.app.historian import Historian
from detector.domain.exercise import DRILL_ID
from detector.domain.incident import Incident, Status
from detector.domain.ledger import Paging
from detector.domain.postmortem import DUE_SECONDS, Lesson
from detector.domain.severity import Severity
from tests.kit.stage import Stage

WEEK = 7 * 86_400.0
PAGING = Paging(pagerduty=False, audience=(("slack", ""),))


def make_incident(now: float) -> Incident:
    """One that is over, and that Slack heard of."""
    return Incident(
        "abc", 0, Status.CLOSED, Severity.HIGH, Severity.HIGH, "shop", ("shop",), ("errors",), (), now - 300, now - 295, "down",
        resolved=now, closed=now, told=("slack:",),
    )  # fmt: skip


def count_reminders(stage: Stage) -> int:
    """Messages of that kind in Slack's outbox."""
    said = [notice.values.get("message", "") for notice in stage.store.notices.values() if notice.channel == "slack"]
    return sum("the post-mortem is due" in str(text) for text in said)


async def pass_time(stage: Stage, seconds: float) -> None:
    """The wall clock goes on, and a minute is lived through."""
    stage.clock.jump_wall(seconds)
    await stage.clock.run(61)


async def test_a_post_mortem_is_reminded_of_every_day_until_it_is_done() -> None:
    """Not before the day has passed; then once a day, over a restart of the historian; never again after `--done`."""
    nowhere: Any = None
    async with Stage([], paging=PAGING) as stage:
        ear: Any = stage.ear
        now = stage.clock.now()
        stage.store.disk.incidents["abc"] = make_incident(now)
        await stage.store.save_lesson(Lesson("abc", now + DUE_SECONDS))

        def begin() -> tuple[Historian, asyncio.Task[None]]:
            """As the daemon starts it."""
            made = Historian(stage.committer, stage.store, stage.roster, PAGING, stage.clock, ear, nowhere, nowhere)
            return made, asyncio.create_task(made.run())

        historian, task = begin()
        await pass_time(stage, DUE_SECONDS - 200.0)
        assert count_reminders(stage) == 0
        await pass_time(stage, 200.0)
        assert count_reminders(stage) == 1
        await pass_time(stage, DUE_SECONDS / 2)
        task.cancel()
        historian, task = begin()
        await stage.clock.run(61)
        assert count_reminders(stage) == 1
        await pass_time(stage, DUE_SECONDS / 2)
        assert count_reminders(stage) == 2
        finish = asyncio.create_task(historian.finish("abc", "ann"))
        await stage.clock.run(2)
        assert (await finish).finished_by == "ann"
        await pass_time(stage, DUE_SECONDS * 3)
        assert count_reminders(stage) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_weekly_drill_begins_every_week_and_not_at_each_start() -> None:
    """The first at once, for none was ever; the next a week later, whoever restarts meanwhile."""
    async with Stage([], paging=PAGING) as stage:
        ear: Any = stage.ear

        def begin() -> tuple[Drill, asyncio.Task[None]]:
            """As the daemon starts it."""
            args = (stage.committer, stage.store, stage.roster, PAGING, stage.clock, ear, ())
            made = Drill(*args, tell=lambda _: None, every_seconds=WEEK)
            return made, asyncio.create_task(made.run())

        def count() -> int:
            """How many were begun by the schedule."""
            began = [event for event in stage.store.disk.events if event.incident == DRILL_ID and event.message.endswith("began")]
            return sum(event.actor == SCHEDULER for event in began)

        drill, task = begin()
        await stage.clock.run(120)
        assert count() == 1
        task.cancel()
        await drill.stop()
        drill, task = begin()
        await pass_time(stage, WEEK - 400.0)
        assert count() == 1
        await pass_time(stage, 400.0)
        assert count() == 2
        task.cancel()
        await drill.stop()
        await asyncio.gather(task, return_exceptions=True)
