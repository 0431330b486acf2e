"""What the API shows and takes, as pydantic models: the schemas of the OpenAPI document.

Answers are built by domain.view and described here; bodies are validated by what stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_BLANK = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # every engine has its own idea of a blank
NOT_BLANK = f"[^{_BLANK}]"
HTTP_ADDRESS = f"^(https?://[^{_BLANK}]+)?$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK, description="Who does it; the timeline says so.")]
StatusWord = Literal["open", "acknowledged", "resolved", "closed"]
SeverityWord = Literal["low", "medium", "high", "critical"]


class SignalModel(BaseModel):
    """One signal: now, at its worst, when recovery was verified."""

    value: float | None
    peak: float | None
    at_recovery: float | None


class VerificationModel(BaseModel):
    """One thing to be sure of before the incident is over; `ok` null: not known yet."""

    name: str
    human: bool
    ok: bool | None
    at: float | None
    by: str
    message: str


class CheckModel(BaseModel):
    """What one check of the diagnosis said."""

    name: str
    verdict: Literal["ok", "bad", "unknown"]
    message: str
    link: str | None


class SuspectModel(BaseModel):
    """A service that may be the cause; the likeliest stands first."""

    service: str
    score: float
    why: str


class DiagnosisModel(BaseModel):
    """What was found for a service at a moment (unix seconds)."""

    service: str
    at: float
    checks: list[CheckModel]
    suspects: list[SuspectModel]


class IncidentModel(BaseModel):
    """An incident. Times are unix seconds. `muted` says by what, while it is; `folded` names the storm it is part of."""

    id: str
    status: StatusWord
    severity: SeverityWord
    peak_severity: SeverityWord
    service: str
    services: list[str]
    rules: list[str]
    labels: dict[str, str]
    opened: float
    detected: float
    acknowledged: float | None
    resolved: float | None
    closed: float | None
    value: float | None
    peak_value: float | None
    value_at_recovery: float | None
    threshold: float | None
    signal: str | None
    signals: dict[str, SignalModel]
    summary: str
    episode: int
    acknowledged_by: str
    end_reason: str
    root_cause: str
    links: dict[str, str]
    muted: str
    folded: str
    stale: bool
    state: str
    eta: str
    see_also: list[str]
    responders: dict[str, str]
    verifications: list[VerificationModel]
    checks: list[CheckModel]
    suspects: list[SuspectModel]


class EventModel(BaseModel):
    """One line of a timeline."""

    at: float
    actor: str
    kind: str
    message: str


class IncidentDetailModel(IncidentModel):
    """An incident with its timeline."""

    timeline: list[EventModel]


class AlertModel(BaseModel):
    """An alert that is pending or firing."""

    rule: str
    service: str
    labels: dict[str, str]
    state: Literal["pending", "firing"]
    severity: SeverityWord | None
    since: float | None
    fired: float | None
    evaluated: float | None
    value: float | None
    peak_value: float | None
    threshold: float | None
    signal: str | None
    signals: dict[str, SignalModel]
    unknown: str


class RuleModel(BaseModel):
    """A rule and how it fares; `state` is that of its furthest alert."""

    name: str
    health: str
    state: Literal["inactive", "pending", "firing"]
    every: float
    last_evaluation: float | None
    last_success: float | None
    last_error: str
    alerts: dict[str, int]


class Response(BaseModel):
    """Who does it, and in what words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name
    text: Annotated[str, Field(max_length=4000)] = ""


class Words(Response):
    """As Response, the words being the point."""

    text: Annotated[str, Field(min_length=1, max_length=4000, pattern=NOT_BLANK)]


class Update(BaseModel):
    """News for everybody who was told; at least one of message, eta and state."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name
    message: Annotated[str, Field(max_length=4000)] = ""
    eta: Annotated[str, Field(max_length=100)] = ""
    state: Literal["", "investigating", "identified", "monitoring", "resolved"] = ""


class Tick(BaseModel):
    """Who has seen it, and what: the name of a human item as the incident lists it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Name
    item: Annotated[str, Field(min_length=1, max_length=400)]
