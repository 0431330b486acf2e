"""Severity of an alert and of an incident: four values, ordered, lower case on every wire."""

from __future__ import annotations

from enum import Enum
from functools import total_ordering


@total_ordering
class Severity(Enum):
    """LOW < MEDIUM < HIGH < CRITICAL; the value is the word used in rule files, the API and the database."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for LOW to 3 for CRITICAL."""
        return _RANK[self.value]

    def __lt__(self, other: object) -> bool:
        """Order by rank, not by spelling."""
        if not isinstance(other, Severity):
            return NotImplemented
        return self.rank < other.rank


WORDS = {
    "critical": Severity.CRITICAL,
    "disaster": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "page": Severity.HIGH,
    "error": Severity.HIGH,
    "high": Severity.HIGH,
    "major": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "info": Severity.LOW,
    "low": Severity.LOW,
    "minor": Severity.LOW,
    "none": Severity.LOW,
}


def read_severity(label: str) -> Severity:
    """What a `severity` label of a Prometheus alert means; MEDIUM for an unknown word and for none."""
    return WORDS.get(label.strip().lower(), Severity.MEDIUM)


_RANK = {"low": 0, "medium": 1, "high": 2, "critical": 3}
