"""Looks at the usual causes of an incident, all at once and under one budget, and ranks the suspects.

Before it: an incident opened, or somebody asked. After it: `domain.check` values that the ticket, the thread and the terminal show.
Every check has its own time and its own guard: one that hangs or breaks says so as `unknown` and delays no other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.app.evidence import Courses, gather_courses
from detector.app.inspection import CHECKS, Case
from detector.domain.check import Check, Diagnosis, Result, Verdict
from detector.domain.inquiry import plan_inquiry
from detector.domain.suspect import explain_silence, rank_suspects
from detector.ports.error import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from detector.domain.rule import RuleSet
    from detector.ports.diagnosis import DeployLog, Surroundings
    from detector.ports.source import PastSource

BUDGET_SECONDS = 30.0
CHECK_SECONDS = 12.0
COURSE_SECONDS = 10.0
DEPLOY_LOG_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Limit:
    """How long everything, one check, the signals' history, and the log of deploys may take."""

    budget_seconds: float = BUDGET_SECONDS
    check_seconds: float = CHECK_SECONDS
    course_seconds: float = COURSE_SECONDS
    deploy_log_seconds: float = DEPLOY_LOG_SECONDS


class Diagnostician:
    """Asks Prometheus, the surroundings and the log of deploys (None: there is none, as on the command line without a daemon).

    `graph_url`: where a browser finds Prometheus, for links to what was measured; empty: no such links.
    """

    def __init__(
        self,
        source: PastSource,
        surroundings: Surroundings,
        deploys: DeployLog | None = None,
        *,
        limit: Limit | None = None,
        graph_url: str = "",
    ) -> None:
        self._source = source
        self._surroundings = surroundings
        self._deploys = deploys
        self._limit = limit or Limit()
        self._graph_url = graph_url

    async def diagnose(
        self, rules: RuleSet, service: str, at: float, *, live: bool = True, on_result: Callable[[Result], None] | None = None
    ) -> Diagnosis:
        """Everything that can be said of `service` at `at`; never raises for outside faults.

        `live`: `at` is now, so that what tells only of now is asked too. `on_result` hears each result as it comes.
        """
        asking = gather_courses(self._source, rules, service, at, deadline_seconds=self._limit.course_seconds)
        courses = asyncio.create_task(_bound_courses(asking, self._limit.course_seconds), name="diagnosis courses")
        case = Case(
            plan_inquiry(rules.catalogue.find(service)),
            at,
            self._source,
            self._surroundings,
            courses,
            self._deploys,
            live=live,
            deploy_log_seconds=self._limit.deploy_log_seconds,
            graph_url=self._graph_url,
        )
        tasks = {check: asyncio.create_task(self._run(check, case), name=f"diagnosis {check.value}") for check in Check}
        for task in tasks.values():
            if on_result is not None:
                task.add_done_callback(lambda done: None if done.cancelled() else on_result(done.result()))
        try:
            await asyncio.wait([courses, *tasks.values()], timeout=self._limit.budget_seconds)
            results = tuple(_take(check, task, self._limit.budget_seconds) for check, task in tasks.items())
            known = courses.result() if courses.done() and courses.exception() is None else Courses(failed="the query broke")
        finally:
            for pending in (courses, *tasks.values()):
                pending.cancel()
        suspects = rank_suspects(rules.catalogue, service, known.known)
        failed = f"its signals could not be asked: {known.failed}" if known.failed else ""
        unranked = "" if suspects else failed or explain_silence(service, known.known)
        return Diagnosis(service, at, results, suspects, unranked)

    async def _run(self, check: Check, case: Case) -> Result:
        try:
            async with asyncio.timeout(self._limit.check_seconds):
                return await CHECKS[check](case)
        except TimeoutError:
            return Result(check, Verdict.UNKNOWN, f"no answer within {self._limit.check_seconds:g} s")
        except OutsideError as fault:
            return Result(check, Verdict.UNKNOWN, str(fault))
        except Exception as fault:  # noqa: BLE001 - one sick check never stops the rest
            return Result(check, Verdict.UNKNOWN, f"the check itself failed: {type(fault).__name__}: {fault}")


async def _bound_courses(asking: Coroutine[object, object, Courses], seconds: float) -> Courses:
    try:
        async with asyncio.timeout(seconds):
            return await asking
    except TimeoutError:
        return Courses(failed=f"no answer within {seconds:g} s")


def _take(check: Check, task: asyncio.Task[Result], budget_seconds: float) -> Result:
    if task.done() and not task.cancelled():
        return task.result()
    return Result(check, Verdict.UNKNOWN, f"no answer within the {budget_seconds:g} s that a diagnosis has")
