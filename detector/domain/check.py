"""The checks of a diagnosis in the order of the practice, what each may say, and what they say together.

Before it: `app/diagnosis` asked the sources. After it: the command line, the incident and the thread show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from detector.domain.suspect import Suspect


class Check(StrEnum):
    """What is looked at, in this order."""

    DEPLOY = "recent deploy"
    TRAFFIC = "traffic spike"
    DATABASE = "database"
    THIRD_PARTIES = "third parties"
    CONFIGURATION = "configuration"
    RESOURCES = "resources"
    CONCURRENCY = "concurrency"
    ERROR_RATE = "error rate"
    P99 = "p99"
    ERRORS = "recent errors"

    @property
    def key(self) -> str:
        """How rule files name it: `recent_deploy`."""
        return self.value.replace(" ", "_")


class Verdict(StrEnum):
    """What a check says. Unknown is never OK."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """One check's answer: the evidence in words and numbers, and where to look further."""

    check: Check
    verdict: Verdict
    message: str
    link: str = ""


SYMPTOMS = frozenset({Check.ERROR_RATE, Check.P99, Check.ERRORS})  # they say that something is wrong; the others say what
_MARKS = {Verdict.OK: "✅", Verdict.BAD: "🔴", Verdict.UNKNOWN: "❔"}


def describe_result(result: Result) -> str:
    """In the practice's form: a mark, the name, the message."""
    return f"{_MARKS[result.verdict]} {result.check.value}: {result.message}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found for a service at a moment; results in the order of `Check`, suspects likeliest first.

    `unranked`: why there is no suspect, where there is none.
    """

    service: str
    at: float
    results: tuple[Result, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    unranked: str = ""

    @property
    def first_bad(self) -> Result | None:
        """The first check that found something."""
        return next((result for result in self.results if result.verdict is Verdict.BAD), None)
