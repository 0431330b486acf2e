"""Looks at the usual causes of an incident, all at once and under one budget, and ranks the suspects.

Before it: an incident opened, or somebody asked. After it: `domain.check` values that the ticket, the thread and the terminal show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.app.evidence import gather_courses
from detector.domain.check import Diagnosis
from detector.domain.suspect import rank_suspects

if TYPE_CHECKING:
    from detector.domain.rule import RuleSet
    from detector.ports.source import PastSource

BUDGET_SECONDS = 30.0


async def diagnose(source: PastSource, rules: RuleSet, service: str, at: float) -> Diagnosis:
    """Everything that can be said of `service` at `at`."""
    courses = await gather_courses(source, rules, service, at, deadline_seconds=BUDGET_SECONDS)
    return Diagnosis(service, at, suspects=rank_suspects(rules.catalogue, service, courses))
