"""What a backtest says of a set of rules, and how two of them differ. Pure; made from the incidents of a replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detector.domain.incident import Incident
from detector.domain.label import Labels
from detector.domain.severity import Severity
from detector.domain.ticket import read_incident

WEEK_SECONDS = 604_800.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident that would have been opened; `resolved` None: still open at the end. `severity` is its peak.

    `muted`: the maintenance window under which its page was withheld, for some of its time or for all.
    """

    rule: str
    service: str
    labels: Labels
    opened: float
    resolved: float | None
    severity: Severity
    peak: float | None
    at_recovery: float | None
    affected: tuple[str, ...]
    muted: str = ""

    def overlaps(self, other: Finding) -> bool:
        """Whether both were open at some moment."""
        end, other_end = (float("inf") if moment is None else moment for moment in (self.resolved, other.resolved))
        return self.opened <= other_end and other.opened <= end


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings, oldest first, with what they cost."""

    begin: float
    end: float
    step_seconds: float
    findings: tuple[Finding, ...]
    pages: int
    flaps: int

    @property
    def pages_per_week(self) -> float:
        """Pages a week."""
        return self.pages * WEEK_SECONDS / max(self.end - self.begin, self.step_seconds)

    @property
    def open_seconds(self) -> float:
        """Time in which some incident was open, each incident counted."""
        return sum((self.end if finding.resolved is None else finding.resolved) - finding.opened for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Change:
    """The same trouble judged twice."""

    before: Finding
    after: Finding


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one verdict to another. `moved`: opened or resolved at another time; `shifted`: of another severity."""

    gained: tuple[Finding, ...]
    lost: tuple[Finding, ...]
    moved: tuple[Change, ...]
    shifted: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether both are the same."""
        return not (self.gained or self.lost or self.moved or self.shifted)


def list_findings(incidents: Iterable[Incident], muted: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """Incidents as findings, oldest first; `muted`: by what, for the incidents (by id) that were."""
    found = [_make_finding(incident, (muted or {}).get(incident.id, "")) for incident in incidents]
    return tuple(sorted(found, key=lambda finding: (finding.opened, finding.rule, finding.labels)))


def compare_verdicts(before: Verdict, after: Verdict) -> Difference:
    """Pair the findings of the same service that overlap, those of the same rule and labels first; the rest is lost or gained."""
    known: dict[str, list[Finding]] = defaultdict(list)
    for finding in before.findings:
        known[finding.service].append(finding)
    pairs: list[Change] = []
    unpaired: Sequence[Finding] = after.findings
    for alike in (_is_same, Finding.overlaps):
        left = []
        for finding in unpaired:
            match = next((other for other in known[finding.service] if alike(other, finding)), None)
            if match is None:
                left.append(finding)
            else:
                known[finding.service].remove(match)
                pairs.append(Change(match, finding))
        unpaired = left
    pairs.sort(key=lambda pair: (pair.after.opened, pair.after.rule, pair.after.labels))
    remaining: Mapping[str, list[Finding]] = known
    return Difference(
        gained=tuple(unpaired),
        lost=tuple(finding for finding in before.findings if finding in remaining.get(finding.service, ())),
        moved=tuple(pair for pair in pairs if _times(pair.before) != _times(pair.after)),
        shifted=tuple(pair for pair in pairs if pair.before.severity is not pair.after.severity),
    )


def _is_same(one: Finding, other: Finding) -> bool:
    return (one.rule, one.labels) == (other.rule, other.labels) and one.overlaps(other)


def _times(finding: Finding) -> tuple[float, float | None]:
    return finding.opened, finding.resolved


def _make_finding(incident: Incident, muted: str) -> Finding:
    reading = read_incident(incident)
    return Finding(
        rule=incident.rules[0],
        service=incident.service,
        labels=incident.labels,
        opened=incident.opened,
        resolved=incident.resolved,
        severity=incident.peak_severity,
        peak=reading.peak_value,
        at_recovery=reading.value_at_recovery,
        affected=incident.services,
        muted=muted,
    )
